//! All five resources in memory: the executable specification of the contract, and the ground for tests.

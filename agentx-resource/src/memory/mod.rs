//! All five resources in memory: the executable specification of the contract, and the ground for tests.
//!
//! The modules mirror the contract file for file. Where a rule of the contract is hard to grasp in words, the code
//! here says what it means.

mod clock;
mod disk;
mod env;
mod fs;
mod llm;
mod process;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use self::{
    clock::ManualClock,
    disk::MemoryDisk,
    env::MemoryEnv,
    fs::MemoryFileSystem,
    llm::MemoryLlmProvider,
    process::{MemoryProcess, ProgramContext, ProgramInput, ProgramOutput},
};

/// What errors name as the provider.
const PROVIDER: &str = "memory";

/// Takes a lock. Nothing here leaves its state half changed when it panics, so a poisoned lock is usable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What every provider does, asked of a directory of this machine: by itself, together with its commands, below every
//! layer, and by random operations.
#![cfg(test)]

mod file_system;
mod layers;
mod leftovers;
mod model;
mod pair;
mod planted;

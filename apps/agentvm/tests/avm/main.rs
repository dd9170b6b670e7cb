//! `avm`, as its users run it: a process, its flags, its signals.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

mod attacks;
mod backup;
mod crowd;
mod handover;
mod kill;
mod limits;
mod llms;
mod serve;
mod settings;
mod support;
mod tokens;

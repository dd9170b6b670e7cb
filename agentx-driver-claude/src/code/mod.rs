//! The claude CLI: an agent that asks its model by itself, as a [`Driver`](agentx_core::Driver).
//!
//! ```text
//!                 ┌─ frames ──▶ ModelEvents ─▶ DriverEvents
//! claude ◀─▶ Cli ─┤
//!                 └─ requests ◀─▶ hooks, permission, approvals, tools of the turn
//! ```
//!
//! [`ClaudeCode`] is the driver; [`Cli`] is one process of the CLI and its control protocol. The CLI is started through a
//! [`Process`](agentx_resource::Process), and so runs wherever one does. It is offered the turn's tools, and none of its
//! own unless [`BuiltinTools`] says so.
//!
//! **Our session is the one that counts.** The CLI keeps none: where no process of the right conversation is running, a
//! new one is told the history as it is stored. So a session can be resumed anywhere, forked, and taken up after a crash,
//! and each answer is stored as the light driver stores it.

mod cli;
mod drift;
mod driver;
mod frame;
mod framer;
mod launch;
mod mcp;
mod settings;
mod transcript;
mod turn;

use agentx_core::{Error, ErrorKind};

pub use self::{
    cli::Cli,
    drift::Drift,
    driver::ClaudeCode,
    frame::{CliRequest, Frame, TurnResult},
    settings::{BuiltinTools, ClaudeCodeSettings},
};

const PROVIDER: &str = "claude-code";

/// An error of the CLI's.
fn failure(kind: ErrorKind, operation: &'static str) -> Error {
    Error::new(kind, operation).with_provider(PROVIDER)
}

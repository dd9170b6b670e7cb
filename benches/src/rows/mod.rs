//! The rows: one file for each question.

pub mod confined_read;
pub mod exec;
pub mod sse_to_text;
pub mod turn;

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::{Result, program::NamedRow};

/// All rows, in the order in which they run.
pub const ALL: &[NamedRow] = &[
    ("confined_read", confined_read::row),
    ("exec", exec::row),
    ("sse_to_text", sse_to_text::row),
    ("turn", turn::row),
];

/// A runtime as a server has one.
///
/// # Errors
/// What the host says.
pub fn runtime() -> Result<Arc<Runtime>> {
    Ok(Arc::new(tokio::runtime::Builder::new_multi_thread().enable_all().build()?))
}

/// Waits for `work` in a task of `runtime`, where the work of an agent is done.
///
/// # Errors
/// That of the work, and its panic.
pub fn in_task(runtime: &Runtime, work: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    runtime.block_on(runtime.spawn(work))?
}

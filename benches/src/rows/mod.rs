//! The rows: one file for each question.

pub mod concurrent_read;
pub mod confined_read;
pub mod durable_append;
pub mod exec;
pub mod host_killed;
pub mod isolation;
pub mod layers;
pub mod mirror;
pub mod r2;
pub mod sandboxes;
pub mod small_write;
pub mod sse_framing;
pub mod sse_to_text;
pub mod stall_guard;
pub mod stat_list;
pub mod turn;
pub mod warm_shell;

use std::sync::Arc;

use tokio::runtime::Runtime;

use crate::{Result, program::NamedRow};

/// All rows, in the order in which they run.
pub const ALL: &[NamedRow] = &[
    ("confined_read", confined_read::of_1_kib),
    ("confined_read_64k", confined_read::of_64_kib),
    ("confined_read_16m", confined_read::of_16_mib),
    ("concurrent_read", concurrent_read::of_1_kib),
    ("concurrent_read_64k", concurrent_read::of_64_kib),
    ("stat", stat_list::stat),
    ("exists", stat_list::exists),
    ("list", stat_list::list),
    ("small_write", small_write::row),
    ("stall_guard", stall_guard::row),
    ("layers", layers::row),
    ("mirror", mirror::row),
    ("r2_read", r2::read),
    ("r2_read_large", r2::read_large),
    ("r2_replace", r2::replace),
    ("r2_list", r2::list),
    ("exec", exec::of_shell),
    ("exec_true", exec::of_true),
    ("exec_2g", exec::in_large_host),
    ("sandboxes", sandboxes::row),
    ("isolation", isolation::of_a_shell),
    ("isolation_true", isolation::of_nothing),
    ("warm_shell", warm_shell::row),
    ("host_killed", host_killed::of_few),
    ("host_killed_200", host_killed::of_many),
    ("sse_framing", sse_framing::row),
    ("sse_to_text", sse_to_text::row),
    ("turn", turn::row),
    ("turn_persisted", turn::persisted),
    ("durable_append", durable_append::row),
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

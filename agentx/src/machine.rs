//! This machine's resources, put together.

use std::{path::Path, sync::Arc};

use agentx_core::Result;
use agentx_provider_local::{LocalEnv, LocalFileSystem, LocalProcess};
use agentx_sandbox::NodeRuntime;

/// A directory of this machine to work in: its files, and commands that begin in it.
///
/// Files are confined to the directory. Commands get a clean environment and begin in it, but may do whatever this
/// user may do.
///
/// # Errors
/// `NotFound`, `NotADirectory` or `PermissionDenied` for a directory that can't be used.
pub fn local_runtime(path: impl AsRef<Path>) -> Result<NodeRuntime> {
    let files = LocalFileSystem::open(path.as_ref())?;
    let process = LocalProcess::new(path.as_ref())?;
    Ok(NodeRuntime::new(Arc::new(files), Arc::new(LocalEnv::new()), Arc::new(process)))
}

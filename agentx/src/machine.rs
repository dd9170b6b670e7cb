//! This machine's resources, put together.

use std::{path::Path, sync::Arc};

use agentx_core::Result;
use agentx_provider_local::{Isolation, LocalEnv, LocalFileSystem, LocalProcess};
use agentx_sandbox::NodeRuntime;

/// A directory of this machine to work in: its files, and commands that begin in it.
///
/// Files are confined to the directory. Commands get a clean environment and begin in it, but may do whatever this
/// user may do: [`isolated_runtime`] holds them.
///
/// # Errors
/// `NotFound`, `NotADirectory` or `PermissionDenied` for a directory that can't be used.
pub fn local_runtime(path: impl AsRef<Path>) -> Result<NodeRuntime> {
    runtime(path.as_ref(), LocalProcess::new(path.as_ref())?)
}

/// As [`local_runtime`], with commands that see and do no more than `isolation` says.
///
/// # Errors
/// Those of [`local_runtime`]; `Unsupported` where this machine lacks a part of the isolation.
pub fn isolated_runtime(path: impl AsRef<Path>, isolation: Isolation) -> Result<NodeRuntime> {
    runtime(path.as_ref(), LocalProcess::new(path.as_ref())?.with_isolation(isolation)?)
}

fn runtime(path: &Path, process: LocalProcess) -> Result<NodeRuntime> {
    let files = LocalFileSystem::open(path)?;
    Ok(NodeRuntime::new(Arc::new(files), Arc::new(LocalEnv::new()), Arc::new(process)))
}

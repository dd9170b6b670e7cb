//! What every pair of files and commands does, asked of a directory.
#![cfg(test)]

use std::sync::Arc;

use agentx_conformance::{Fresh, pair::Pair};
use agentx_provider_local::{LocalFileSystem, LocalProcess};
use agentx_resource::Result;

fn directory() -> Result<Fresh<Pair>> {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(LocalFileSystem::open(dir.path())?);
    let process = Arc::new(LocalProcess::new(dir.path())?);
    Ok(Fresh::pair(files, process).with_guard(dir))
}

agentx_conformance::pair_suite!(pair, || async { directory() });

//! What every process does, and every pair of a file system and a process, under all isolation that there is.

use std::sync::Arc;

use agentx_conformance::{Fresh, pair::Pair};
use agentx_provider_local::{LocalFileSystem, LocalProcess, Namespaces};
use agentx_resource::{Process, Result};
use tempfile::TempDir;

use super::{full, isolated, light};
use agentx_provider_local::Isolation;

agentx_conformance::process_suite!(per_command, || async { commands(full(Namespaces::PerCommand)) });
agentx_conformance::process_suite!(per_owner, || async { commands(full(Namespaces::PerOwner)) });
agentx_conformance::process_suite!(without_namespaces, || async { commands(light()) });
agentx_conformance::pair_suite!(pair_per_command, || async { pair(full(Namespaces::PerCommand)) });
agentx_conformance::pair_suite!(pair_per_owner, || async { pair(full(Namespaces::PerOwner)) });

fn commands(isolation: Isolation) -> Result<Fresh<dyn Process>> {
    let (process, dir) = process(isolation)?;
    Ok(Fresh::process(process).with_guard(dir))
}

fn pair(isolation: Isolation) -> Result<Fresh<Pair>> {
    // Stand-ins for what is protected would be listed.
    let (process, dir) = process(isolation.without_protected())?;
    let files = Arc::new(LocalFileSystem::open(dir.path())?);
    Ok(Fresh::pair(files, Arc::new(process)).with_guard(dir))
}

/// Where the machine can't, the cases are those of ordinary commands.
fn process(isolation: Isolation) -> Result<(LocalProcess, TempDir)> {
    if let Some(isolated) = isolated(isolation) {
        return Ok(isolated);
    }
    let dir = tempfile::tempdir().unwrap();
    Ok((LocalProcess::new(dir.path())?, dir))
}

//! What every provider does, asked of this one.
#![cfg(test)]

use agentx_conformance::Fresh;
use agentx_provider_local::{Durability, LocalFileSystem, Resolution};
use agentx_resource::{FileSystem, Result};

fn directory(durability: Durability) -> Result<Fresh<dyn FileSystem>> {
    let dir = tempfile::tempdir().unwrap();
    let fs = LocalFileSystem::open(dir.path())?.with_durability(durability);
    Ok(Fresh::file_system(fs).with_guard(dir))
}

fn walked_directory() -> Result<Fresh<dyn FileSystem>> {
    let dir = tempfile::tempdir().unwrap();
    let fs = LocalFileSystem::open_with(dir.path(), Resolution::Walk)?;
    Ok(Fresh::file_system(fs).with_guard(dir))
}

agentx_conformance::file_system_suite!(file_system, || async { directory(Durability::None) });
agentx_conformance::file_system_suite!(durable_file_system, || async { directory(Durability::Full) });
agentx_conformance::file_system_suite!(walked_file_system, || async { walked_directory() });

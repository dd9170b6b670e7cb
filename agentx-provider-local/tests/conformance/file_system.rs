use std::path::Path;

use agentx_conformance::Fresh;
use agentx_provider_local::{Durability, LocalFileSystem, Resolution};
use agentx_resource::{FileSystem, Result};

use crate::leftovers;

agentx_conformance::file_system_suite!(kernel, || async { fresh(|dir| LocalFileSystem::open(dir)) });
agentx_conformance::file_system_suite!(walked, || async {
    fresh(|dir| LocalFileSystem::open_with(dir, Resolution::Walk))
});
agentx_conformance::file_system_suite!(durable, || async {
    fresh(|dir| Ok(LocalFileSystem::open(dir)?.with_durability(Durability::Full)))
});

/// A directory, of which nothing but what the case made may be left.
fn fresh(open: impl FnOnce(&Path) -> Result<LocalFileSystem>) -> Result<Fresh<dyn FileSystem>> {
    let dir = tempfile::tempdir().unwrap();
    let fs = open(dir.path())?;
    Ok(Fresh::file_system(fs).with_check(leftovers::check(dir.path())).with_guard(dir))
}

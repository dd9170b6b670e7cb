use std::{path::Path, sync::Arc};

use agentx_conformance::{
    Fresh,
    limits::{Limited, Limits},
};
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

agentx_conformance::limits_suite!(limits, || async { limited(Resolution::Kernel, Limits::new()) });
// A walk goes name by name, and so takes as long as the depth squared.
agentx_conformance::limits_suite!(walked_limits, || async {
    limited(Resolution::Walk, Limits::new().with_depth(500))
});

fn limited(resolution: Resolution, limits: Limits) -> Result<Fresh<Limited>> {
    let dir = tempfile::tempdir().unwrap();
    let fs = LocalFileSystem::open_with(dir.path(), resolution)?;
    let limited = Fresh::limited(Arc::new(fs), limits);
    Ok(limited.with_check(leftovers::check(dir.path())).with_guard(dir))
}

/// A directory, of which nothing but what the case made may be left.
fn fresh(open: impl FnOnce(&Path) -> Result<LocalFileSystem>) -> Result<Fresh<dyn FileSystem>> {
    let dir = tempfile::tempdir().unwrap();
    let fs = open(dir.path())?;
    Ok(Fresh::file_system(fs).with_check(leftovers::check(dir.path())).with_guard(dir))
}

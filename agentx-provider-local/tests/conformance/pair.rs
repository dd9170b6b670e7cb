use std::sync::Arc;

use agentx_conformance::{Fresh, pair::Pair};
use agentx_provider_local::{LocalFileSystem, LocalProcess};
use agentx_resource::Result;

use crate::leftovers;

agentx_conformance::pair_suite!(directory, || async { directory() });

fn directory() -> Result<Fresh<Pair>> {
    let dir = tempfile::tempdir().unwrap();
    let files = Arc::new(LocalFileSystem::open(dir.path())?);
    let process = Arc::new(LocalProcess::new(dir.path())?);
    Ok(Fresh::pair(files, process).with_check(leftovers::check(dir.path())).with_guard(dir))
}

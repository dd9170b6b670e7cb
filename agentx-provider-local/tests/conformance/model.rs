use agentx_conformance::{Failure, Fresh, file_system::model};
use agentx_provider_local::LocalFileSystem;
use agentx_resource::{FileSystem, Result};

async fn directory() -> Result<Fresh<dyn FileSystem>> {
    let dir = tempfile::tempdir().unwrap();
    Ok(Fresh::file_system(LocalFileSystem::open(dir.path())?).with_guard(dir))
}

/// Random operations on a directory have the results that they have in memory.
#[test]
fn a_directory_does_what_memory_does() -> Result<(), Failure> {
    model::agrees(directory, 150)
}

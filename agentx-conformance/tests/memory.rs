//! The suites over the resources in memory, which are what the suites say.

use std::sync::Arc;

use agentx_conformance::Fresh;
use agentx_resource::{
    FileSystem, Layer, MkdirOptions, ResourcePath, Result, layer::Chroot, memory::MemoryFileSystem,
};

agentx_conformance::file_system_suite!(memory, || async { Fresh::file_system(MemoryFileSystem::new()) });

agentx_conformance::file_system_suite!(chroot, chrooted);

/// A directory of a tree that holds more, so that a path that is not mapped shows.
async fn chrooted() -> Result<Fresh<dyn FileSystem>> {
    let whole: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let base = ResourcePath::new("/a/d")?;
    whole.mkdir(&base, MkdirOptions::recursive()).await?;
    Ok(Fresh::new(Chroot::new(base).layer(whole)))
}

//! The suite over the layer that keeps changes apart from the file system that is changed.

use std::sync::Arc;

use agentx_conformance::Fresh;
use agentx_resource::{
    FileSystem, FileSystemExt, Layer, MkdirOptions, ResourcePath, Result,
    layer::{Chroot, Overlay},
    memory::MemoryFileSystem,
};

agentx_conformance::file_system_suite!(overlay, || async {
    let (base, upper) = (MemoryFileSystem::new(), MemoryFileSystem::new());
    Overlay::open(Arc::new(base), Arc::new(upper)).await.map(Fresh::file_system)
});

// A directory of the base whose content was removed, with names that the cases use below it.
agentx_conformance::file_system_suite!(over_removed, over_removed);

async fn over_removed() -> Result<Fresh<dyn FileSystem>> {
    let (base, upper) = (Arc::new(MemoryFileSystem::new()), Arc::new(MemoryFileSystem::new()));
    let seen = ResourcePath::new("/s")?;
    for name in ["a/b/c", "d/f", "x/y", "log", "counter"] {
        let at = seen.join(name)?;
        base.mkdir(&at.parent().unwrap_or_else(ResourcePath::root), MkdirOptions::recursive()).await?;
        base.write_file(&at, "of the base").await?;
    }
    let overlay = Overlay::open(base, upper).await?;
    for entry in overlay.readdir(&seen).await? {
        if let Some(path) = entry.path {
            overlay.rm_all(&path).await?;
        }
    }
    Ok(Fresh::new(Chroot::new(seen).layer(Arc::new(overlay))))
}

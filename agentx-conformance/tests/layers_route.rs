//! The suite over the layer that shows file systems at places of another.

use std::sync::Arc;

use agentx_conformance::Fresh;
use agentx_resource::{
    FileSystem, Layer, MkdirOptions, ResourcePath, Result,
    layer::{Chroot, Route},
    memory::MemoryFileSystem,
};

agentx_conformance::file_system_suite!(unmounted, || async {
    Fresh::new(Route::new().layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>))
});

// What goes on in a mount.
agentx_conformance::file_system_suite!(mounted, || below("/a/d", "/a/d"));

// What goes on beside a mount, on the way to another.
agentx_conformance::file_system_suite!(beside, || below("/a/b/c/d", "/a/x"));

/// What `seen` shows, with a file system at `place`, and another at a place above it.
async fn below(place: &str, seen: &str) -> Result<Fresh<dyn FileSystem>> {
    let route = Route::new()
        .with_mount(ResourcePath::new(place)?, Arc::new(MemoryFileSystem::new()))
        .with_mount(ResourcePath::new("/a")?, Arc::new(MemoryFileSystem::new()));
    let whole = route.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
    let seen = ResourcePath::new(seen)?;
    whole.mkdir(&seen, MkdirOptions::recursive()).await?;
    Ok(Fresh::new(Chroot::new(seen).layer(whole)))
}

mod copy;
mod fs;
mod list;
mod table;

use std::sync::Arc;

use self::{fs::RouteFileSystem, table::Table};
use super::Layer;
use crate::{FileSystem, ResourcePath};

/// Shows other file systems at places of the wrapped one. The longest place that a path lies at or below decides.
///
/// * A mount point and the directories above it are directories, whatever the wrapped file system has there; what it
///   has below a mount point is hidden. They appear in lists, and recursive lists go into mounts.
/// * They stay: `rm` and `rename` of them are `InvalidInput`, as for the root.
/// * A copy from one file system to another is read and written file by file. Where it fails, what was copied is
///   removed again; a future that is dropped leaves it. A symlink, and a name that is not UTF-8, can't be copied so
///   (`Unsupported`).
/// * A symlink leads to where it leads in its own file system, which knows of no mount: a link beside a mount that leads
///   to its place shows what the mount hides.
/// * A rename from one to another is `Unsupported`, since it can't be done at once: copy, then remove.
/// * A capability is declared where all declare it. Where one does not, none offers it.
///
/// A place at the root itself is no mount: wrap that file system instead.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, Layer, ResourcePath, layer::Route, memory::MemoryFileSystem};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let shared = Arc::new(MemoryFileSystem::new());
/// let route = Route::new().with_mount(ResourcePath::new("/shared")?, shared.clone());
/// let fs = route.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
/// fs.write_file(&ResourcePath::new("/shared/a")?, "x").await?;
/// assert_eq!(shared.read_to_string(&ResourcePath::new("/a")?).await?, "x");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Route {
    mounts: Vec<(ResourcePath, Arc<dyn FileSystem>)>,
}

impl Route {
    /// Without mounts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows `fs` at `place`. What was shown there before is replaced; at the root, nothing is.
    pub fn with_mount(mut self, place: ResourcePath, fs: Arc<dyn FileSystem>) -> Self {
        self.mounts.retain(|(other, _)| *other != place);
        if !place.is_root() {
            self.mounts.push((place, fs));
        }
        self
    }
}

impl Layer<dyn FileSystem> for Route {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        Arc::new(RouteFileSystem::new(Table::new(inner, self.mounts.clone())))
    }
}

#[cfg(test)]
mod tests;

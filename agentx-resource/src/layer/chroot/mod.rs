mod fs;
mod process;

use std::sync::Arc;

use self::{fs::ChrootFileSystem, process::ChrootProcess};
use super::Layer;
use crate::{Error, FileSystem, Process, ResourcePath, Result};

/// Shows a directory as the root: of a file system, and of a process's working directories. Callers see paths below
/// it alone, in results and in errors.
///
/// It gives names, and is no boundary: a symlink below the directory leads wherever the provider lets it lead, and a
/// command goes where its platform lets it go. What must not leave a directory gets a provider of that directory.
///
/// The directory need not exist yet; until then there is nothing at `/`. It is created by what creates parents.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, Layer, ResourcePath, layer::Chroot};
/// use agentx_resource::memory::MemoryFileSystem;
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let whole: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
/// whole.mkdir(&ResourcePath::new("/home")?, Default::default()).await?;
/// let home = Chroot::new(ResourcePath::new("/home")?).layer(Arc::clone(&whole));
/// home.write_file(&ResourcePath::new("/a")?, "x").await?;
/// assert_eq!(whole.read_to_string(&ResourcePath::new("/home/a")?).await?, "x");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Chroot {
    base: ResourcePath,
}

impl Chroot {
    /// Shows `base` as the root.
    pub fn new(base: ResourcePath) -> Self {
        Self { base }
    }

    /// Where the caller's `path` lies.
    fn inner(&self, path: &ResourcePath) -> Result<ResourcePath> {
        self.base.join(path.relative()).map_err(|error| error.with_path(path))
    }

    /// What the caller calls the place `inner`; `None` for one that it can't name.
    fn outer(&self, inner: &str) -> Option<ResourcePath> {
        let inner = ResourcePath::new(inner).ok()?;
        ResourcePath::root().join(inner.strip_prefix(&self.base)?).ok()
    }

    /// Makes an error speak of the caller's paths. One about a place outside names `asked` instead.
    fn error(&self, error: Error, asked: &ResourcePath) -> Error {
        let Some(path) = error.path() else { return error };
        let shown = self.outer(path).unwrap_or_else(|| asked.clone());
        error.with_path(shown)
    }
}

impl Layer<dyn FileSystem> for Chroot {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        Arc::new(ChrootFileSystem::new(inner, self.clone()))
    }
}

impl Layer<dyn Process> for Chroot {
    fn layer(&self, inner: Arc<dyn Process>) -> Arc<dyn Process> {
        Arc::new(ChrootProcess::new(inner, self.clone()))
    }
}

#[cfg(test)]
mod tests;

mod changes;
mod fs;
mod removed;
mod transfer;
mod tree;
mod writer;

use std::{fmt, sync::Arc};

pub use self::changes::{OverlayChange, OverlayChangeKind};
use self::tree::Tree;
use crate::{FileSystem, Result};

/// A file system that is changed without being touched: what is written goes to a second one, the upper, and what is
/// removed is noted there. [`Overlay::diff`] tells what changed, [`Overlay::commit`] applies it to the base, and
/// dropping the upper's content undoes it.
///
/// It is opened rather than layered, since it reads first what an earlier overlay with the same upper noted. A clone is
/// the same overlay.
///
/// * A file is copied to the upper as a whole before it is appended to; a directory is, when it is renamed.
/// * The upper's directory `/.agentx-overlay` is reserved: nothing is there for callers, and they can't create it.
/// * While it is open, nobody else changes the base or the upper, and no other overlay is open with the upper.
/// * Conditional writes hold against all who write through this value and its clones, and appends need an upper that
///   appends. Renames take several steps, and permission bits are not kept.
/// * A symlink of the base leads to where it leads in the base, as that is without the changes. Nothing is changed
///   through one, no such link is renamed or replaced by a rename, and none is copied with the directory that holds it
///   (`Unsupported`). It can be removed, and then its name is free.
/// * The note of what is removed is written anew with each removal; it grows by the path of each file or directory of
///   the base that was removed on its own.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, ResourcePath, layer::Overlay, memory::MemoryFileSystem};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let (base, a) = (Arc::new(MemoryFileSystem::new()), ResourcePath::new("/a")?);
/// base.write_file(&a, "old").await?;
/// let overlay = Overlay::open(base.clone(), Arc::new(MemoryFileSystem::new())).await?;
/// overlay.write_file(&a, "new").await?;
/// assert_eq!(base.read_to_string(&a).await?, "old");
/// assert_eq!(overlay.diff().await?.len(), 1);
/// overlay.commit().await?;
/// assert_eq!(base.read_to_string(&a).await?, "new");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Overlay {
    tree: Arc<Tree>,
}

impl Overlay {
    /// Shows `base` with the changes that `upper` holds.
    ///
    /// # Errors
    /// `Corrupt` when the upper's note of what is removed can't be read as such; what the upper reports.
    pub async fn open(base: Arc<dyn FileSystem>, upper: Arc<dyn FileSystem>) -> Result<Self> {
        Ok(Self { tree: Arc::new(Tree::open(base, upper).await?) })
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay")
            .field("base", &self.tree.base)
            .field("upper", &self.tree.upper)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

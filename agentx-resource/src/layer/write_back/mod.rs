mod flush;
mod fs;
mod list;
mod view;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use self::flush::FlushReport;
use self::view::{Seen, View};
use super::path_locks::PathLocks;
use crate::{Error, ErrorKind, FileSystem, Metadata, ResourcePath, Result};

/// A file system as one caller sees it for a while, such as a turn: each file is asked for once, and what is written is
/// held back until [`WriteBack::flush`] writes each file once. For a store that bills by operation.
///
/// It is used in place of the file system, and its [`WriteBack::flush`] is called at the end of a turn. A clone is the
/// same view.
///
/// # What is safe when
/// * **A held write is in memory alone.** Its success says that later reads through this value see it, and nothing more.
///   Saved is what a flush that succeeded has written, and what was not held: a file of more than 1 MiB, what goes through
///   a writer, an append, and every other change, all of which are done at once.
/// * Dropping the last clone, or a crash, loses what is held.
/// * A flush that fails or is dropped has written some files. The others stay held, and another flush writes them; what
///   was written without our being told is known again by its content.
///
/// # Conditions
/// `CreateNew` and `IfMatch` are decided here against what is known, and once more by the store when the file is flushed.
/// So the layer declares [`ConditionStrength::Cooperative`](crate::ConditionStrength): of those who write through this
/// value one wins at once; against others it is known at the flush. Whoever lost there is told
/// (`ConditionFailed`, `AlreadyExists`), nothing of the others is overwritten, and the content stays held until
/// [`WriteBack::discard`].
///
/// # What others change
/// What is known stays known: a file that was read, the entries of a directory that was listed, what was not there.
/// [`WriteBack::refresh`] forgets it, at the beginning of a turn.
///
/// # Bounds
/// 100,000 entries are known, and 64 MiB of contents kept and held; beyond, what is known is forgotten, and what is held
/// is flushed.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, ResourcePath, layer::WriteBack, memory::MemoryFileSystem};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let (store, notes) = (MemoryFileSystem::new(), ResourcePath::new("/notes.md")?);
/// let fs = WriteBack::open(Arc::new(store.clone()))?;
/// for draft in ["one", "two", "three"] {
///     fs.write_file(&notes, draft).await?;
/// }
/// assert!(!store.exists(&notes).await?);
/// fs.flush().await.complete()?;
/// assert_eq!(store.read_to_string(&notes).await?, "three");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct WriteBack {
    inner: Arc<dyn FileSystem>,
    locks: PathLocks,
    view: Arc<Mutex<View>>,
}

impl WriteBack {
    /// The longest file that is held or kept, in bytes.
    const LARGEST: u64 = 1 << 20;

    /// A view of `inner` that knows nothing yet.
    ///
    /// # Errors
    /// `Unsupported` where `inner` has no conditional writes, so that a flush could overwrite what others wrote, or may
    /// hold symbolic links.
    pub fn open(inner: Arc<dyn FileSystem>) -> Result<Self> {
        let capabilities = inner.capabilities();
        if capabilities.if_match.is_none() || capabilities.symlinks {
            return Err(Error::new(ErrorKind::Unsupported, "open").with_message(
                "writes are held back where there are conditional writes and no symbolic links",
            ));
        }
        Ok(Self { inner, locks: PathLocks::default(), view: Arc::default() })
    }

    /// The files that are held, in order.
    pub fn pending(&self) -> Vec<ResourcePath> {
        self.view().pending()
    }

    /// Gives up what is held of `path`. False where nothing was.
    pub async fn discard(&self, path: &ResourcePath) -> bool {
        let _place = self.locks.lock(vec![path.clone()]).await;
        self.view().discard(path)
    }

    /// Forgets what is known of the store, so that it is asked anew. What is held stays.
    pub fn refresh(&self) {
        self.view().forget(&ResourcePath::root());
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is at `path`: asked of the store unless it is known.
    async fn look(&self, path: &ResourcePath) -> Result<Option<Metadata>> {
        let changes = {
            let view = self.view();
            match view.look(path) {
                Some(Seen::Entry(metadata)) => return Ok(Some(metadata)),
                Some(Seen::Nothing) => return Ok(None),
                None => {}
            }
            view.changes()
        };
        let found = match self.inner.stat(path, crate::StatOptions::default()).await {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        self.view().learn(path, found.clone(), None, changes);
        Ok(found)
    }
}

fn fail(kind: ErrorKind, operation: &'static str, path: &ResourcePath) -> Error {
    Error::new(kind, operation).with_path(path)
}

impl fmt::Debug for WriteBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBack")
            .field("inner", &self.inner)
            .field("pending", &self.view().pending().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

mod fs;
mod store;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use self::{fs::CacheFileSystem, store::Store};
use super::Layer;
use crate::{Clock, FileSystem};

/// Keeps the contents of small files that were read whole, and with [`Freshness::For`] what `stat` said of files. What
/// was used least recently goes first. The file systems that one value wraps share the room.
///
/// A change through the layer drops what is kept of its place before and after, so that a caller sees its own writes.
/// How soon a change by others is seen, [`Freshness`] says. Only a file system that gives versions (it declares
/// `if_match`) is cached; another one is given back as it is.
///
/// Kept are at most 1024 files of at most 1 MiB each, 64 MiB in all; the two latter can be set. A small file is read
/// whole before the first piece is given.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, Layer, ResourcePath, layer::{Cache, Freshness}};
/// use agentx_resource::memory::{ManualClock, MemoryFileSystem};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let cache = Cache::new(Freshness::Validate, Arc::new(ManualClock::default()));
/// let (inner, a) = (MemoryFileSystem::new(), ResourcePath::new("/a")?);
/// let fs = cache.layer(Arc::new(inner.clone()) as Arc<dyn FileSystem>);
/// inner.write_file(&a, "one").await?;
/// assert_eq!(fs.read_to_string(&a).await?, "one");
/// inner.write_file(&a, "two").await?;
/// assert_eq!(fs.read_to_string(&a).await?, "two");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    freshness: Freshness,
    clock: Arc<dyn Clock>,
    store: Arc<Store>,
    next_wrapper: Arc<AtomicU64>,
}

/// When what is kept may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Freshness {
    /// When a `stat` says that the version is still the same: one `stat` for each read instead of a transfer, and no
    /// change is missed that was complete when the read began.
    Validate,
    /// Without asking, for so long after it was read. A change by others may be missed for that time.
    For(Duration),
}

impl Cache {
    /// The files that are kept.
    const FILES: usize = 1024;

    /// An empty cache of the default size, which takes times from `clock`.
    pub fn new(freshness: Freshness, clock: Arc<dyn Clock>) -> Self {
        let store = Arc::new(Store::new(Self::FILES, 64 << 20, 1 << 20));
        Self { freshness, clock, store, next_wrapper: Arc::default() }
    }

    /// Keeps at most `total` bytes of contents, and no file that is larger than `largest`. What was kept is forgotten
    /// by this value.
    pub fn with_bytes(mut self, total: u64, largest: u64) -> Self {
        self.store = Arc::new(Store::new(Self::FILES, total, largest.min(total)));
        self
    }
}

impl Layer<dyn FileSystem> for Cache {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        if inner.capabilities().if_match.is_none() {
            return inner;
        }
        let wrapper = self.next_wrapper.fetch_add(1, Relaxed);
        Arc::new(CacheFileSystem::new(inner, self.clone(), wrapper))
    }
}

#[cfg(test)]
mod tests;

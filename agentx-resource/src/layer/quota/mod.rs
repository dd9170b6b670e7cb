mod count;
mod fs;
mod ledger;
mod writer;

use std::sync::Arc;

use self::{count::Count, fs::QuotaFileSystem, ledger::Ledger};
use super::Layer;
use crate::{FileSystem, Result};

/// Bounds the bytes and the files that a file system holds. A change that would exceed a bound is refused with
/// `LimitExceeded`, and nothing changes; what shrinks or replaces without growing is always allowed. The file systems
/// that one value wraps share the bounds.
///
/// What is there is counted once, by a recursive list: at [`Quota::open`], or before the first change. From then on
/// changes are counted as they are made, so what changes behind the layer (by a command, through another handle) is
/// not seen; each tree is to be wrapped once. After a change whose outcome is unknown, the tree is counted again.
///
/// Changes at one place go one after the other, and so do those above and below it. The bytes that open writers have
/// taken in count too, as far as they go beyond what the file had when the writer was opened. Directories are not
/// counted.
///
/// ```
/// use agentx_resource::{ErrorKind, FileSystem, FileSystemExt, ResourcePath, layer::Quota, memory::MemoryFileSystem};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let quota = Quota::new().with_bytes(5);
/// let fs = quota.open(Arc::new(MemoryFileSystem::new())).await?;
/// fs.write_file(&ResourcePath::new("/a")?, "four").await?;
/// let refused = fs.write_file(&ResourcePath::new("/b")?, "four").await.unwrap_err();
/// assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
/// assert_eq!(quota.used().bytes, 4);
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Quota {
    ledger: Ledger,
}

/// Bytes and files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuotaUsage {
    /// The contents of all files, in bytes.
    pub bytes: u64,
    /// All that is no directory.
    pub files: u64,
}

impl Quota {
    /// No bounds yet.
    pub fn new() -> Self {
        Self { ledger: Ledger::new(QuotaUsage { bytes: u64::MAX, files: u64::MAX }) }
    }

    /// Bounds the bytes. The value counts anew: what it has wrapped before keeps the old bounds.
    pub fn with_bytes(self, bytes: u64) -> Self {
        Self { ledger: Ledger::new(QuotaUsage { bytes, ..self.ledger.limit() }) }
    }

    /// Bounds the files. The value counts anew, as with [`Quota::with_bytes`].
    pub fn with_files(self, files: u64) -> Self {
        Self { ledger: Ledger::new(QuotaUsage { files, ..self.ledger.limit() }) }
    }

    /// Wraps `inner` and counts what is there. More than the bounds is no error: then it can't grow.
    ///
    /// # Errors
    /// Those of [`FileSystem::list`].
    pub async fn open(&self, inner: Arc<dyn FileSystem>) -> Result<Arc<dyn FileSystem>> {
        let fs = QuotaFileSystem::new(inner, self.ledger.clone());
        fs.count_all().await?;
        Ok(Arc::new(fs))
    }

    /// What is used, in all file systems that were counted.
    pub fn used(&self) -> QuotaUsage {
        self.ledger.used()
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self::new()
    }
}

impl QuotaUsage {
    fn file(bytes: u64) -> Self {
        Self { bytes, files: 1 }
    }

    fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(other.bytes), files: self.files.saturating_add(other.files) }
    }

    /// No less than nothing.
    fn minus(self, other: Self) -> Self {
        Self { bytes: self.bytes.saturating_sub(other.bytes), files: self.files.saturating_sub(other.files) }
    }
}

impl Layer<dyn FileSystem> for Quota {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        Arc::new(QuotaFileSystem::new(inner, self.ledger.clone()))
    }
}

#[cfg(test)]
mod tests;

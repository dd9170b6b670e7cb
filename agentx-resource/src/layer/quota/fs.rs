use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;

use super::{
    super::path_locks::{PathGuard, PathLocks},
    Count, QuotaUsage,
    ledger::Ledger,
    writer::QuotaWriter,
};
use crate::{
    DirEntry, EntryStream, ErrorKind, FileKind, FileRead, FileSystem, FileSystemExt, FileWriter,
    FsCapabilities, ListOptions, Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result,
    StatOptions, TransferOptions, WriteMode, WriteOptions,
};

#[derive(Clone, Debug)]
pub(super) struct QuotaFileSystem {
    inner: Arc<dyn FileSystem>,
    pub(super) count: Count,
    locks: PathLocks,
}

impl QuotaFileSystem {
    pub(super) fn new(inner: Arc<dyn FileSystem>, ledger: Ledger) -> Self {
        Self { inner, count: Count::new(ledger), locks: PathLocks::default() }
    }

    /// Counts the tree, unless that was done.
    pub(super) async fn count_all(&self) -> Result<()> {
        let _all = self.locks.lock(vec![ResourcePath::root()]).await;
        if !self.count.is_valid() {
            self.count.set(self.below(&ResourcePath::root()).await?);
        }
        Ok(())
    }

    /// Takes the places of a change, with a count that is valid.
    pub(super) async fn lock(&self, paths: &[&ResourcePath]) -> Result<PathGuard> {
        loop {
            let guard = self.locks.lock(paths.iter().copied().cloned().collect()).await;
            if self.count.is_valid() {
                return Ok(guard);
            }
            drop(guard);
            self.count_all().await?;
        }
    }

    /// The file that a write to `path` replaces, if there is one.
    pub(super) async fn replaced(&self, path: &ResourcePath) -> Result<QuotaUsage> {
        match self.inner.metadata(path).await {
            Ok(metadata) if metadata.is_dir() => Ok(QuotaUsage::default()),
            Ok(metadata) => Ok(QuotaUsage::file(metadata.len)),
            Err(error) if is_absence(error.kind()) || error.kind() == ErrorKind::PermissionDenied => {
                Ok(QuotaUsage::default())
            }
            Err(error) => Err(error),
        }
    }

    /// What `path` comes to, with all that is below it; nothing where nothing is.
    async fn at(&self, path: &ResourcePath) -> Result<QuotaUsage> {
        // Not what a symlink leads to: that is counted where it is.
        match self.inner.stat(path, StatOptions::no_follow()).await {
            Ok(metadata) if metadata.is_dir() => self.below(path).await,
            Ok(metadata) => Ok(usage(&metadata)),
            Err(error) if is_absence(error.kind()) => Ok(QuotaUsage::default()),
            Err(error) => Err(error),
        }
    }

    /// As [`Self::at`], for what a symlink at `path` leads to.
    async fn behind(&self, path: &ResourcePath) -> Result<QuotaUsage> {
        match self.inner.metadata(path).await {
            Ok(metadata) if metadata.is_dir() => self.below(path).await,
            Ok(metadata) => Ok(usage(&metadata)),
            Err(error) if is_absence(error.kind()) => Ok(QuotaUsage::default()),
            Err(error) => Err(error),
        }
    }

    async fn below(&self, path: &ResourcePath) -> Result<QuotaUsage> {
        let entries = self.inner.list(path, ListOptions::recursive());
        let sum = |sum: QuotaUsage, entry: DirEntry| async move { Ok(sum.plus(usage(&entry.metadata))) };
        match entries.try_fold(QuotaUsage::default(), sum).await {
            Err(error) if is_absence(error.kind()) => Ok(QuotaUsage::default()),
            counted => counted,
        }
    }
}

fn usage(metadata: &Metadata) -> QuotaUsage {
    match metadata.kind {
        FileKind::Directory => QuotaUsage::default(),
        _ => QuotaUsage::file(metadata.len),
    }
}

/// Nothing is there, nothing can be below it, or no way leads there: the operation itself tells which.
fn is_absence(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::Escapes | ErrorKind::InvalidPath
    )
}

#[async_trait]
impl FileSystem for QuotaFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        self.inner.read(path, options).await
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let _place = self.lock(&[path]).await?;
        let old = self.replaced(path).await?;
        let length = data.len() as u64;
        let new = match options.mode {
            WriteMode::Append => QuotaUsage::file(old.bytes.saturating_add(length)),
            _ => QuotaUsage::file(length),
        };
        let change = self.count.change(("write", path), old, new, None)?;
        change.told(self.inner.write(path, data, options).await)
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let append = options.mode == WriteMode::Append;
        let old = {
            let _place = self.lock(&[path]).await?;
            self.replaced(path).await?
        };
        let inner = self.inner.writer(path, options).await?;
        let credit = if append { 0 } else { old.bytes };
        Ok(Box::new(QuotaWriter::new(inner, self.clone(), path.clone(), append, credit)))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.inner.stat(path, options).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        self.inner.list(path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.inner.mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        let _place = self.lock(&[path]).await?;
        let old = self.at(path).await?;
        let change = self.count.change(("rm", path), old, QuotaUsage::default(), None)?;
        change.told(self.inner.rm(path, options).await)
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let _places = self.lock(&[from, to]).await?;
        // What moves stays; what it replaces goes. Nothing but a file, or a directory without files, is replaced.
        let old = if from == to { QuotaUsage::default() } else { self.at(to).await? };
        let change = self.count.change(("rename", from), old, QuotaUsage::default(), None)?;
        change.told(self.inner.rename(from, to, options).await)
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let _places = self.lock(&[from, to]).await?;
        let (old, new) = if from == to {
            (QuotaUsage::default(), QuotaUsage::default())
        } else {
            // What a link leads to is copied, and replaced.
            (self.replaced(to).await?, self.behind(from).await?)
        };
        let change = self.count.change(("copy", from), old, new, None)?;
        change.told(self.inner.copy(from, to, options).await)
    }
}

//! A file system over an object store. The modules mirror the contract: `read.rs` here answers the questions that
//! `read.rs` there asks.

mod bucket;
mod condition;
mod disk;
mod error;
mod key;
mod list;
mod place;
mod read;
mod remove;
#[cfg(test)]
mod tests;
mod transfer;
mod write;
mod writer;

use std::{fmt, sync::Arc};

use agentx_resource::{
    ConditionStrength, EntryStream, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata,
    MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, Spawn, StatOptions, TransferOptions,
    WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use object_store::ObjectStore;

use self::bucket::Counters;
pub use self::{
    bucket::{R2Bucket, R2Keys, R2Usage},
    disk::R2Disk,
    transfer::R2Progress,
};

/// A [`FileSystem`] over an object store. A clone is the same file system.
///
/// A file is one object, whose key is the path without its leading `/`. Control characters, `%`, and white space at the
/// edges of a name are percent-encoded, and so are the few names that the store or this type keeps for itself; every other name
/// is its key. A key holds at most 1012 bytes, which is what R2 allows less a directory's marker; a longer path is
/// `InvalidPath`.
///
/// # Directories
/// An object store has none. Here a directory is where an object lies below: its marker, an empty object named
/// `.agentx-dir` that is never listed, or anything else. `mkdir` and `create_parents` write markers, so these
/// directories stay when they become empty; a directory that only objects of other programs imply goes with
/// the last of them.
///
/// Where another program put an object at `a` and others below `a/`, `a` is a file; a recursive list shows both.
///
/// # What is atomic
/// * One file's write and copy, and the choice of the one winner of `CreateNew`, of `IfMatch` and of
///   `TransferOptions::create_new`.
/// * Not a rename (a copy and a removal), nor what concerns a directory: many objects, one after the other. When
///   it fails half-way, a copy or a rename has copied some files and removed none; `rm` has removed some.
/// * Not the look at the surroundings: two writers that make `/a` and `/a/b` in the same moment may both succeed.
///
/// # Bounds
/// * A writer holds at most 8 MiB and the piece being written; it takes at most 10,000 such parts (78 GiB).
/// * Through [`R2FileSystem::connect`], a body that is shorter than the file is told, and a conditional write whose answer
///   was lost is known again; see [`R2Bucket`] for how often a request is repeated, and how long silence lasts.
/// * A writer with `CreateNew` or `IfMatch` holds its content, at most 64 MiB: object stores have no conditional
///   multipart upload. A `create_new` rename or copy of a file has the same bound. Beyond, it is `LimitExceeded`.
/// * `list` streams a tree; of a single directory it holds all entries at once.
///
/// ```
/// use agentx_provider_cloudflare::{R2FileSystem, object_store::memory::InMemory};
/// use agentx_resource::{FileSystemExt, ResourcePath};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let fs = R2FileSystem::new(Arc::new(InMemory::new()));
/// let path = ResourcePath::new("/notes.md")?;
/// fs.write_file(&path, "hello").await?;
/// assert_eq!(fs.read_to_string(&path).await?, "hello");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct R2FileSystem {
    store: Arc<dyn ObjectStore>,
    if_match: bool,
    /// Whether the store keeps metadata, and its versions are those of HTTP.
    s3: bool,
    usage: Option<Arc<Counters>>,
    progress: Option<Progress>,
    spawn: Option<Arc<dyn Spawn>>,
}

type Progress = Arc<dyn Fn(&R2Progress) + Send + Sync>;

impl R2FileSystem {
    /// The file system that `store` holds; a part of a bucket through [`object_store::prefix::PrefixStore`].
    ///
    /// The store must create conditionally ([`object_store::PutMode::Create`]).
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, if_match: false, s3: false, usage: None, progress: None, spawn: None }
    }

    /// The file system that this bucket holds, with conditional writes. Nothing is asked yet.
    ///
    /// # Errors
    /// `InvalidInput` for what can't be a bucket, an endpoint or a prefix; `Internal` where TLS can't be set up.
    pub fn connect(bucket: &R2Bucket) -> Result<Self> {
        let usage = Arc::<Counters>::default();
        let store = bucket.open(Arc::clone(&usage))?;
        Ok(Self { s3: true, usage: Some(usage), ..Self::new(store).with_if_match() })
    }

    /// Calls `progress` with each object that a copy or a rename of a directory has copied, in its task: it must not
    /// block.
    pub fn with_progress(mut self, progress: impl Fn(&R2Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// The store that it is made of: for what is no matter of files, such as attributes and signed URLs. Its keys are the
    /// paths without their leading `/`, but for the few characters that the type's documentation names.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// What this file system and its clones have used of their bucket. None for one that was made of another store.
    pub fn usage(&self) -> Option<R2Usage> {
        self.usage.as_ref().map(|usage| usage.snapshot())
    }

    /// Declares conditional writes. R2 has them, and so has every store that implements
    /// [`object_store::PutMode::Update`] by comparing and swapping.
    pub fn with_if_match(mut self) -> Self {
        self.if_match = true;
        self
    }

    /// Where the parts of a dropped writer are cleared away. Without it they stay in the store, unseen, until
    /// the bucket's rule for unfinished uploads removes them (on R2 after 7 days by default).
    pub fn with_spawn(mut self, spawn: Arc<dyn Spawn>) -> Self {
        self.spawn = Some(spawn);
        self
    }
}

/// Names the store, and none of its settings.
impl fmt::Debug for R2FileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("R2FileSystem")
            .field("store", &format_args!("{}", self.store))
            .field("if_match", &self.if_match)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl FileSystem for R2FileSystem {
    fn capabilities(&self) -> FsCapabilities {
        let capabilities = FsCapabilities::new();
        if self.if_match { capabilities.with_if_match(ConditionStrength::Atomic) } else { capabilities }
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        self.open(path, options).await
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        self.publish(path, data, &options).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        self.begin(path, options).await
    }

    async fn stat(&self, path: &ResourcePath, _: StatOptions) -> Result<Metadata> {
        self.look(path).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        self.entries(path, &options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.make_directory(path, &options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.remove(path, &options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.move_to(from, to, &options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.copy_to(from, to, &options).await
    }
}

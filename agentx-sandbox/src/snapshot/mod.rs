//! States of a tree that one can come back to.

mod store;
mod tree;
mod undo;

use std::{fmt, sync::Arc};

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::{FileSystem, MkdirOptions, RemoveOptions, ResourcePath, WriteMode};
use futures::{TryStreamExt, lock::Mutex};
use globset::{GlobBuilder, GlobSet};

use self::{
    store::Store,
    tree::{Node, Tree, candidates, gone, scan},
};
pub use self::{
    tree::{Change, ChangeKind},
    undo::{UndoLog, Undone},
};

/// Snapshots of a file system: what it holds is copied, and can be compared with, put back, and written elsewhere.
///
/// Copies rather than an overlay, so that commands may change the tree too, and any file system will do. They are kept
/// in a second one, the store, which belongs to one value at a time.
///
/// * **Costs.** A snapshot lists the tree and copies each file whose version no earlier snapshot of this value has; where
///   a file system has no versions, it copies all. The store needs room for one copy of each content. A `diff` and a
///   `restore` list the tree, and read the files whose version is another.
/// * **Bounds**: [`SnapshotLimits`].
/// * **What is kept**: directories and contents. Symlinks are kept as such, but not made anew. A file that is replaced
///   keeps its permission bits; one that was removed comes back with those of a new file.
/// * **A snapshot that is dropped or fails leaves nothing**: it is there once its record is, and contents without a
///   record go with the next snapshot, or when the store is opened. Files that change while a snapshot is taken are kept
///   as they were at some moment of it.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, ResourcePath, memory::MemoryFileSystem};
/// use agentx_sandbox::{ChangeKind, Snapshots};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let (fs, a) = (Arc::new(MemoryFileSystem::new()), ResourcePath::new("/a")?);
/// fs.write_file(&a, "old").await?;
/// let snapshots = Snapshots::open(fs.clone(), Arc::new(MemoryFileSystem::new())).await?;
/// let before = snapshots.take().await?;
/// fs.write_file(&a, "new").await?;
/// assert_eq!(snapshots.diff(before).await?[0].kind, ChangeKind::Changed);
/// snapshots.restore(before).await?;
/// assert_eq!(fs.read_to_string(&a).await?, "old");
/// # Ok::<(), agentx_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Snapshots {
    fs: Arc<dyn FileSystem>,
    limits: SnapshotLimits,
    excluded: GlobSet,
    state: Arc<Mutex<State>>,
}

/// Which snapshot. A number of one that was removed may come again after the store was opened anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotId(u64);

/// How much is kept of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotLimits {
    /// The entries of a tree. A record of each is in memory.
    pub entries: usize,
    /// The contents of a tree, in bytes.
    pub bytes: u64,
    /// How many snapshots there may be.
    pub snapshots: usize,
}

/// What a [`Snapshots::restore`] or a [`Snapshots::fork`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// What is different from before, in the order of the paths.
    pub changed: Vec<Change>,
    /// Symlinks that are gone or lead elsewhere, which can't be made.
    pub skipped: Vec<ResourcePath>,
}

#[derive(Debug)]
struct State {
    store: Store,
    /// The last tree whose contents were kept; they are counted on.
    latest: Tree,
}

impl Snapshots {
    /// Snapshots of `fs` in `store`, with those that it has already. Its records are read.
    ///
    /// # Errors
    /// `Corrupt` for a record that can't be read as such, which is left as it is; what the store reports.
    pub async fn open(fs: Arc<dyn FileSystem>, store: Arc<dyn FileSystem>) -> Result<Self> {
        let mut store = Store::open(store).await?;
        let latest = match store.snapshots.last() {
            Some(last) => store.load(*last).await?,
            None => Tree::new(),
        };
        store.hold(latest.values());
        let (limits, state) = (SnapshotLimits::default(), Arc::new(Mutex::new(State { store, latest })));
        Ok(Self { fs, limits, excluded: GlobSet::empty(), state })
    }

    /// With these limits.
    pub fn with_limits(mut self, limits: SnapshotLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Leaves these alone: they are not kept, not compared and not touched. Globs from the root, such as `**/target` and
    /// `node_modules`; what is below a directory that matches is left alone too. Replaces those given before.
    ///
    /// # Errors
    /// `InvalidInput` for a text that is no glob.
    pub fn with_excluded(mut self, globs: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self> {
        let invalid = |error: globset::Error| {
            Error::new(ErrorKind::InvalidInput, "exclude").with_message(error.to_string())
        };
        let mut set = GlobSet::builder();
        for glob in globs {
            let glob = glob.as_ref().trim_start_matches('/');
            set.add(GlobBuilder::new(glob).literal_separator(true).build().map_err(invalid)?);
        }
        self.excluded = set.build().map_err(invalid)?;
        Ok(self)
    }

    /// Keeps the tree as it is.
    ///
    /// # Errors
    /// `LimitExceeded` for a tree or a number of snapshots beyond the limits; what the file systems report.
    pub async fn take(&self) -> Result<SnapshotId> {
        let mut state = self.state.lock().await;
        let limit = self.limits.snapshots;
        if state.store.snapshots.len() >= limit {
            return Err(Error::new(ErrorKind::LimitExceeded, "snapshot")
                .with_message(format!("there are {limit} snapshots; remove one")));
        }
        let number = self.keep(&mut state).await?;
        let State { store, latest } = &mut *state;
        store.save(number, latest).await?;
        Ok(SnapshotId(number))
    }

    /// All snapshots, in the order in which they were taken.
    pub async fn list(&self) -> Vec<SnapshotId> {
        self.state.lock().await.store.snapshots.iter().copied().map(SnapshotId).collect()
    }

    /// Removes a snapshot, and the contents that no other one has.
    ///
    /// # Errors
    /// `NotFound`; what the store reports.
    pub async fn remove(&self, snapshot: SnapshotId) -> Result<()> {
        self.state.lock().await.store.remove(snapshot.0).await
    }

    /// What is different now from the snapshot, in the order of the paths.
    ///
    /// # Errors
    /// `NotFound`; `LimitExceeded` for a tree beyond the limits; what the file systems report.
    pub async fn diff(&self, snapshot: SnapshotId) -> Result<Vec<Change>> {
        let state = self.state.lock().await;
        let kept = state.store.load(snapshot.0).await?;
        let now = scan(&*self.fs, &self.excluded, &self.limits).await?;
        self.changes(&state.store, &kept, &now).await
    }

    /// Makes the tree what it was. It takes many steps, each of them whole; after one that fails or is dropped, another
    /// `restore` does the rest.
    ///
    /// # Errors
    /// As for [`diff`](Self::diff).
    pub async fn restore(&self, snapshot: SnapshotId) -> Result<Restored> {
        let state = self.state.lock().await;
        let kept = state.store.load(snapshot.0).await?;
        let now = scan(&*self.fs, &self.excluded, &self.limits).await?;
        let different = self.changes(&state.store, &kept, &now).await?;
        // What is in a directory goes before it.
        for Change { path, .. } in different.iter().rev() {
            let (was, is) = (kept.get(path), now.get(path));
            // A file is replaced at once; a symlink could not be made anew.
            let kept = match was {
                Some(Node::File { .. }) => matches!(is, Some(Node::File { .. })),
                Some(Node::Symlink(_)) => true,
                _ => false,
            };
            if is.is_some() && !kept {
                remove(&*self.fs, path).await?;
            }
        }
        let mut restored = Restored::default();
        for Change { path, kind } in different {
            let made = match kept.get(&path) {
                Some(node) => make(&state.store, node, &*self.fs, &path).await?,
                None => true,
            };
            // What was added is now removed, and the other way round.
            let kind = match kind {
                ChangeKind::Added => ChangeKind::Removed,
                ChangeKind::Removed => ChangeKind::Added,
                ChangeKind::Changed => ChangeKind::Changed,
            };
            if made {
                restored.changed.push(Change { path, kind });
            } else {
                restored.skipped.push(path);
            }
        }
        Ok(restored)
    }

    /// Writes a snapshot into another file system, which must be empty. (A fork that costs nothing until it is written is
    /// an [`Overlay`](agentx_resource::layer::Overlay), where no command runs.)
    ///
    /// # Errors
    /// `DirectoryNotEmpty`; `NotFound` for the snapshot; what the file systems report. A part may be written then.
    pub async fn fork(&self, snapshot: SnapshotId, into: &Arc<dyn FileSystem>) -> Result<Restored> {
        let state = self.state.lock().await;
        let kept = state.store.load(snapshot.0).await?;
        let mut there = into.list(&ResourcePath::root(), agentx_resource::ListOptions::default());
        if there.try_next().await?.is_some() {
            return Err(Error::new(ErrorKind::DirectoryNotEmpty, "fork").with_path("/"));
        }
        let mut forked = Restored::default();
        for (path, node) in kept {
            if make(&state.store, &node, &**into, &path).await? {
                forked.changed.push(Change { path, kind: ChangeKind::Added });
            } else {
                forked.skipped.push(path);
            }
        }
        Ok(forked)
    }

    /// Keeps the contents of the tree as the latest; gives the number of the run.
    async fn keep(&self, state: &mut State) -> Result<u64> {
        let mut tree = scan(&*self.fs, &self.excluded, &self.limits).await?;
        let State { store, latest } = state;
        let number = store.keep(&self.fs, &mut tree, latest).await?;
        let before = std::mem::replace(latest, tree);
        store.release(before.values()).await?;
        Ok(number)
    }

    /// Also for what an earlier snapshot kept.
    fn leaves_alone(&self, path: &ResourcePath) -> bool {
        std::iter::successors(Some(path.clone()), ResourcePath::parent)
            .any(|path| !path.is_root() && self.excluded.is_match(path.relative()))
    }

    async fn changes(&self, store: &Store, kept: &Tree, now: &Tree) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        for change in candidates(kept, now) {
            let same = match (kept.get(&change.path), now.get(&change.path)) {
                (Some(Node::File { len, blob: Some(blob), .. }), Some(Node::File { len: now, .. })) => {
                    len == now && store.equals(*blob, &*self.fs, &change.path).await?
                }
                _ => false,
            };
            if !same && !self.leaves_alone(&change.path) {
                changes.push(change);
            }
        }
        Ok(changes)
    }
}

/// Makes an entry what it was; says whether it could.
async fn make(store: &Store, node: &Node, fs: &dyn FileSystem, path: &ResourcePath) -> Result<bool> {
    match node {
        Node::Directory => fs.mkdir(path, MkdirOptions::recursive()).await.map(|()| true),
        Node::File { blob: Some(blob), .. } => {
            store.write(*blob, fs, path, WriteMode::Overwrite).await.map(|_| true)
        }
        Node::File { blob: None, .. } => Err(Error::new(ErrorKind::Corrupt, "restore").with_path(path)),
        Node::Symlink(_) => Ok(false),
    }
}

/// Removes a file, or a directory with nothing else in it.
async fn remove(fs: &dyn FileSystem, path: &ResourcePath) -> Result<()> {
    match fs.rm(path, RemoveOptions::default()).await {
        // Something that is left alone is in it.
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) if gone(&error) => Ok(()),
        removed => removed,
    }
}

/// 100,000 entries of 1 GiB in all, 100 snapshots.
impl Default for SnapshotLimits {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 1 << 30, snapshots: 100 }
    }
}

impl SnapshotLimits {
    /// With so many entries.
    pub fn with_entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    /// With so many bytes.
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// With so many snapshots.
    pub fn with_snapshots(mut self, snapshots: usize) -> Self {
        self.snapshots = snapshots;
        self
    }
}

impl SnapshotId {
    /// The snapshot of this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("fs", &self.fs)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

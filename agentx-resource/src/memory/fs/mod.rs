mod plant;
mod real;
mod tree;
mod writer;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use self::{
    real::Last,
    tree::{Node, Tree, fail},
    writer::MemoryWriter,
};
use super::lock;
use crate::{
    Clock, ConditionStrength, DirEntry, EntryStream, Error, ErrorKind, FileRead, FileSystem, FileWriter,
    FsCapabilities, ListOptions, Metadata, MkdirOptions, ReadOptions, ReadRange, RemoveOptions, ResourcePath,
    Result, StatOptions, TransferOptions, WriteOptions,
};

/// A file system in memory. A clone is the same file system.
///
/// It appends, writes conditionally and renames atomically, directories too. A body is a snapshot: what changes later
/// does not show in it. [`MemoryFileSystem::with_symlinks`] and [`MemoryFileSystem::with_mode_bits`] add what only a
/// command or another outsider puts into a tree: links, permission bits, FIFOs, names that are no paths.
///
/// ```
/// use agentx_resource::{FileSystemExt, ResourcePath, memory::MemoryFileSystem};
///
/// # futures::executor::block_on(async {
/// let fs = MemoryFileSystem::new();
/// let log = ResourcePath::new("/log")?;
/// fs.append(&log, "one\n").await?;
/// fs.append(&log, "two\n").await?;
/// assert_eq!(fs.read_to_string(&log).await?, "one\ntwo\n");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryFileSystem {
    tree: Arc<Mutex<Tree>>,
    clock: Option<Arc<dyn Clock>>,
}

impl MemoryFileSystem {
    /// An empty file system, whose files carry no time.
    pub fn new() -> Self {
        Self { tree: Arc::new(Mutex::new(Tree::new())), clock: None }
    }

    /// Files that are written through this handle carry the time that `clock` shows.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    fn publish(&self, path: &ResourcePath, data: Bytes, options: &WriteOptions) -> Result<Metadata> {
        let now = self.clock.as_ref().map(|clock| clock.now());
        let mut tree = lock(&self.tree);
        let real = tree.writable(path, options)?;
        tree.write(&real, data, options, now).map_err(|error| shown(error, &real, path))
    }

    /// Where the directory `path` is.
    fn directory(&self, path: &ResourcePath) -> Result<ResourcePath> {
        let tree = lock(&self.tree);
        let real = tree.real(path, Last::Followed, "list")?;
        match tree.find(&real) {
            None => Err(fail(ErrorKind::NotFound, "list", path)),
            Some(Node::Directory(_)) => {
                tree.allowed(&real, 0o400, "list").map_err(|error| error.with_path(path)).map(|()| real)
            }
            Some(_) => Err(fail(ErrorKind::NotADirectory, "list", path)),
        }
    }
}

/// Makes an error speak of the path as the caller wrote it.
fn shown(error: Error, real: &ResourcePath, path: &ResourcePath) -> Error {
    if error.path() == Some(real.as_str()) { error.with_path(path) } else { error }
}

impl Default for MemoryFileSystem {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows no content.
impl fmt::Debug for MemoryFileSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryFileSystem").finish_non_exhaustive()
    }
}

#[async_trait]
impl FileSystem for MemoryFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        let mut capabilities = FsCapabilities::new()
            .with_append()
            .with_if_match(ConditionStrength::Atomic)
            .with_atomic_rename()
            .with_atomic_dir_rename();
        let tree = lock(&self.tree);
        capabilities.mode_bits = tree.modes;
        capabilities.symlinks = tree.links_from.is_some();
        capabilities
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let (metadata, content) = lock(&self.tree).file(path)?;
        if options.if_match.is_some() && options.if_match != metadata.version {
            return Err(fail(ErrorKind::ConditionFailed, "read", path));
        }
        let wanted = options.range.unwrap_or(ReadRange::From(0));
        let range = wanted.resolve(metadata.len).map_err(|error| error.with_path(path))?;
        let part = match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) => content.slice(start..end),
            _ => return Err(fail(ErrorKind::Internal, "read", path)),
        };
        let body = stream::iter((!part.is_empty()).then_some(Ok(part)));
        Ok(FileRead::new(metadata, range, body.boxed()))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        self.publish(path, data, &options)
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        {
            let tree = lock(&self.tree);
            let real = tree.writable(path, &options)?;
            tree.check_write(&real, &options).map_err(|error| shown(error, &real, path))?;
        }
        Ok(Box::new(MemoryWriter::new(self.clone(), path.clone(), options)))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        let tree = lock(&self.tree);
        let last = if options.follow { Last::Followed } else { Last::Itself };
        match tree.find(&tree.real(path, last, "stat")?) {
            Some(node) => Ok(tree.describe(node)),
            None => Err(fail(ErrorKind::NotFound, "stat", path)),
        }
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let (fs, root) = (self.clone(), path.clone());
        let start = async move {
            let (open, error) = match fs.directory(&root) {
                Ok(real) => (vec![Open { real, shown: root, last: "".into() }], None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            let walk = Walk { fs, recursive: options.recursive, open };
            stream::iter(error.into_iter().chain(walk.map(Ok)))
        };
        stream::once(start).flatten().boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        lock(&self.tree).mkdir_real(path, &options)
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        lock(&self.tree).rm_real(path, &options)
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        lock(&self.tree).rename_real(from, to, &options)
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        lock(&self.tree).copy_real(from, to, &options)
    }
}

/// Finds one entry after the other, and holds no more than the way to it. An entry that is there from the beginning
/// to the end of the walk is found exactly once, whatever changes besides.
struct Walk {
    fs: MemoryFileSystem,
    recursive: bool,
    open: Vec<Open>,
}

/// A directory that is listed.
struct Open {
    /// Without links.
    real: ResourcePath,
    /// As the caller names it.
    shown: ResourcePath,
    /// The name that was found last.
    last: Arc<str>,
}

impl Iterator for Walk {
    type Item = DirEntry;

    fn next(&mut self) -> Option<DirEntry> {
        loop {
            let Open { real, shown, last } = self.open.last_mut()?;
            let Some((name, mut metadata)) = lock(&self.fs.tree).next_entry(real, last) else {
                self.open.pop();
                continue;
            };
            last.clone_from(&name);
            metadata.link_target = None;
            // The tree holds nothing whose path is too long, but a link may lead to where it is.
            let (Ok(real), Ok(path)) = (real.join(&*name), shown.join(&*name)) else {
                return Some(DirEntry::unaddressable(name.replace('\0', "\u{fffd}"), metadata));
            };
            if self.recursive && metadata.is_dir() {
                self.open.push(Open { real, shown: path.clone(), last: "".into() });
            }
            return Some(DirEntry::new(path, metadata));
        }
    }
}

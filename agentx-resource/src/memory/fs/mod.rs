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
    tree::{Node, Tree, fail},
    writer::MemoryWriter,
};
use super::lock;
use crate::{
    Clock, ConditionStrength, DirEntry, EntryStream, ErrorKind, FileRead, FileSystem, FileWriter,
    FsCapabilities, ListOptions, Metadata, MkdirOptions, ReadOptions, ReadRange, RemoveOptions, ResourcePath,
    Result, StatOptions, TransferOptions, WriteOptions,
};

/// A file system in memory. A clone is the same file system.
///
/// It appends, writes conditionally and renames atomically, directories too. Its files have no mode bits, and there
/// are no symlinks. A body is a snapshot: what changes later does not show in it.
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
        lock(&self.tree).write(path, data, options, now)
    }

    fn check_directory(&self, path: &ResourcePath) -> Result<()> {
        match lock(&self.tree).find(path) {
            None => Err(fail(ErrorKind::NotFound, "list", path)),
            Some(Node::File(_)) => Err(fail(ErrorKind::NotADirectory, "list", path)),
            Some(Node::Directory(_)) => Ok(()),
        }
    }
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
        FsCapabilities::new()
            .with_append()
            .with_if_match(ConditionStrength::Atomic)
            .with_atomic_rename()
            .with_atomic_dir_rename()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let (metadata, content) = match lock(&self.tree).find(path) {
            None => return Err(fail(ErrorKind::NotFound, "read", path)),
            Some(Node::Directory(_)) => return Err(fail(ErrorKind::IsADirectory, "read", path)),
            Some(Node::File(file)) => (file.metadata(), file.content.clone()),
        };
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
        lock(&self.tree).check_write(path, &options)?;
        Ok(Box::new(MemoryWriter::new(self.clone(), path.clone(), options)))
    }

    async fn stat(&self, path: &ResourcePath, _: StatOptions) -> Result<Metadata> {
        match lock(&self.tree).find(path) {
            Some(node) => Ok(node.metadata()),
            None => Err(fail(ErrorKind::NotFound, "stat", path)),
        }
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let (fs, root) = (self.clone(), path.clone());
        let start = async move {
            let (open, error) = match fs.check_directory(&root) {
                Ok(()) => (vec![(root, "".into())], None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            let walk = Walk { fs, recursive: options.recursive, open };
            stream::iter(error.into_iter().chain(walk.map(Ok)))
        };
        stream::once(start).flatten().boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        lock(&self.tree).mkdir(path, &options)
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        lock(&self.tree).rm(path, &options)
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        lock(&self.tree).rename(from, to, &options)
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        lock(&self.tree).copy(from, to, &options)
    }
}

/// Finds one entry after the other, and holds no more than the way to it. An entry that is there from the beginning
/// to the end of the walk is found exactly once, whatever changes besides.
struct Walk {
    fs: MemoryFileSystem,
    recursive: bool,
    /// The open directories, each with the name that was found last.
    open: Vec<(ResourcePath, Arc<str>)>,
}

impl Iterator for Walk {
    type Item = DirEntry;

    fn next(&mut self) -> Option<DirEntry> {
        loop {
            let (directory, last) = self.open.last_mut()?;
            let Some((name, metadata)) = lock(&self.fs.tree).next_entry(directory, last) else {
                self.open.pop();
                continue;
            };
            last.clone_from(&name);
            // The tree holds nothing whose path is too long.
            let Ok(path) = directory.join(&*name) else { continue };
            if self.recursive && metadata.is_dir() {
                self.open.push((path.clone(), "".into()));
            }
            return Some(DirEntry::new(path, metadata));
        }
    }
}

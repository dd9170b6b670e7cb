//! The provider of `docs/writing-a-provider.md`: a file system over a map from paths to contents, as one would write it
//! over a key-value store. `cargo test -p agentx-conformance --example map_file_system` runs every case on it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agentx_resource::{
    DirEntry, EntryStream, Error, ErrorKind, FileRead, FileSystem, FileSystemExt, FileWriter, FsCapabilities,
    ListOptions, Metadata, MkdirOptions, ReadOptions, ReadRange, RemoveOptions, ResourcePath, Result,
    StatOptions, TransferOptions, WriteMode, WriteOptions,
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};

/// Files and directories in one flat map. A clone is the same file system.
#[derive(Clone, Debug, Default)]
struct MapFileSystem(Arc<Mutex<Map>>);

/// What is where; the root is not among it.
#[derive(Debug, Default)]
struct Map(BTreeMap<ResourcePath, Node>);

#[derive(Clone, Debug)]
enum Node {
    File(Bytes),
    Directory,
}

impl MapFileSystem {
    fn map(&self) -> MutexGuard<'_, Map> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Map {
    fn find(&self, path: &ResourcePath) -> Option<Node> {
        if path.is_root() { Some(Node::Directory) } else { self.0.get(path).cloned() }
    }

    fn is_empty(&self, directory: &ResourcePath) -> bool {
        !self.0.keys().any(|path| path != directory && path.starts_with(directory))
    }

    /// The parents of `path` that are missing, from the root down. Refuses a path below a file, and missing parents
    /// unless they may be made.
    fn missing_parents(&self, path: &ResourcePath, make: bool) -> Result<Vec<ResourcePath>, ErrorKind> {
        let mut parents: Vec<_> = std::iter::successors(path.parent(), ResourcePath::parent).collect();
        parents.reverse();
        let mut missing = Vec::new();
        for parent in parents {
            match self.find(&parent) {
                Some(Node::Directory) => {}
                Some(Node::File(_)) => return Err(ErrorKind::NotADirectory),
                None if make => missing.push(parent),
                None => return Err(ErrorKind::NotFound),
            }
        }
        Ok(missing)
    }

    /// The one place where a file comes to be. All is checked before anything changes.
    fn write(
        &mut self,
        path: &ResourcePath,
        data: Bytes,
        options: &WriteOptions,
    ) -> Result<Metadata, ErrorKind> {
        let missing = self.check_write(path, options)?;
        let metadata = Metadata::file(data.len() as u64);
        self.0.extend(missing.into_iter().map(|parent| (parent, Node::Directory)));
        self.0.insert(path.clone(), Node::File(data));
        Ok(metadata)
    }

    fn check_write(
        &self,
        path: &ResourcePath,
        options: &WriteOptions,
    ) -> Result<Vec<ResourcePath>, ErrorKind> {
        // What is not declared comes before all that depends on the state.
        if !matches!(options.mode, WriteMode::Overwrite | WriteMode::CreateNew) {
            return Err(ErrorKind::Unsupported);
        }
        let missing = self.missing_parents(path, options.create_parents)?;
        match self.find(path) {
            Some(_) if options.mode == WriteMode::CreateNew => Err(ErrorKind::AlreadyExists),
            Some(Node::Directory) => Err(ErrorKind::IsADirectory),
            Some(Node::File(_)) | None => Ok(missing),
        }
    }

    fn mkdir(&mut self, path: &ResourcePath, recursive: bool) -> Result<(), ErrorKind> {
        let missing = self.missing_parents(path, recursive)?;
        match self.find(path) {
            Some(Node::Directory) if recursive => return Ok(()),
            Some(_) => return Err(ErrorKind::AlreadyExists),
            None => {}
        }
        self.0.extend(missing.into_iter().chain([path.clone()]).map(|path| (path, Node::Directory)));
        Ok(())
    }

    fn rm(&mut self, path: &ResourcePath, options: &RemoveOptions) -> Result<(), ErrorKind> {
        if path.is_root() {
            return Err(ErrorKind::InvalidInput);
        }
        match self.find(path) {
            None if options.force => Ok(()),
            None => Err(ErrorKind::NotFound),
            Some(Node::Directory) if !options.recursive && !self.is_empty(path) => {
                Err(ErrorKind::DirectoryNotEmpty)
            }
            Some(_) => {
                self.0.retain(|other, _| !other.starts_with(path));
                Ok(())
            }
        }
    }

    fn transfer(
        &mut self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
        keep: bool,
    ) -> Result<(), ErrorKind> {
        if from.is_root() || to.is_root() {
            return Err(ErrorKind::InvalidInput);
        }
        let source = self.find(from).ok_or(ErrorKind::NotFound)?;
        if from == to && !options.create_new {
            return Ok(());
        }
        let directory = matches!(source, Node::Directory);
        if directory && from != to && to.starts_with(from) {
            return Err(ErrorKind::InvalidInput);
        }
        self.missing_parents(to, false)?;
        match self.find(to) {
            Some(_) if options.create_new || (directory && keep) => return Err(ErrorKind::AlreadyExists),
            Some(Node::Directory) if !directory => return Err(ErrorKind::IsADirectory),
            Some(Node::File(_)) if directory => return Err(ErrorKind::NotADirectory),
            Some(Node::Directory) if !self.is_empty(to) => return Err(ErrorKind::DirectoryNotEmpty),
            _ => {}
        }
        let mut moved = Vec::new();
        for (path, node) in &self.0 {
            if let Some(below) = path.strip_prefix(from) {
                moved.push((to.join(below).map_err(|error| error.kind())?, node.clone()));
            }
        }
        if !keep {
            self.0.retain(|path, _| !path.starts_with(from));
        }
        self.0.extend(moved);
        Ok(())
    }
}

impl Node {
    fn metadata(&self) -> Metadata {
        match self {
            Self::File(content) => Metadata::file(content.len() as u64),
            Self::Directory => Metadata::directory(),
        }
    }
}

/// An error says what was tried, and on what.
fn fail(operation: &'static str, path: &ResourcePath) -> impl FnOnce(ErrorKind) -> Error {
    move |kind| Error::new(kind, operation).with_path(path).with_provider("map")
}

#[async_trait]
impl FileSystem for MapFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        FsCapabilities::new().with_atomic_rename().with_atomic_dir_rename()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let content = match self.map().find(path) {
            Some(Node::File(content)) => content,
            Some(Node::Directory) => return Err(fail("read", path)(ErrorKind::IsADirectory)),
            None => return Err(fail("read", path)(ErrorKind::NotFound)),
        };
        if options.if_match.is_some() {
            // Files have no version here, so none is the one that is asked for.
            return Err(fail("read", path)(ErrorKind::ConditionFailed));
        }
        let metadata = Metadata::file(content.len() as u64);
        let range = options.range.unwrap_or(ReadRange::From(0)).resolve(metadata.len);
        let range = range.map_err(|error| error.with_path(path))?;
        let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
        let (start, end) = bounds.ok_or_else(|| fail("read", path)(ErrorKind::Internal))?;
        let body = stream::iter([Ok(content.slice(start..end))]);
        Ok(FileRead::new(metadata, range, body.boxed()))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        self.map().write(path, data, &options).map_err(fail("write", path))
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        self.map().check_write(path, &options).map_err(fail("write", path))?;
        Ok(Box::new(MapWriter { fs: self.clone(), path: path.clone(), options, content: BytesMut::new() }))
    }

    async fn stat(&self, path: &ResourcePath, _: StatOptions) -> Result<Metadata> {
        let node = self.map().find(path).ok_or_else(|| fail("stat", path)(ErrorKind::NotFound))?;
        Ok(node.metadata())
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let map = self.map();
        let refused = match map.find(path) {
            Some(Node::Directory) => None,
            Some(Node::File(_)) => Some(ErrorKind::NotADirectory),
            None => Some(ErrorKind::NotFound),
        };
        if let Some(kind) = refused {
            return stream::iter([Err(fail("list", path)(kind))]).boxed();
        }
        let is_in = |found: &ResourcePath| {
            if options.recursive {
                found != path && found.starts_with(path)
            } else {
                found.parent().as_ref() == Some(path)
            }
        };
        let entries: Vec<_> = (map.0.iter())
            .filter(|(found, _)| is_in(found))
            .map(|(found, node)| Ok(DirEntry::new(found.clone(), node.metadata())))
            .collect();
        stream::iter(entries).boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.map().mkdir(path, options.recursive).map_err(fail("mkdir", path))
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.map().rm(path, &options).map_err(fail("rm", path))
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.map().transfer(from, to, &options, false).map_err(fail("rename", from))
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.map().transfer(from, to, &options, true).map_err(fail("copy", from))
    }
}

/// Keeps the pieces to itself until `close`: dropping it leaves nothing, since nothing was there.
#[derive(Debug)]
struct MapWriter {
    fs: MapFileSystem,
    path: ResourcePath,
    options: WriteOptions,
    content: BytesMut,
}

#[async_trait]
impl FileWriter for MapWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.content.extend_from_slice(&data);
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        // The mode is asked again: much may have happened since the writer was opened.
        self.fs
            .map()
            .write(&self.path, self.content.freeze(), &self.options)
            .map_err(fail("write", &self.path))
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn main() -> Result<()> {
    futures::executor::block_on(async {
        let fs = MapFileSystem::default();
        let notes = ResourcePath::new("/notes.md")?;
        fs.write_file(&notes, "hello").await?;
        assert_eq!(fs.read_to_string(&notes).await?, "hello");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use agentx_conformance::{Failure, Fresh, file_system::model};

    use super::MapFileSystem;

    agentx_conformance::file_system_suite!(map, || async { Fresh::file_system(MapFileSystem::default()) });

    #[test]
    fn random_operations_do_what_they_do_in_memory() -> Result<(), Failure> {
        model::agrees(|| async { Fresh::file_system(MapFileSystem::default()) }, 200)
    }
}

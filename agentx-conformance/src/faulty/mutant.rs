use std::{fmt, sync::Arc};

use agentx_resource::{
    DirEntry, EntryStream, Error, ErrorKind, FileKind, FileRead, FileSystem, FileSystemExt, FileWriter,
    FsCapabilities, ListOptions, Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result,
    StatOptions, TransferOptions, WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

/// A file system of which one thing about one verb is changed.
///
/// The [`FileSystemFault`](super::FileSystemFault)s are mistakes that are made. These are not: they are made
/// mechanically, one for each verb and change, so that no case is left that never failed.
#[derive(Clone, Debug)]
pub struct MutantFileSystem {
    inner: Arc<dyn FileSystem>,
    mutation: FileSystemMutation,
}

/// What is changed, and of which verb.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileSystemMutation {
    verb: Verb,
    change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verb {
    Read,
    Write,
    Writer,
    Stat,
    List,
    Mkdir,
    Rm,
    Rename,
    Copy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Change {
    /// Each error has another kind.
    OtherKind,
    /// It answers that it is done, and does nothing.
    Idle,
    /// What it answers, or what it leaves, is something else.
    Spoils,
    /// It leaves a file that nobody asked for, also when it fails.
    Litters,
}

impl FileSystemMutation {
    /// Every verb with every change that it can have.
    pub fn all() -> impl Iterator<Item = Self> {
        use Change::{Idle, Litters, OtherKind, Spoils};
        use Verb::{Copy, List, Mkdir, Read, Rename, Rm, Stat, Write, Writer};
        let each =
            |change, verbs: &'static [Verb]| verbs.iter().map(move |verb| Self { verb: *verb, change });
        let verbs = &[Read, Write, Writer, Stat, List, Mkdir, Rm, Rename, Copy];
        each(OtherKind, verbs)
            .chain(each(Idle, &[Read, Write, Writer, List, Mkdir, Rm, Rename, Copy]))
            .chain(each(Spoils, &[Read, Write, Writer, Stat, List]))
            .chain(each(Litters, &[Write, Writer, Mkdir, Rm, Rename, Copy]))
    }
}

impl fmt::Debug for FileSystemMutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.verb, self.change)
    }
}

impl MutantFileSystem {
    /// `inner` with this mutation.
    pub fn new(inner: Arc<dyn FileSystem>, mutation: FileSystemMutation) -> Self {
        Self { inner, mutation }
    }

    fn is(&self, verb: Verb, change: Change) -> bool {
        self.mutation == FileSystemMutation { verb, change }
    }

    /// What is told of a verb that was done as it should be.
    async fn told<T>(&self, verb: Verb, result: Result<T>) -> Result<T> {
        if self.is(verb, Change::Litters) {
            self.inner.write_file(&ResourcePath::new("/litter")?, "x").await?;
        }
        result.map_err(|error| if self.is(verb, Change::OtherKind) { other(&error) } else { error })
    }
}

fn other(error: &Error) -> Error {
    let told = Error::new(ErrorKind::Internal, error.operation().to_owned());
    match error.path() {
        Some(path) => told.with_path(path),
        None => told,
    }
}

fn spoilt(data: &[u8]) -> Bytes {
    [data, b"\n"].concat().into()
}

#[async_trait]
impl FileSystem for MutantFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let read = self.inner.read(path, options).await;
        let read = self.told(Verb::Read, read).await?;
        if self.is(Verb::Read, Change::Idle) {
            return Ok(FileRead::new(read.metadata, 0..0, stream::empty().boxed()));
        }
        if self.is(Verb::Read, Change::Spoils) {
            let body = read.body.map_ok(|piece| piece.iter().map(|byte| byte ^ 1).collect()).boxed();
            return Ok(FileRead::new(read.metadata, read.range, body));
        }
        Ok(read)
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        if self.is(Verb::Write, Change::Idle) {
            return Ok(Metadata::file(data.len() as u64));
        }
        let data = if self.is(Verb::Write, Change::Spoils) { spoilt(&data) } else { data };
        let written = self.inner.write(path, data, options).await;
        self.told(Verb::Write, written).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let writer = self.inner.writer(path, options).await;
        let inner = self.told(Verb::Writer, writer).await?;
        Ok(Box::new(MutantWriter { inner, fs: self.clone() }))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        let found = self.inner.stat(path, options).await;
        let mut found = self.told(Verb::Stat, found).await?;
        if self.is(Verb::Stat, Change::Spoils) {
            found.kind = if found.is_dir() { FileKind::Other } else { FileKind::Directory };
        }
        Ok(found)
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        if self.is(Verb::List, Change::Idle) {
            return stream::empty().boxed();
        }
        let entries = self.inner.list(path, options);
        if self.is(Verb::List, Change::OtherKind) {
            return entries.map_err(|error| other(&error)).boxed();
        }
        if self.is(Verb::List, Change::Spoils) {
            let more = DirEntry::unaddressable("more", Metadata::file(1));
            return entries.chain(stream::iter([Ok(more)])).boxed();
        }
        entries
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        if self.is(Verb::Mkdir, Change::Idle) {
            return Ok(());
        }
        let made = self.inner.mkdir(path, options).await;
        self.told(Verb::Mkdir, made).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        if self.is(Verb::Rm, Change::Idle) {
            return Ok(());
        }
        let removed = self.inner.rm(path, options).await;
        self.told(Verb::Rm, removed).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        if self.is(Verb::Rename, Change::Idle) {
            return Ok(());
        }
        let renamed = self.inner.rename(from, to, options).await;
        self.told(Verb::Rename, renamed).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        if self.is(Verb::Copy, Change::Idle) {
            return Ok(());
        }
        let copied = self.inner.copy(from, to, options).await;
        self.told(Verb::Copy, copied).await
    }
}

#[derive(Debug)]
struct MutantWriter {
    inner: Box<dyn FileWriter>,
    fs: MutantFileSystem,
}

#[async_trait]
impl FileWriter for MutantWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let data = if self.fs.is(Verb::Writer, Change::Spoils) { spoilt(&data) } else { data };
        self.inner.write(data).await
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        if self.fs.is(Verb::Writer, Change::Idle) {
            self.inner.abort().await?;
            return Ok(Metadata::file(0));
        }
        let Self { inner, fs } = *self;
        fs.told(Verb::Writer, inner.close().await).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

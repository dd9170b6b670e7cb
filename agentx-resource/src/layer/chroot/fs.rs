use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;

use super::Chroot;
use crate::{
    DirEntry, EntryStream, Error, ErrorKind, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions,
    Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteMode, WriteOptions,
};

#[derive(Debug)]
pub(super) struct ChrootFileSystem {
    inner: Arc<dyn FileSystem>,
    view: Chroot,
}

impl ChrootFileSystem {
    pub(super) fn new(inner: Arc<dyn FileSystem>, view: Chroot) -> Self {
        Self { inner, view }
    }
}

#[async_trait]
impl FileSystem for ChrootFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let inner = self.view.inner(path)?;
        let read = self.inner.read(&inner, options).await.map_err(|error| self.view.error(error, path))?;
        let (view, path) = (self.view.clone(), path.clone());
        let body = read.body.map(move |piece| piece.map_err(|error| view.error(error, &path))).boxed();
        Ok(FileRead::new(read.metadata, read.range, body))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let inner = self.writable(path, &options)?;
        self.inner.write(&inner, data, options).await.map_err(|error| self.view.error(error, path))
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let inner = self.writable(path, &options)?;
        let writer =
            self.inner.writer(&inner, options).await.map_err(|error| self.view.error(error, path))?;
        Ok(Box::new(ChrootWriter { inner: writer, view: self.view.clone(), path: path.clone() }))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        let inner = self.view.inner(path)?;
        self.inner.stat(&inner, options).await.map_err(|error| self.view.error(error, path))
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let inner = match self.view.inner(path) {
            Ok(inner) => inner,
            Err(error) => return futures::stream::iter([Err(error)]).boxed(),
        };
        let (view, path) = (self.view.clone(), path.clone());
        self.inner
            .list(&inner, options)
            .map(move |entry| match entry {
                Ok(entry) => Ok(shown(entry, &view)),
                Err(error) => Err(view.error(error, &path)),
            })
            .boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        let inner = self.view.inner(path)?;
        self.inner.mkdir(&inner, options).await.map_err(|error| self.view.error(error, path))
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        not_root(path, "rm")?;
        let inner = self.view.inner(path)?;
        self.inner.rm(&inner, options).await.map_err(|error| self.view.error(error, path))
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        not_root(from, "rename")?;
        not_root(to, "rename")?;
        let (source, target) = (self.view.inner(from)?, self.view.inner(to)?);
        self.inner.rename(&source, &target, options).await.map_err(|error| self.view.error(error, from))
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        not_root(from, "copy")?;
        not_root(to, "copy")?;
        let (source, target) = (self.view.inner(from)?, self.view.inner(to)?);
        self.inner.copy(&source, &target, options).await.map_err(|error| self.view.error(error, from))
    }
}

impl ChrootFileSystem {
    /// Where a write to `path` goes. The root is a directory, also while nothing is there.
    fn writable(&self, path: &ResourcePath, options: &WriteOptions) -> Result<ResourcePath> {
        if path.is_root() {
            let kind = match options.mode {
                WriteMode::CreateNew => ErrorKind::AlreadyExists,
                _ => ErrorKind::IsADirectory,
            };
            return Err(Error::new(kind, "write").with_path(path));
        }
        self.view.inner(path)
    }
}

/// To the provider, the base is a directory like others: it must be kept from here.
fn not_root(path: &ResourcePath, operation: &'static str) -> Result<()> {
    if path.is_root() {
        return Err(Error::new(ErrorKind::InvalidInput, operation)
            .with_path(path)
            .with_message("the root stays as it is"));
    }
    Ok(())
}

fn shown(entry: DirEntry, view: &Chroot) -> DirEntry {
    match entry.path.as_ref().and_then(|path| view.outer(path.as_str())) {
        Some(path) => DirEntry::new(path, entry.metadata),
        None => DirEntry::unaddressable(entry.name, entry.metadata),
    }
}

#[derive(Debug)]
struct ChrootWriter {
    inner: Box<dyn FileWriter>,
    view: Chroot,
    path: ResourcePath,
}

#[async_trait]
impl FileWriter for ChrootWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.inner.write(data).await.map_err(|error| self.view.error(error, &self.path))
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { inner, view, path } = *self;
        inner.close().await.map_err(|error| view.error(error, &path))
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self { inner, view, path } = *self;
        inner.abort().await.map_err(|error| view.error(error, &path))
    }
}

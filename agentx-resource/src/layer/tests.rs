//! What tests of several layers need.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    EntryStream, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata, MkdirOptions,
    ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions, WriteOptions,
    memory::MemoryFileSystem,
};

/// A file system that declares nothing.
#[derive(Debug)]
pub(super) struct Basic(pub(super) MemoryFileSystem);

#[async_trait]
impl FileSystem for Basic {
    fn capabilities(&self) -> FsCapabilities {
        FsCapabilities::new()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        self.0.read(path, options).await
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        self.0.write(path, data, options).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        self.0.writer(path, options).await
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.0.stat(path, options).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        self.0.list(path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.0.mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.0.rm(path, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.0.rename(from, to, options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.0.copy(from, to, options).await
    }
}

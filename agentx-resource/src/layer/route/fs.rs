use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::{
    copy::copy,
    list::list,
    table::{Region, Table},
};
use crate::{
    EntryStream, Error, ErrorKind, FileRead, FileSystem, FileSystemExt, FileWriter, FsCapabilities,
    ListOptions, Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions,
    TransferOptions, WriteMode, WriteOptions,
};

#[derive(Debug)]
pub(super) struct RouteFileSystem {
    table: Arc<Table>,
}

impl RouteFileSystem {
    pub(super) fn new(table: Table) -> Self {
        Self { table: Arc::new(table) }
    }

    /// Where a write to `path` goes.
    async fn writable(&self, path: &ResourcePath, options: &WriteOptions) -> Result<(Region, ResourcePath)> {
        let offered = self.table.capabilities();
        let kind = match options.mode {
            WriteMode::Append if !offered.append => ErrorKind::Unsupported,
            WriteMode::IfMatch(_) if offered.if_match.is_none() => ErrorKind::Unsupported,
            WriteMode::CreateNew if self.table.is_fixed(path) => ErrorKind::AlreadyExists,
            _ if self.table.is_fixed(path) => ErrorKind::IsADirectory,
            _ => return self.entrance(path).await,
        };
        Err(Error::new(kind, "write").with_path(path))
    }

    /// Where what is created at `path` goes. The way to a mount is a directory also where the file system that holds
    /// it has none yet: it is made before something is put there.
    async fn entrance(&self, path: &ResourcePath) -> Result<(Region, ResourcePath)> {
        let (region, inner) = self.table.find(path)?;
        if self.is_on_the_way(path)
            && let Some(parent) = inner.parent().filter(|parent| !parent.is_root())
        {
            let made = region.fs.mkdir(&parent, MkdirOptions::recursive()).await;
            made.map_err(|error| region.error(error, path))?;
        }
        Ok((region, inner))
    }

    /// Whether `path` lies in a directory above a mount, other than the root.
    fn is_on_the_way(&self, path: &ResourcePath) -> bool {
        path.parent().is_some_and(|parent| !parent.is_root() && self.table.is_fixed(&parent))
    }

    /// Makes the way to `to`, once it is sure that there is something to put there.
    async fn transfer_way(
        &self,
        operation: &'static str,
        from: &ResourcePath,
        to: &ResourcePath,
    ) -> Result<()> {
        if self.is_on_the_way(to) {
            self.metadata(from).await.map_err(|error| {
                Error::new(error.kind(), operation)
                    .with_path(from)
                    .with_retry(error.retry())
                    .with_source(error)
            })?;
            self.entrance(to).await?;
        }
        Ok(())
    }

    /// Refuses to touch what holds a mount.
    fn not_fixed(&self, path: &ResourcePath, operation: &'static str) -> Result<()> {
        if self.table.is_fixed(path) {
            return Err(Error::new(ErrorKind::InvalidInput, operation)
                .with_path(path)
                .with_message("a mount is at this place or below it"));
        }
        Ok(())
    }
}

#[async_trait]
impl FileSystem for RouteFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        self.table.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        if self.table.is_fixed(path) {
            return Err(Error::new(ErrorKind::IsADirectory, "read").with_path(path));
        }
        let (region, inner) = self.table.find(path)?;
        let read = region.fs.read(&inner, options).await.map_err(|error| region.error(error, path))?;
        let path = path.clone();
        let body = read.body.map_err(move |error| region.error(error, &path)).boxed();
        Ok(FileRead::new(read.metadata, read.range, body))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let (region, inner) = self.writable(path, &options).await?;
        region.fs.write(&inner, data, options).await.map_err(|error| region.error(error, path))
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let (region, inner) = self.writable(path, &options).await?;
        let inner = region.fs.writer(&inner, options).await.map_err(|error| region.error(error, path))?;
        Ok(Box::new(RouteWriter { inner, region, path: path.clone() }))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        let (region, inner) = self.table.find(path)?;
        let found = region.fs.stat(&inner, options).await;
        if self.table.is_fixed(path) {
            return match found {
                Ok(metadata) if metadata.is_dir() => Ok(metadata),
                Ok(_) => Ok(Metadata::directory()),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Metadata::directory()),
                Err(error) => Err(region.error(error, path)),
            };
        }
        found.map_err(|error| region.error(error, path))
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        list(&self.table, path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        if self.table.is_fixed(path) {
            return if options.recursive {
                Ok(())
            } else {
                Err(Error::new(ErrorKind::AlreadyExists, "mkdir").with_path(path))
            };
        }
        let (region, inner) = self.entrance(path).await?;
        region.fs.mkdir(&inner, options).await.map_err(|error| region.error(error, path))
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.not_fixed(path, "rm")?;
        let (region, inner) = self.table.find(path)?;
        region.fs.rm(&inner, options).await.map_err(|error| region.error(error, path))
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.not_fixed(from, "rename")?;
        self.not_fixed(to, "rename")?;
        let ((region, source), (other, target)) = (self.table.find(from)?, self.table.find(to)?);
        if region.place != other.place {
            return Err(Error::new(ErrorKind::Unsupported, "rename").with_path(from).with_message(format!(
                "from the file system at {:?} to the one at {:?}: copy and remove instead",
                region.place, other.place
            )));
        }
        self.transfer_way("rename", from, to).await?;
        region.fs.rename(&source, &target, options).await.map_err(|error| region.error(error, from))
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let ((region, source), (other, target)) = (self.table.find(from)?, self.table.find(to)?);
        if from.is_root() || to.is_root() {
            return Err(Error::new(ErrorKind::InvalidInput, "copy")
                .with_path(from)
                .with_message("the root stays as it is"));
        }
        let fixed = self.table.is_fixed(from) || self.table.is_fixed(to);
        if !fixed && region.place == other.place {
            self.transfer_way("copy", from, to).await?;
            return region
                .fs
                .copy(&source, &target, options)
                .await
                .map_err(|error| region.error(error, from));
        }
        copy(self, from, to, &options).await
    }
}

#[derive(Debug)]
struct RouteWriter {
    inner: Box<dyn FileWriter>,
    region: Region,
    path: ResourcePath,
}

#[async_trait]
impl FileWriter for RouteWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.inner.write(data).await.map_err(|error| self.region.error(error, &self.path))
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { inner, region, path } = *self;
        inner.close().await.map_err(|error| region.error(error, &path))
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self { inner, region, path } = *self;
        inner.abort().await.map_err(|error| region.error(error, &path))
    }
}

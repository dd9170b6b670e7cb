use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{
    Cache, Freshness,
    store::{Kept, Store},
};
use crate::{
    EntryStream, FileRead, FileSystem, FileSystemExt, FileWriter, FsCapabilities, ListOptions, Metadata,
    MkdirOptions, ReadOptions, ReadRange, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteOptions,
};

#[derive(Debug)]
pub(super) struct CacheFileSystem {
    inner: Arc<dyn FileSystem>,
    cache: Cache,
    wrapper: u64,
}

impl CacheFileSystem {
    pub(super) fn new(inner: Arc<dyn FileSystem>, cache: Cache, wrapper: u64) -> Self {
        Self { inner, cache, wrapper }
    }

    /// What is kept of `path` and may be given now.
    async fn fresh(&self, path: &ResourcePath) -> Option<Kept> {
        let kept = self.cache.store.get(&(self.wrapper, path.clone()))?;
        let fresh = match self.cache.freshness {
            // An error is left to the read, which tells it as its own.
            Freshness::Validate => {
                kept.content.is_some()
                    && self.inner.metadata(path).await.is_ok_and(|now| now.version == kept.metadata.version)
            }
            // A clock that was set back tells nothing.
            Freshness::For(time) => {
                self.cache.clock.now().duration_since(kept.since).is_ok_and(|age| age < time)
            }
        };
        fresh.then_some(kept)
    }

    fn keep(&self, path: &ResourcePath, metadata: &Metadata, content: Option<Bytes>, changes: u64) {
        if metadata.is_file() && metadata.version.is_some() {
            let kept = Kept { metadata: metadata.clone(), content, since: self.cache.clock.now() };
            self.cache.store.keep((self.wrapper, path.clone()), kept, changes);
        }
    }

    fn change(&self, paths: &[&ResourcePath]) -> Change {
        let paths: Vec<_> = paths.iter().copied().cloned().collect();
        let change = Change { store: Arc::clone(&self.cache.store), wrapper: self.wrapper, paths };
        change.forget();
        change
    }
}

/// What is kept, as a read of it; `None` where only the resource can answer.
fn given(kept: Kept, options: &ReadOptions) -> Option<FileRead> {
    let Kept { metadata, content, .. } = kept;
    let content = content?;
    if options.if_match.is_some() && options.if_match != metadata.version {
        return None;
    }
    let range = options.range.as_ref().unwrap_or(&ReadRange::From(0)).resolve(metadata.len).ok()?;
    let part = content.slice(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?);
    let body = stream::iter((!part.is_empty()).then_some(Ok(part)));
    Some(FileRead::new(metadata, range, body.boxed()))
}

#[async_trait]
impl FileSystem for CacheFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        if let Some(read) = self.fresh(path).await.and_then(|kept| given(kept, &options)) {
            return Ok(read);
        }
        let changes = self.cache.store.changes();
        let whole = options.range.is_none();
        let read = self.inner.read(path, options.clone()).await?;
        let (metadata, largest) = (read.metadata.clone(), self.cache.store.largest);
        if !whole || metadata.version.is_none() || metadata.len > largest {
            return Ok(read);
        }
        let range = read.range.clone();
        let content = read.bytes(largest).await.map_err(|error| error.with_path(path))?;
        self.keep(path, &metadata, Some(content.clone()), changes);
        let body = stream::iter((!content.is_empty()).then_some(Ok(content)));
        Ok(FileRead::new(metadata, range, body.boxed()))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let _change = self.change(&[path]);
        self.inner.write(path, data, options).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let inner = self.inner.writer(path, options).await?;
        let change = self.change(&[path]);
        Ok(Box::new(CacheWriter { inner, change }))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        if self.cache.freshness == Freshness::Validate || !options.follow {
            return self.inner.stat(path, options).await;
        }
        if let Some(kept) = self.fresh(path).await {
            return Ok(kept.metadata);
        }
        let changes = self.cache.store.changes();
        let metadata = self.inner.stat(path, options).await?;
        self.keep(path, &metadata, None, changes);
        Ok(metadata)
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        self.inner.list(path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.inner.mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        let _change = self.change(&[path]);
        self.inner.rm(path, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let _change = self.change(&[from, to]);
        self.inner.rename(from, to, options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let _change = self.change(&[to]);
        self.inner.copy(from, to, options).await
    }
}

/// A change under way, also one that is given up: what is read meanwhile is not kept beyond it.
#[derive(Debug)]
struct Change {
    store: Arc<Store>,
    wrapper: u64,
    paths: Vec<ResourcePath>,
}

impl Change {
    fn forget(&self) {
        self.store.forget(self.wrapper, &self.paths);
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        self.forget();
    }
}

#[derive(Debug)]
struct CacheWriter {
    inner: Box<dyn FileWriter>,
    change: Change,
}

#[async_trait]
impl FileWriter for CacheWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.inner.write(data).await
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { inner, change } = *self;
        let closed = inner.close().await;
        drop(change);
        closed
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

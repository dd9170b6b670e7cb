//! Files that are counted.

use std::sync::Arc;

use agentx::{
    Result,
    resource::{
        EntryStream, FileKind, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata,
        MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, StatOptions, TransferOptions, WriteOptions,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;

use super::{Place, account::Held, measure::Usage, size};

/// The files of one workspace. What is written is counted in full, also where it replaces something: no more is known
/// before it is measured.
#[derive(Debug)]
pub(super) struct CountedFiles {
    inner: Arc<dyn FileSystem>,
    place: Place,
}

impl CountedFiles {
    pub(super) fn new(inner: Arc<dyn FileSystem>, place: Place) -> Self {
        Self { inner, place }
    }

    async fn admit(&self, operation: &'static str, path: &ResourcePath, usage: Usage) -> Result<Held> {
        let admitted = self.place.account.admit(operation, &self.place.path, usage).await;
        admitted.map_err(|error| error.with_path(path))
    }

    /// What a copy of this takes at most.
    async fn size_of(&self, path: &ResourcePath) -> Result<Usage> {
        let found = self.inner.stat(path, StatOptions::default()).await?;
        let itself = size(found.len, names(path));
        if found.kind != FileKind::Directory {
            return Ok(itself);
        }
        let entries = self.inner.list(path, ListOptions::recursive());
        entries.try_fold(itself, async |sum, entry| Ok(sum.plus(size(entry.metadata.len, 1)))).await
    }
}

/// How many names a path has, each of which may be made.
fn names(path: &ResourcePath) -> usize {
    path.as_str().split('/').filter(|name| !name.is_empty()).count()
}

#[async_trait]
impl FileSystem for CountedFiles {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        self.inner.read(path, options).await
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let _held = self.admit("write", path, size(data.len() as u64, names(path))).await?;
        self.inner.write(path, data, options).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let held = vec![self.admit("write", path, size(0, names(path))).await?];
        let inner = self.inner.writer(path, options).await?;
        Ok(Box::new(CountedWriter { inner, place: self.place.clone(), path: path.clone(), held, room: 0 }))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.inner.stat(path, options).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        self.inner.list(path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        let _held = self.admit("mkdir", path, size(0, names(path))).await?;
        self.inner.mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        let removed = self.inner.rm(path, options).await;
        // Also where it failed halfway.
        self.place.account.removed(&self.place.path);
        removed
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let renamed = self.inner.rename(from, to, options).await;
        self.place.account.removed(&self.place.path);
        renamed
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let _held = self.admit("copy", to, self.size_of(from).await?).await?;
        self.inner.copy(from, to, options).await
    }
}

/// How much room a writer takes at once, in bytes.
const ROOM: u64 = 1 << 20;

#[derive(Debug)]
struct CountedWriter {
    // First: what it wrote is there, or gone, before it counts as written.
    inner: Box<dyn FileWriter>,
    place: Place,
    path: ResourcePath,
    held: Vec<Held>,
    /// How much of what it holds is not written yet.
    room: u64,
}

#[async_trait]
impl FileWriter for CountedWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let length = data.len() as u64;
        if let Some(more) = length.checked_sub(self.room).filter(|more| *more > 0) {
            let more = more.next_multiple_of(ROOM);
            let admitted = self.place.account.admit("write", &self.place.path, size(more, 0)).await;
            self.held.push(admitted.map_err(|error| error.with_path(&self.path))?);
            self.room = self.room.saturating_add(more);
        }
        self.inner.write(data).await?;
        self.room -= length;
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { inner, held: _held, .. } = *self;
        inner.close().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self { inner, held: _held, .. } = *self;
        inner.abort().await
    }
}

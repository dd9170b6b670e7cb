use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{
    WriteBack, fail,
    view::{Condition, Pending, Seen},
};
use crate::{
    ConditionStrength, EntryStream, ErrorKind, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions,
    Metadata, MkdirOptions, ReadOptions, ReadRange, RemoveOptions, ResourcePath, Result, StatOptions,
    TransferOptions, WriteMode, WriteOptions,
};

#[async_trait]
impl FileSystem for WriteBack {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities().with_if_match(ConditionStrength::Cooperative)
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let (kept, changes) = {
            let view = self.view();
            match view.look(path) {
                Some(Seen::Nothing) => return Err(fail(ErrorKind::NotFound, "read", path)),
                Some(Seen::Entry(metadata)) if metadata.is_dir() => {
                    return Err(fail(ErrorKind::IsADirectory, "read", path));
                }
                _ => {}
            }
            (view.content(path), view.changes())
        };
        let mut options = options;
        options.if_match = options.if_match.map(|version| self.view().resolved(&version));
        if let Some((metadata, content)) = kept {
            return given(path, metadata, &content, &options);
        }
        let whole = options.range.is_none();
        let read = self.inner.read(path, options).await?;
        if !whole || read.metadata.len > Self::LARGEST {
            return Ok(read);
        }
        let metadata = read.metadata.clone();
        let content = read.bytes(Self::LARGEST).await.map_err(|error| error.with_path(path))?;
        self.view().learn(path, Some(metadata.clone()), Some(content.clone()), changes);
        given(path, metadata, &content, &ReadOptions::default())
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let _place = self.locks.lock(vec![path.clone()]).await;
        if let Some(pending) = self.to_hold(path, &data, &options).await? {
            return Ok(self.view().hold(path, data, pending));
        }
        self.flush_at(&[path]).await?;
        let change = Change::of(self, &[path]);
        let written = self.inner.write(path, data, self.resolved(options)).await?;
        change.done();
        let mut view = self.view();
        view.made(path);
        let changes = view.changes();
        view.learn(path, Some(written.clone()), None, changes);
        Ok(written)
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let _place = self.locks.lock(vec![path.clone()]).await;
        self.flush_at(&[path]).await?;
        let inner = self.inner.writer(path, self.resolved(options)).await?;
        Ok(Box::new(ThroughWriter { inner, layer: self.clone(), path: path.clone() }))
    }

    async fn stat(&self, path: &ResourcePath, _: StatOptions) -> Result<Metadata> {
        self.look(path).await?.ok_or_else(|| fail(ErrorKind::NotFound, "stat", path))
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        self.entries(path, &options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        let _place = self.locks.lock(vec![path.clone()]).await;
        self.flush_at(&[path]).await?;
        let change = Change::of(self, &[path]);
        self.inner.mkdir(path, options).await?;
        change.done();
        let mut view = self.view();
        view.made(path);
        let changes = view.changes();
        view.learn(path, Some(Metadata::directory()), None, changes);
        Ok(())
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        let _place = self.locks.lock(vec![path.clone()]).await;
        let pending = self.view().pending_at(path).cloned();
        match pending {
            // The store never had it.
            Some(Pending { fresh: true, .. }) => {
                self.view().removed(path);
                return Ok(());
            }
            Some(_) => {}
            // Of a tree that goes as a whole, what is held goes too.
            None if options.recursive => {}
            None => self.flush_at(&[path]).await?,
        }
        let change = Change::of(self, &[path]);
        self.inner.rm(path, options).await?;
        change.done();
        self.view().removed(path);
        Ok(())
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let _places = self.locks.lock(vec![from.clone(), to.clone()]).await;
        self.flush_at(&[from, to]).await?;
        let _change = Change::of(self, &[from, to]);
        self.inner.rename(from, to, options).await?;
        self.view().made(to);
        Ok(())
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let _places = self.locks.lock(vec![from.clone(), to.clone()]).await;
        self.flush_at(&[from, to]).await?;
        let _change = Change::of(self, &[to]);
        self.inner.copy(from, to, options).await?;
        self.view().made(to);
        Ok(())
    }
}

impl WriteBack {
    /// How a write is held; none where it is for the store to do, or to refuse.
    async fn to_hold(
        &self,
        path: &ResourcePath,
        data: &Bytes,
        options: &WriteOptions,
    ) -> Result<Option<Pending>> {
        let len = data.len() as u64;
        if path.is_root() || len > Self::LARGEST || !self.view().has_room(len) {
            return Ok(None);
        }
        let told = |error: crate::Error| {
            fail(error.kind(), "write", path).with_retry(error.retry()).with_source(error)
        };
        let there = self.look(path).await.map_err(told)?;
        let in_directory = match path.parent().filter(|_| there.is_none()) {
            Some(parent) => self.look(&parent).await.map_err(told)?.is_some_and(|parent| parent.is_dir()),
            None => true,
        };
        if !in_directory || there.as_ref().is_some_and(|there| !there.is_file()) {
            return Ok(None);
        }
        let view = self.view();
        let held = view.pending_at(path);
        let version = there.as_ref().and_then(|there| there.version.clone());
        let condition = match (&options.mode, held) {
            (WriteMode::CreateNew, _) if there.is_some() => {
                return Err(fail(ErrorKind::AlreadyExists, "write", path));
            }
            (WriteMode::IfMatch(wanted), _) if version != Some(view.resolved(wanted)) => {
                return Err(fail(ErrorKind::ConditionFailed, "write", path));
            }
            // What the first of several held writes asked for holds for all of them.
            (WriteMode::Overwrite | WriteMode::IfMatch(_), Some(held)) => held.condition.clone(),
            (WriteMode::Overwrite, None) => Condition::Always,
            (WriteMode::CreateNew, _) => Condition::Missing,
            (WriteMode::IfMatch(wanted), None) => Condition::Version(view.resolved(wanted)),
            _ => return Ok(None),
        };
        Ok(Some(Pending { condition, fresh: held.map_or(there.is_none(), |held| held.fresh) }))
    }

    fn resolved(&self, mut options: WriteOptions) -> WriteOptions {
        if let WriteMode::IfMatch(version) = &options.mode {
            options.mode = WriteMode::IfMatch(self.view().resolved(version));
        }
        options
    }
}

/// What is kept, as a read of it.
fn given(
    path: &ResourcePath,
    metadata: Metadata,
    content: &Bytes,
    options: &ReadOptions,
) -> Result<FileRead> {
    if options.if_match.is_some() && options.if_match != metadata.version {
        return Err(fail(ErrorKind::ConditionFailed, "read", path));
    }
    let range = options.range.as_ref().unwrap_or(&ReadRange::From(0));
    let range = range.resolve(metadata.len).map_err(|error| error.with_path(path))?;
    let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(content.len());
    let part = content.slice(bound(range.start)..bound(range.end));
    let body = stream::iter((!part.is_empty()).then_some(Ok(part)));
    Ok(FileRead::new(metadata, range, body.boxed()))
}

/// A change of the store under way. Unless it is known how it ended, what is known of its places is forgotten.
struct Change<'l> {
    layer: &'l WriteBack,
    paths: Vec<ResourcePath>,
}

impl<'l> Change<'l> {
    fn of(layer: &'l WriteBack, paths: &[&ResourcePath]) -> Self {
        Self { layer, paths: paths.iter().copied().cloned().collect() }
    }

    fn done(mut self) {
        self.paths.clear();
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        let mut view = self.layer.view();
        self.paths.iter().for_each(|path| view.forget(path));
    }
}

/// A writer that writes to the store at once.
#[derive(Debug)]
struct ThroughWriter {
    inner: Box<dyn FileWriter>,
    layer: WriteBack,
    path: ResourcePath,
}

#[async_trait]
impl FileWriter for ThroughWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.inner.write(data).await
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { inner, layer, path } = *self;
        let _place = layer.locks.lock(vec![path.clone()]).await;
        // What was held since it was opened comes before it.
        layer.flush_at(&[&path]).await?;
        let _change = Change::of(&layer, &[&path]);
        let written = inner.close().await?;
        layer.view().made(&path);
        Ok(written)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

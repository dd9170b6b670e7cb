use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};

use super::{Around, Operation, Verb};
use crate::{
    EntryStream, Error, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata,
    MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteOptions,
};

#[derive(Debug)]
pub(super) struct AroundFileSystem<A> {
    inner: Arc<dyn FileSystem>,
    around: A,
}

impl<A: Around> AroundFileSystem<A> {
    pub(super) fn new(inner: Arc<dyn FileSystem>, around: A) -> Self {
        Self { inner, around }
    }

    async fn begin(&self, verb: Verb, path: &ResourcePath) -> A::Operation {
        self.around.begin(verb, path.as_str()).await
    }
}

#[async_trait]
impl<A: Around> FileSystem for AroundFileSystem<A> {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let operation = self.begin(Verb::Read, path).await;
        let read = operation.step(self.inner.read(path, options)).await?;
        Ok(FileRead::new(read.metadata, read.range, around(read.body, operation, Bytes::len)))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let operation = self.begin(Verb::Write, path).await;
        let length = data.len();
        let metadata = operation.step(self.inner.write(path, data, options)).await?;
        operation.sent(length);
        Ok(metadata)
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let operation = self.begin(Verb::Write, path).await;
        let inner = operation.step(self.inner.writer(path, options)).await?;
        Ok(Box::new(AroundWriter { inner: Ok(inner), operation }))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.begin(Verb::Stat, path).await.step(self.inner.stat(path, options)).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let (inner, layer, path) = (Arc::clone(&self.inner), self.around.clone(), path.clone());
        let start = async move {
            let operation = layer.begin(Verb::List, path.as_str()).await;
            around(inner.list(&path, options), operation, |_| 0)
        };
        stream::once(start).flatten().boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.begin(Verb::Mkdir, path).await.step(self.inner.mkdir(path, options)).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.begin(Verb::Rm, path).await.step(self.inner.rm(path, options)).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.begin(Verb::Rename, from).await.step(self.inner.rename(from, to, options)).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.begin(Verb::Copy, from).await.step(self.inner.copy(from, to, options)).await
    }
}

/// Takes a stream item by item. The operation ends with the stream, or at its first error.
fn around<T, O>(
    inner: BoxStream<'static, Result<T>>,
    operation: O,
    length: fn(&T) -> usize,
) -> BoxStream<'static, Result<T>>
where
    T: Send + 'static,
    O: Operation,
{
    let items = stream::unfold(Some((inner, operation)), move |state| async move {
        let (mut inner, operation) = state?;
        let next = operation.step(async { inner.next().await.transpose() }).await;
        match next {
            Ok(Some(item)) => {
                operation.received(length(&item));
                Some((Ok(item), Some((inner, operation))))
            }
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    items.boxed()
}

#[derive(Debug)]
struct AroundWriter<O> {
    /// The writer, until a write fails: a step that was given up may have lost a piece, and nothing may be published
    /// then.
    inner: Result<Box<dyn FileWriter>>,
    operation: O,
}

#[async_trait]
impl<O: Operation> FileWriter for AroundWriter<O> {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let length = data.len();
        let inner = self.inner.as_mut().map_err(|error| Error::clone(error))?;
        let written = self.operation.step(inner.write(data)).await;
        match &written {
            Ok(()) => self.operation.sent(length),
            Err(error) => self.inner = Err(error.clone()),
        }
        written
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { inner, operation } = *self;
        operation.step(inner?.close()).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self { inner, operation } = *self;
        match inner {
            Ok(inner) => operation.step(inner.abort()).await,
            Err(_) => Ok(()),
        }
    }
}

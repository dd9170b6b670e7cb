use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use serde_json::{Value, json};

use super::{Port, not_live, request};
use crate::{
    EntryStream, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata, MkdirOptions,
    ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions, WriteOptions,
    cassette::{Call, Cassette, Recordable},
};

#[derive(Debug)]
pub(super) struct RecordedFileSystem {
    port: Port<dyn FileSystem>,
    capabilities: FsCapabilities,
}

impl RecordedFileSystem {
    pub(super) fn new(port: Port<dyn FileSystem>, capabilities: FsCapabilities) -> Self {
        Self { port, capabilities }
    }
}

#[async_trait]
impl FileSystem for RecordedFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        self.capabilities
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let call = self.port.call("fs.read", request::read(path, &options)).await?;
        let mut body = None;
        let opened = call.answer(async {
            let read = self.port.live()?.read(path, options).await?;
            body = Some(read.body);
            Ok(Opened { metadata: read.metadata, range: read.range })
        });
        let Opened { metadata, range } = opened.await?;
        Ok(FileRead::new(metadata, range, items(call, body)))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let call = self.port.call("fs.write", request::write(path, &options, data.to_record())).await?;
        call.answer(async { self.port.live()?.write(path, data, options).await }).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let call = self.port.call("fs.writer", request::write(path, &options, Value::Null)).await?;
        let mut inner = None;
        let opened = call.answer(async {
            inner = Some(self.port.live()?.writer(path, options).await?);
            Ok(())
        });
        opened.await?;
        Ok(Box::new(RecordedWriter {
            cassette: self.port.cassette.clone(),
            name: format!("{} call {}", self.port.name, call.number()),
            inner,
        }))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        let call = self.port.call("fs.stat", request::stat(path, &options)).await?;
        call.answer(async { self.port.live()?.stat(path, options).await }).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let (port, path) = (self.port.clone(), path.clone());
        let start = async move {
            match port.call("fs.list", request::list(&path, &options)).await {
                Ok(call) => items(call, port.live.as_ref().map(|fs| fs.list(&path, options))),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(start).flatten().boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        let call = self.port.call("fs.mkdir", request::mkdir(path, &options)).await?;
        call.answer(async { self.port.live()?.mkdir(path, options).await }).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        let call = self.port.call("fs.rm", request::rm(path, &options)).await?;
        call.answer(async { self.port.live()?.rm(path, options).await }).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let call = self.port.call("fs.rename", request::transfer(from, to, &options)).await?;
        call.answer(async { self.port.live()?.rename(from, to, options).await }).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let call = self.port.call("fs.copy", request::transfer(from, to, &options)).await?;
        call.answer(async { self.port.live()?.copy(from, to, options).await }).await
    }
}

/// The items of a call, each as it came; none behind an error.
fn items<T: Recordable + 'static>(
    call: Call,
    live: Option<BoxStream<'static, Result<T>>>,
) -> BoxStream<'static, Result<T>> {
    let items = stream::unfold(Some((call, live)), |state| async move {
        let (call, mut live) = state?;
        let next = async {
            match &mut live {
                Some(live) => live.next().await.transpose(),
                None => Err(not_live()),
            }
        };
        match call.next(next).await {
            Ok(Some(item)) => Some((Ok(item), Some((call, live)))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    items.boxed()
}

/// An opened file, but for its content.
struct Opened {
    metadata: Metadata,
    range: Range<u64>,
}

impl Recordable for Opened {
    fn to_record(&self) -> Value {
        json!({"metadata": self.metadata.to_record(), "range": [self.range.start, self.range.end]})
    }

    fn from_record(mut record: Value) -> Result<Self> {
        let bound = |index: usize| record.get("range")?.get(index)?.as_u64();
        let (Some(start), Some(end)) = (bound(0), bound(1)) else {
            return Err(
                crate::Error::new(crate::ErrorKind::Corrupt, "replay").with_message("it is no opened file")
            );
        };
        let metadata = record.get_mut("metadata").map(Value::take).unwrap_or_default();
        Ok(Self { metadata: Metadata::from_record(metadata)?, range: start..end })
    }
}

#[derive(Debug)]
struct RecordedWriter {
    cassette: Cassette,
    name: String,
    inner: Option<Box<dyn FileWriter>>,
}

#[async_trait]
impl FileWriter for RecordedWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let call = self.cassette.call("writer.write", &self.name, json!({"data": data.to_record()})).await?;
        call.answer(async { self.inner.as_mut().ok_or_else(not_live)?.write(data).await }).await
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { cassette, name, inner } = *self;
        let call = cassette.call("writer.close", &name, json!({})).await?;
        call.answer(async { inner.ok_or_else(not_live)?.close().await }).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self { cassette, name, inner } = *self;
        let call = cassette.call("writer.abort", &name, json!({})).await?;
        call.answer(async { inner.ok_or_else(not_live)?.abort().await }).await
    }
}

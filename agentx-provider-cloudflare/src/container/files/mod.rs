//! The files of a container as a [`FileSystem`].

mod list;
mod read;
mod write;
mod writer;

use std::sync::Arc;

use agentx_resource::{
    EntryStream, ErrorKind, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata,
    MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;

use super::{
    http::{Http, Request, fail},
    wire::{self, Change},
};

/// The files of a container, as its server's own file system has them: the same verbs, conditions and errors, and the
/// capabilities that the server declares.
///
/// * **A write** is published by the server when all of it has arrived and was said to be all. One whose connection broke
///   before the answer is [`Lost`](ErrorKind::Lost): it was published whole or not at all, and nobody knows which. Where
///   there was no connection, nothing has happened: `Unavailable`.
/// * **A content** that does not have the bytes that were announced is `Truncated`, a list without its end too.
/// * **Nothing is retried here**: what may be tried again says so, for a [`Retry`](agentx_resource::layer::Retry) layer.
#[derive(Clone, Debug)]
pub struct ContainerFileSystem {
    http: Arc<Http>,
    capabilities: FsCapabilities,
}

impl ContainerFileSystem {
    pub(super) fn new(http: Arc<Http>, capabilities: FsCapabilities) -> Self {
        Self { http, capabilities }
    }

    async fn change(&self, operation: &'static str, change: Change) -> Result<()> {
        let body = serde_json::to_vec(&change)
            .map_err(|source| fail(ErrorKind::InvalidInput, operation).with_source(source))?;
        self.http.tell(Request::post(operation, path("change")).json(body)).await?;
        Ok(())
    }
}

#[async_trait]
impl FileSystem for ContainerFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        self.capabilities
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        read::read(&self.http, path, options).await.map_err(|error| error.with_path(path))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        write::write(&self.http, path, data, options).await.map_err(|error| error.with_path(path))
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let writer = writer::ContainerWriter::open(Arc::clone(&self.http), path, &options);
        Ok(Box::new(writer.map_err(|error| error.with_path(path))?))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        let request = Request::get("stat", self::path("stat"))
            .with("path", path.as_str())
            .with("follow", options.follow.to_string());
        let sent: wire::Metadata = self.http.ask(request).await.map_err(|error| error.with_path(path))?;
        Ok(sent.into())
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        list::list(Arc::clone(&self.http), path.clone(), &options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        let change = Change::Mkdir { path: path.to_string(), recursive: options.recursive };
        self.change("mkdir", change).await.map_err(|error| error.with_path(path))
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        let change =
            Change::Rm { path: path.to_string(), recursive: options.recursive, force: options.force };
        self.change("rm", change).await.map_err(|error| error.with_path(path))
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let change =
            Change::Rename { from: from.to_string(), to: to.to_string(), create_new: options.create_new };
        self.change("rename", change).await.map_err(|error| error.with_path(from))
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let change =
            Change::Copy { from: from.to_string(), to: to.to_string(), create_new: options.create_new };
        self.change("copy", change).await.map_err(|error| error.with_path(from))
    }
}

/// Where the verbs are asked for.
fn path(verb: &str) -> String {
    format!("{}/files/{verb}", wire::PREFIX)
}

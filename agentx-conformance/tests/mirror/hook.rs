//! A file system that does what a test says before each verb, or shows more than is there.

use std::{fmt, sync::Arc};

use agentx_resource::{
    BoxFuture, DirEntry, EntryStream, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions,
    Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

type Before = dyn Fn(&'static str, &ResourcePath) -> BoxFuture<'static, Result<()>> + Send + Sync;

pub(crate) struct Hook {
    inner: Arc<dyn FileSystem>,
    capabilities: FsCapabilities,
    before: Box<Before>,
    extra: Vec<DirEntry>,
}

impl Hook {
    pub(crate) fn new(inner: impl FileSystem) -> Self {
        let capabilities = inner.capabilities();
        Self {
            inner: Arc::new(inner),
            capabilities,
            before: Box::new(|_, _| Box::pin(async { Ok(()) })),
            extra: Vec::new(),
        }
    }

    /// Does this before each verb.
    pub(crate) fn before<F>(
        mut self,
        before: impl Fn(&'static str, &ResourcePath) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.before = Box::new(move |verb, path| Box::pin(before(verb, path)));
        self
    }

    pub(crate) fn with_capabilities(mut self, capabilities: FsCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// Lists this, too.
    pub(crate) fn with_entry(mut self, entry: DirEntry) -> Self {
        self.extra.push(entry);
        self
    }
}

#[async_trait]
impl FileSystem for Hook {
    fn capabilities(&self) -> FsCapabilities {
        self.capabilities
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        (self.before)("read", path).await?;
        self.inner.read(path, options).await
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        (self.before)("write", path).await?;
        self.inner.write(path, data, options).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        (self.before)("writer", path).await?;
        self.inner.writer(path, options).await
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        (self.before)("stat", path).await?;
        self.inner.stat(path, options).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let extra: Vec<_> = self.extra.iter().cloned().map(Ok).collect();
        stream::iter(extra).chain(self.inner.list(path, options)).boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        (self.before)("mkdir", path).await?;
        self.inner.mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        (self.before)("rm", path).await?;
        self.inner.rm(path, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        (self.before)("rename", from).await?;
        self.inner.rename(from, to, options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        (self.before)("copy", from).await?;
        self.inner.copy(from, to, options).await
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook").finish_non_exhaustive()
    }
}

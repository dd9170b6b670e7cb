use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{Retry, Retryability, Tries, body::Body};
use crate::{
    EntryStream, Error, ErrorKind, FileRead, FileSystem, FileSystemExt, FileWriter, FsCapabilities,
    ListOptions, Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions,
    TransferOptions, WriteMode, WriteOptions,
};

#[derive(Debug)]
pub(super) struct RetryFileSystem {
    inner: Arc<dyn FileSystem>,
    retry: Retry,
}

impl RetryFileSystem {
    pub(super) fn new(inner: Arc<dyn FileSystem>, retry: Retry) -> Self {
        Self { inner, retry }
    }

    /// A conditional write, repeated while it is seen to have had no effect.
    async fn write_conditionally(
        &self,
        path: &ResourcePath,
        data: Bytes,
        options: WriteOptions,
    ) -> Result<Metadata> {
        let mut tries = Tries::default();
        let mut doubtful = None;
        loop {
            let error = match self.inner.write(path, data.clone(), options.clone()).await {
                Ok(metadata) => return Ok(metadata),
                Err(error) => error,
            };
            if !matches!(error.retry(), Retryability::After(_)) {
                // After a try whose effect is unknown, a condition that fails may fail for that effect.
                let after_doubt =
                    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::ConditionFailed);
                return Err(match doubtful {
                    Some(doubtful) if after_doubt => lost(path, doubtful),
                    _ => error,
                });
            }
            tries.wait(&self.retry, error.clone()).await?;
            if !self.unchanged(path, &options.mode).await? {
                return Err(lost(path, error));
            }
            doubtful = Some(error);
        }
    }

    /// Whether `path` is as the condition wants it.
    async fn unchanged(&self, path: &ResourcePath, mode: &WriteMode) -> Result<bool> {
        match mode {
            WriteMode::IfMatch(version) => match self.metadata(path).await {
                Ok(metadata) => Ok(metadata.version.as_ref() == Some(version)),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(lost(path, error)),
            },
            _ => self.exists(path).await.map(|exists| !exists).map_err(|error| lost(path, error)),
        }
    }
}

#[async_trait]
impl FileSystem for RetryFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let FileRead { metadata, range, body } =
            self.retry.run(|| self.inner.read(path, options.clone())).await?;
        let (inner, retry, version) = (Arc::clone(&self.inner), self.retry.clone(), metadata.version.clone());
        let body = Body::new(inner, retry, path.clone(), version, range.clone(), body);
        Ok(FileRead::new(metadata, range, body.into_stream()))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        match options.mode {
            WriteMode::CreateNew | WriteMode::IfMatch(_) => {
                self.write_conditionally(path, data, options).await
            }
            WriteMode::Overwrite | WriteMode::Append => self.inner.write(path, data, options).await,
        }
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        // Nothing is visible before `close`, so opening again does no harm.
        self.retry.run(|| self.inner.writer(path, options.clone())).await
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.retry.run(|| self.inner.stat(path, options.clone())).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let (inner, retry, path) = (Arc::clone(&self.inner), self.retry.clone(), path.clone());
        let start = async move {
            let mut tries = Tries::default();
            loop {
                let mut entries = inner.list(&path, options.clone());
                let first = entries.next().await;
                let first = match first {
                    Some(Err(error)) => match tries.wait(&retry, error).await {
                        Ok(()) => continue,
                        Err(error) => Some(Err(error)),
                    },
                    first => first,
                };
                return stream::iter(first).chain(entries);
            }
        };
        stream::once(start).flatten().boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        if options.recursive {
            return self.retry.run(|| self.inner.mkdir(path, options.clone())).await;
        }
        self.inner.mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        if options.force {
            return self.retry.run(|| self.inner.rm(path, options.clone())).await;
        }
        self.inner.rm(path, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.inner.rename(from, to, options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.inner.copy(from, to, options).await
    }
}

fn lost(path: &ResourcePath, source: Error) -> Error {
    Error::new(ErrorKind::Lost, "write")
        .with_path(path)
        .with_message("an earlier try may have taken effect")
        .with_source(source)
}

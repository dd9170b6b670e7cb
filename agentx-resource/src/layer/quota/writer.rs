use async_trait::async_trait;
use bytes::Bytes;

use super::{QuotaUsage, count::exceeded, fs::QuotaFileSystem, ledger::Promise};
use crate::{Error, FileWriter, Metadata, ResourcePath, Result};

#[derive(Debug)]
pub(super) struct QuotaWriter {
    /// The writer, until a write fails.
    inner: Result<Box<dyn FileWriter>>,
    fs: QuotaFileSystem,
    path: ResourcePath,
    append: bool,
    /// What becomes free when this is published.
    credit: u64,
    written: u64,
    promise: Promise,
}

impl QuotaWriter {
    pub(super) fn new(
        inner: Box<dyn FileWriter>,
        fs: QuotaFileSystem,
        path: ResourcePath,
        append: bool,
        credit: u64,
    ) -> Self {
        let promise = fs.count.promise();
        Self { inner: Ok(inner), fs, path, append, credit, written: 0, promise }
    }

    async fn add(&mut self, data: Bytes) -> Result<()> {
        let inner = self.inner.as_mut().map_err(|error| Error::clone(error))?;
        let written = self.written.saturating_add(data.len() as u64);
        if !self.promise.grow(written.saturating_sub(self.credit)) {
            return Err(exceeded("write", &self.path));
        }
        self.written = written;
        inner.write(data).await
    }
}

#[async_trait]
impl FileWriter for QuotaWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let added = self.add(data).await;
        if let Err(error) = &added {
            self.inner = Err(error.clone());
        }
        added
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { inner, fs, path, append, written, mut promise, .. } = *self;
        let inner = inner?;
        let _place = fs.lock(&[&path]).await?;
        let old = fs.replaced(&path).await?;
        let kept = if append { old.bytes } else { 0 };
        let new = QuotaUsage::file(kept.saturating_add(written));
        let change = fs.count.change(("write", &path), old, new, Some(&mut promise))?;
        change.told(inner.close().await)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        match self.inner {
            Ok(inner) => inner.abort().await,
            Err(_) => Ok(()),
        }
    }
}

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::tree::{Tree, tagged};
use crate::{FileWriter, Metadata, ResourcePath, Result, WriteOptions};

/// Writes into the upper; the conditions are asked of what shows.
#[derive(Debug)]
pub(super) struct OverlayWriter {
    inner: Box<dyn FileWriter>,
    tree: Arc<Tree>,
    path: ResourcePath,
    options: WriteOptions,
}

impl OverlayWriter {
    pub(super) fn new(
        inner: Box<dyn FileWriter>,
        tree: Arc<Tree>,
        path: ResourcePath,
        options: WriteOptions,
    ) -> Self {
        Self { inner, tree, path, options }
    }
}

#[async_trait]
impl FileWriter for OverlayWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.inner.write(data).await
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { inner, tree, path, options } = *self;
        let _place = tree.locks.lock(vec![path.clone()]).await;
        tree.check_write(&path, &options).await?;
        tree.make_parents(&path).await?;
        Ok(tagged(inner.close().await?, 'u'))
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::MemoryFileSystem;
use crate::{FileWriter, Metadata, ResourcePath, Result, WriteOptions};

/// Collects the content, and publishes it in one step. Until then the tree knows nothing of it.
#[derive(Debug)]
pub(super) struct MemoryWriter {
    fs: MemoryFileSystem,
    path: ResourcePath,
    options: WriteOptions,
    content: BytesMut,
}

impl MemoryWriter {
    pub(super) fn new(fs: MemoryFileSystem, path: ResourcePath, options: WriteOptions) -> Self {
        Self { fs, path, options, content: BytesMut::new() }
    }
}

#[async_trait]
impl FileWriter for MemoryWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.content.extend_from_slice(&data);
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let Self { fs, path, options, content } = *self;
        fs.publish(&path, content.freeze(), &options)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

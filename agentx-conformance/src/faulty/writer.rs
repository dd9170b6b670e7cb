use std::sync::Arc;

use agentx_resource::{
    FileSystem, FileSystemExt, FileWriter, Metadata, ResourcePath, Result, WriteMode, WriteOptions,
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;

use super::FileSystemFault as Fault;

/// A writer that publishes too early, at the wrong end, or against its mode, or leaves something behind.
#[derive(Debug)]
pub(super) struct FaultyWriter {
    fs: Arc<dyn FileSystem>,
    path: ResourcePath,
    options: WriteOptions,
    fault: Fault,
    content: BytesMut,
    over: bool,
}

impl FaultyWriter {
    pub(super) fn new(
        fs: Arc<dyn FileSystem>,
        path: ResourcePath,
        options: WriteOptions,
        fault: Fault,
    ) -> Self {
        Self { fs, path, options, fault, content: BytesMut::new(), over: false }
    }

    fn temporary(&self) -> Result<ResourcePath> {
        ResourcePath::new(format!("{}.part", self.path))
    }
}

#[async_trait]
impl FileWriter for FaultyWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.content.extend_from_slice(&data);
        if self.fault == Fault::PublishesEarly {
            self.fs.write_file(&self.path, self.content.clone().freeze()).await?;
        }
        if self.fault == Fault::LeavesTemporary {
            self.fs.write_file(&self.temporary()?, self.content.clone().freeze()).await?;
        }
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<Metadata> {
        self.over = true;
        match self.fault {
            Fault::LosesEmptyWriter if self.content.is_empty() => return Ok(Metadata::file(0)),
            Fault::LeavesTemporary => self.fs.rm_all(&self.temporary()?).await?,
            Fault::TearsClose if self.options.mode == WriteMode::Overwrite => {
                let half = self.content.clone().freeze().slice(..self.content.len() / 2);
                self.fs.write(&self.path, half, self.options.clone()).await?;
                tokio::task::yield_now().await;
            }
            _ => {}
        }
        let mut options = self.options.clone();
        if self.fault == Fault::ForgetsModeAtClose {
            options = options.with_mode(WriteMode::Overwrite);
        }
        self.fs.write(&self.path, self.content.split().freeze(), options).await
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.over = true;
        if self.fault == Fault::LeavesTemporary {
            self.fs.rm_all(&self.temporary()?).await?;
        }
        Ok(())
    }
}

impl Drop for FaultyWriter {
    fn drop(&mut self) {
        if self.fault == Fault::PublishesOnDrop && !self.over {
            // In memory a write is ready at once; a failure of what must not happen at all is nothing to tell.
            drop(self.fs.write_file(&self.path, self.content.split().freeze()).now_or_never());
        }
    }
}

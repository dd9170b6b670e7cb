use std::{fmt, sync::Arc};

use agentx_resource::{Error, ErrorKind, FileWriter, Metadata, ResourcePath, Result, WriteOptions};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{
    Done, Durability, Fault,
    resolve::Root,
    stage::Staged,
    write::{Content, Target, write},
};
use crate::blocking::blocking;

/// Pieces are collected up to this size before they go to the disk, so that many small ones cost few hops.
const FLUSH_AT: usize = 256 << 10;

/// A write under way into a file that nobody sees.
pub(super) struct LocalWriter {
    root: Arc<Root>,
    path: ResourcePath,
    options: WriteOptions,
    durability: Durability,
    /// None after an error, and after a write that was dropped half way.
    staged: Option<Staged>,
    buffer: BytesMut,
}

impl LocalWriter {
    pub(super) async fn begin(
        root: Arc<Root>,
        path: ResourcePath,
        options: WriteOptions,
        durability: Durability,
    ) -> Done<Self> {
        blocking(move |_| {
            // Parents are created when there is something to put there, at the end.
            let staged = Target::find(&root, &path, &options)?.stage(&root)?;
            Ok(Self { root, path, options, durability, staged: Some(staged), buffer: BytesMut::new() })
        })
        .await
    }

    fn take(&mut self) -> Done<(Staged, Bytes)> {
        let staged = self.staged.take().ok_or_else(|| {
            Fault::new(ErrorKind::InvalidInput, "this writer failed or was cancelled before")
        })?;
        Ok((staged, self.buffer.split().freeze()))
    }

    async fn add(&mut self, data: Bytes) -> Done<()> {
        if self.staged.is_some() && self.buffer.len() + data.len() <= FLUSH_AT {
            self.buffer.extend_from_slice(&data);
            return Ok(());
        }
        let (staged, buffered) = self.take()?;
        let staged = blocking(move |_| {
            staged.write_all(&buffered)?;
            staged.write_all(&data)?;
            Ok(staged)
        });
        self.staged = Some(staged.await?);
        Ok(())
    }

    async fn publish(mut self) -> Done<Metadata> {
        let (staged, buffered) = self.take()?;
        blocking(move |cancel| {
            staged.write_all(&buffered)?;
            let content = Content::Staged(staged);
            write(&self.root, &self.path, content, &self.options, self.durability, cancel)
        })
        .await
    }
}

#[async_trait]
impl FileWriter for LocalWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.add(data).await.map_err(|fault| told(fault, &self.path))
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let path = self.path.clone();
        self.publish().await.map_err(|fault| told(fault, &path))
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let staged = self.staged.take();
        blocking(move |_| {
            drop(staged);
            Ok(())
        })
        .await
        .map_err(|fault| told(fault, &self.path))
    }
}

impl fmt::Debug for LocalWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalWriter")
            .field("path", &self.path)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

fn told(fault: Fault, path: &ResourcePath) -> Error {
    fault.told("write", path)
}

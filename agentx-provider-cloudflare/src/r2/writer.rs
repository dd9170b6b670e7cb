use std::{fmt, sync::Arc};

use agentx_resource::{
    Error, ErrorKind, FileWriter, Metadata, ResourcePath, Result, Spawn, WriteMode, WriteOptions,
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::{MultipartUpload, PutMultipartOptions, PutResult};

use super::{R2FileSystem, error, error::fail, key, write::written};

/// The size of all parts but the last, which R2 wants to be equal.
pub(super) const PART: usize = 8 << 20;
/// The number of parts that R2 and S3 allow.
const MAX_PARTS: usize = 10_000;
/// What a writer with a condition holds at most: multipart uploads have none.
pub(super) const MAX_CONDITIONAL: usize = 64 << 20;

/// Collects the content, and publishes it at once: in one put where it is small or conditional, else as a multipart
/// upload.
pub(super) struct R2Writer {
    fs: R2FileSystem,
    path: ResourcePath,
    options: WriteOptions,
    /// What is not uploaded yet: less than a part, except under a condition.
    buffer: BytesMut,
    upload: Upload,
    /// Whether a write failed or was cancelled: what follows would have a hole.
    broken: bool,
}

/// A multipart upload, if one has begun. Whatever ends it but completion clears its parts away.
struct Upload {
    begun: Option<Box<dyn MultipartUpload>>,
    parts: usize,
    /// What its object can be known by.
    id: Option<String>,
    spawn: Option<Arc<dyn Spawn>>,
}

impl R2Writer {
    pub(super) fn new(fs: R2FileSystem, path: ResourcePath, options: WriteOptions) -> Self {
        let upload = Upload { begun: None, parts: 0, id: None, spawn: fs.spawn.clone() };
        Self { fs, path, options, buffer: BytesMut::new(), upload, broken: false }
    }

    async fn add(&mut self, mut data: Bytes) -> Result<()> {
        if self.options.mode != WriteMode::Overwrite {
            if self.buffer.len() + data.len() > MAX_CONDITIONAL {
                return Err(self.too_large("a conditional write holds at most 64 MiB"));
            }
            self.buffer.extend_from_slice(&data);
            return Ok(());
        }
        // A full part waits for the byte behind it, so that exactly one part's worth is still a single put.
        while self.buffer.len() + data.len() > PART {
            self.buffer.extend_from_slice(&data.split_to(PART - self.buffer.len()));
            self.send().await?;
        }
        self.buffer.extend_from_slice(&data);
        Ok(())
    }

    /// Uploads what is in the buffer as the next part.
    async fn send(&mut self) -> Result<()> {
        if self.upload.parts == MAX_PARTS {
            return Err(self.too_large("an upload has at most 10,000 parts of 8 MiB"));
        }
        let upload = match &mut self.upload.begun {
            Some(upload) => upload,
            none => {
                let key = key::object(&self.path, "write")?;
                let mut options = PutMultipartOptions::default();
                self.upload.id = self.fs.write_id(&mut options.attributes);
                let upload = self.fs.store.put_multipart_opts(&key, options).await;
                none.insert(upload.map_err(|error| error::store(error, "write", &self.path))?)
            }
        };
        let part = upload.put_part(self.buffer.split().freeze().into());
        self.upload.parts += 1;
        part.await.map_err(|error| error::store(error, "write", &self.path))
    }

    /// Uploads the rest, and publishes all parts.
    async fn finish(&mut self) -> Result<PutResult> {
        if !self.buffer.is_empty() {
            self.send().await?;
        }
        self.fs.prepare(&self.path, &self.options).await?;
        let Some(upload) = &mut self.upload.begun else {
            return Err(fail(ErrorKind::Internal, "write", &self.path));
        };
        let result = match upload.complete().await {
            Ok(result) => result,
            // Its answer may be what was lost: then the store knows the upload no more.
            Err(error) => {
                let key = key::object(&self.path, "write")?;
                let made = match &self.upload.id {
                    Some(id) => self.fs.made_by(&key, id).await,
                    None => None,
                };
                made.ok_or_else(|| unfinished(error, &self.path))?
            }
        };
        self.upload.begun = None;
        Ok(result)
    }

    fn check(&self) -> Result<()> {
        if !self.broken {
            return Ok(());
        }
        Err(fail(ErrorKind::Cancelled, "write", &self.path)
            .with_message("an earlier write to this writer failed or was dropped"))
    }

    fn too_large(&self, message: &'static str) -> Error {
        fail(ErrorKind::LimitExceeded, "write", &self.path).with_message(message)
    }
}

#[async_trait]
impl FileWriter for R2Writer {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.check()?;
        self.broken = true;
        self.add(data).await?;
        self.broken = false;
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<Metadata> {
        self.check()?;
        if self.upload.parts == 0 {
            return self.fs.publish(&self.path, self.buffer.split().freeze(), &self.options).await;
        }
        let len = (self.upload.parts * PART + self.buffer.len()) as u64;
        match self.finish().await {
            Ok(result) => Ok(written(len, &result)),
            Err(error) => {
                // The first error is the one to tell; what abort can't clear away, the bucket's rule does.
                drop(self.abort().await);
                Err(error)
            }
        }
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let Some(upload) = &mut self.upload.begun else { return Ok(()) };
        upload.abort().await.map_err(|error| error::store(error, "abort", &self.path))?;
        self.upload.begun = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(mut upload), Some(spawn)) = (self.begun.take(), &self.spawn) else { return };
        spawn.spawn(Box::pin(async move {
            // Nobody is left to be told; the bucket's rule for unfinished uploads comes next.
            drop(upload.abort().await);
        }));
    }
}

/// An upload that the store does not know was published, and its object replaced since, or was cleared away.
fn unfinished(error: object_store::Error, path: &ResourcePath) -> Error {
    if error::is_absent(&error) {
        return fail(ErrorKind::Lost, "write", path).with_source(error);
    }
    error::store(error, "write", path)
}

/// Shows no content.
impl fmt::Debug for R2Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("R2Writer")
            .field("path", &self.path)
            .field("options", &self.options)
            .field("parts", &self.upload.parts)
            .field("buffered", &self.buffer.len())
            .finish_non_exhaustive()
    }
}

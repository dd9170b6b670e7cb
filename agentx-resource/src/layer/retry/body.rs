use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{Retry, Tries};
use crate::{ByteStream, ErrorKind, FileSystem, ReadOptions, ResourcePath, Result, Version};

/// A body that goes on where it broke off.
pub(super) struct Body {
    inner: Arc<dyn FileSystem>,
    retry: Retry,
    path: ResourcePath,
    /// The version that is read. Without one, a body that breaks off stays so.
    version: Option<Version>,
    /// What is still to come.
    rest: Range<u64>,
    pieces: ByteStream,
    /// Since the last piece that came.
    tries: Tries,
}

impl Body {
    pub(super) fn new(
        inner: Arc<dyn FileSystem>,
        retry: Retry,
        path: ResourcePath,
        version: Option<Version>,
        rest: Range<u64>,
        pieces: ByteStream,
    ) -> Self {
        Self { inner, retry, path, version, rest, pieces, tries: Tries::default() }
    }

    pub(super) fn into_stream(self) -> ByteStream {
        stream::unfold(Some(self), |body| async move {
            let mut body = body?;
            match body.next().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(body))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut broken = match self.piece().await {
            Ok(piece) => return Ok(piece),
            Err(error) => error,
        };
        loop {
            let Some(version) = self.version.clone() else { return Err(broken) };
            self.tries.wait(&self.retry, broken.clone()).await?;
            broken = match self.reopen(version).await {
                Ok(true) => match self.piece().await {
                    Ok(piece) => return Ok(piece),
                    Err(error) => error,
                },
                // The caller may read anew, as `broken` says; this body can't go on.
                Ok(false) => return Err(broken),
                Err(error) => error,
            };
        }
    }

    async fn piece(&mut self) -> Result<Option<Bytes>> {
        let piece = self.pieces.next().await.transpose()?;
        let length = piece.as_ref().map_or(0, Bytes::len);
        if length > 0 {
            self.rest.start = self.rest.start.saturating_add(length as u64);
            self.tries = Tries::default();
        }
        Ok(piece)
    }

    /// Opens the rest of the version that is read; `false` when it is no longer there.
    async fn reopen(&mut self, version: Version) -> Result<bool> {
        let options = ReadOptions::default().with_range(self.rest.clone()).with_if_match(version.clone());
        let read = match self.inner.read(&self.path, options).await {
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::ConditionFailed | ErrorKind::NotFound) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        if read.range != self.rest || read.metadata.version != Some(version) {
            return Ok(false);
        }
        self.pieces = read.body;
        Ok(true)
    }
}

use std::{fmt, ops::Range};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream::BoxStream};

use super::Metadata;
use crate::{Error, ErrorKind, Result};

/// A file's content in pieces. Dropping it ends the transfer.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// An opened file: what is known of it, and the part that was asked for.
///
/// The body is exactly as long as `range`: a provider whose source ends early reports `Truncated`.
#[non_exhaustive]
pub struct FileRead {
    /// The file, as it was when it was opened.
    pub metadata: Metadata,
    /// The bytes that the body holds.
    pub range: Range<u64>,
    /// The content.
    pub body: ByteStream,
}

impl FileRead {
    /// An opened file.
    pub fn new(metadata: Metadata, range: Range<u64>, body: ByteStream) -> Self {
        Self { metadata, range, body }
    }

    /// The whole body, as far as it holds no more than `limit` bytes.
    ///
    /// # Errors
    /// `LimitExceeded` before anything is read when the range is longer than `limit`; `Truncated` when the body
    /// ends early; what the body reports.
    pub async fn bytes(mut self, limit: u64) -> Result<Bytes> {
        let expected = self.range.end.saturating_sub(self.range.start);
        if expected > limit {
            return Err(Error::new(ErrorKind::LimitExceeded, "read")
                .with_message(format!("{expected} bytes, and {limit} are allowed")));
        }
        let first = match self.body.next().await {
            Some(piece) => piece?,
            None => Bytes::new(),
        };
        // Most small files come in one piece, which then needs no copy.
        let all = if first.len() as u64 == expected {
            first
        } else {
            // `limit` bounds this, so it fits.
            let mut all = BytesMut::with_capacity(usize::try_from(expected).unwrap_or(0));
            all.extend_from_slice(&first);
            while let Some(piece) = self.body.next().await {
                let piece = piece?;
                if (all.len() + piece.len()) as u64 > expected {
                    return Err(length_error(expected));
                }
                all.extend_from_slice(&piece);
            }
            all.freeze()
        };
        if all.len() as u64 == expected { Ok(all) } else { Err(length_error(expected)) }
    }
}

fn length_error(expected: u64) -> Error {
    Error::new(ErrorKind::Truncated, "read")
        .with_message(format!("the body does not have the {expected} bytes that were announced"))
}

impl fmt::Debug for FileRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileRead")
            .field("metadata", &self.metadata)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

use std::borrow::Cow;

use agentx_resource::{
    ByteStream, Error, ErrorKind, FileRead, ReadOptions, ReadRange, ResourcePath, Result, Version,
};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use object_store::{GetOptions, GetRange, GetResult};

use super::{R2FileSystem, error, error::fail, key, place::metadata};

impl R2FileSystem {
    pub(super) async fn open(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        if path.is_root() {
            return Err(fail(ErrorKind::IsADirectory, "read", path));
        }
        let key = key::object(path, "read")?;
        let ReadOptions { range, if_match, .. } = options;
        let request = GetOptions::new().with_if_match(if_match.as_ref().map(|version| self.e_tag(version)));
        let wanted = match &range {
            // The answer to a range names the size of the file, so that a length which is wrong contradicts it.
            None => self.s3.then_some(GetRange::Offset(0)),
            Some(range) => match part(range) {
                Some(wanted) => Some(wanted),
                None => return self.nothing_of(path, range, request).await,
            },
        };
        match self.store.get_opts(&key, request.clone().with_range(wanted)).await {
            Ok(result) => Ok(opened(path, result)),
            Err(error) => match range {
                None if error::has_no_range(&error) => match self.store.get_opts(&key, request).await {
                    Ok(result) => Ok(opened(path, result)),
                    Err(error) => Err(self.explained(path, error).await),
                },
                // Stores refuse a range behind the end, and each in its own words: look whether it is one.
                Some(range) if is_unexplained(&error) => {
                    let nothing = self.nothing_of(path, &range, request).await;
                    nothing.map_err(|_| error::store(error, "read", path))
                }
                _ => Err(self.explained(path, error).await),
            },
        }
    }

    /// The version as the store wants it. A server may refuse what can't be an `ETag`, and no version of ours is: then it
    /// is made into one that no object has.
    pub(super) fn e_tag<'v>(&self, version: &'v Version) -> Cow<'v, str> {
        let version = version.as_str();
        if !self.s3 || (version.len() > 1 && version.starts_with('"') && version.ends_with('"')) {
            return version.into();
        }
        let other: String = version.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("\"other-{other}\"").into()
    }

    /// An empty body, as `range` leaves nothing of the file.
    async fn nothing_of(
        &self,
        path: &ResourcePath,
        range: &ReadRange,
        request: GetOptions,
    ) -> Result<FileRead> {
        let key = key::object(path, "read")?;
        let metadata = match self.store.get_opts(&key, request.with_head(true)).await {
            Ok(result) => metadata(&result.meta),
            Err(error) => return Err(self.explained(path, error).await),
        };
        let range = range
            .resolve(metadata.len)
            .map_err(|error| fail(error.kind(), "read", path).with_source(error))?;
        if !range.is_empty() {
            return Err(fail(ErrorKind::Internal, "read", path).with_message("the range is not empty"));
        }
        Ok(FileRead::new(metadata, range, stream::empty().boxed()))
    }

    /// Tells a directory from nothing.
    async fn explained(&self, path: &ResourcePath, error: object_store::Error) -> Error {
        if !error::is_absent(&error) {
            return error::store(error, "read", path);
        }
        match self.holds_anything(path, "read").await {
            Ok(true) => fail(ErrorKind::IsADirectory, "read", path),
            Ok(false) => fail(ErrorKind::NotFound, "read", path),
            Err(error) => error,
        }
    }
}

fn opened(path: &ResourcePath, result: GetResult) -> FileRead {
    let (metadata, range) = (metadata(&result.meta), result.range.clone());
    let left = range.end.saturating_sub(range.start);
    let body = Body { pieces: result.into_stream(), left, path: path.clone() };
    FileRead::new(metadata, range, body.stream())
}

/// The part in the store's terms; none for one that holds nothing in any file.
fn part(range: &ReadRange) -> Option<GetRange> {
    match range {
        ReadRange::Bounded(range) if !range.is_empty() => Some(GetRange::Bounded(range.clone())),
        ReadRange::From(start) => Some(GetRange::Offset(*start)),
        ReadRange::Last(count) if *count > 0 => Some(GetRange::Suffix(*count)),
        _ => None,
    }
}

fn is_unexplained(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::Generic { .. }) && !error::is_absent(error)
}

/// A body on its way, and what is still to come.
struct Body {
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    /// What was announced and has not come yet, in bytes.
    left: u64,
    path: ResourcePath,
}

impl Body {
    fn stream(self) -> ByteStream {
        stream::unfold(Some(self), |body| async { body?.next().await }).boxed()
    }

    /// The next piece, held to what was announced.
    async fn next(mut self) -> Option<(Result<Bytes>, Option<Self>)> {
        let path = self.path.clone();
        let fail = |kind, message: String| fail(kind, "read", &path).with_message(message);
        loop {
            return match self.pieces.next().await {
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => match self.left.checked_sub(piece.len() as u64) {
                    Some(left) => {
                        self.left = left;
                        Some((Ok(piece), Some(self)))
                    }
                    None => {
                        Some((Err(fail(ErrorKind::Corrupt, "more bytes than announced".to_owned())), None))
                    }
                },
                Some(Err(error)) => Some((Err(error::store(error, "read", &self.path)), None)),
                None if self.left > 0 => {
                    let message = format!("{} bytes are missing", self.left);
                    Some((Err(fail(ErrorKind::Truncated, message)), None))
                }
                None => None,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn body(length: u64, pieces: &[&'static [u8]]) -> Result<Vec<Bytes>> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        let body = Body { pieces: stream::iter(pieces).boxed(), left: length, path: ResourcePath::root() };
        body.stream().try_collect().await
    }

    #[tokio::test]
    async fn a_body_has_the_announced_length() {
        assert_eq!(body(3, &[b"ab", b"", b"c"]).await.unwrap(), ["ab", "c"]);
        assert_eq!(body(0, &[b""]).await.unwrap(), Vec::<Bytes>::new());
        assert_eq!(body(4, &[b"abc"]).await.unwrap_err().kind(), ErrorKind::Truncated);
        assert_eq!(body(2, &[b"abc"]).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

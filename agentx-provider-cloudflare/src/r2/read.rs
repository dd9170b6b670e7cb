use std::borrow::Cow;

use agentx_resource::{
    ByteStream, Error, ErrorKind, FileRead, ReadOptions, ReadRange, ResourcePath, Result, Version,
};
use bytes::Bytes;
use futures::{StreamExt, stream, stream::BoxStream};
use md5::{Digest, Md5};
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
            None => None,
            Some(range) => match part(range) {
                Some(wanted) => Some(wanted),
                None => return self.nothing_of(path, range, request).await,
            },
        };
        match self.store.get_opts(&key, request.clone().with_range(wanted)).await {
            Ok(result) => Ok(self.opened(path, result)),
            Err(error) => match range {
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

    fn opened(&self, path: &ResourcePath, result: GetResult) -> FileRead {
        let (metadata, range) = (metadata(&result.meta), result.range.clone());
        let whole = self.s3 && range == (0..result.meta.size);
        let checksum = result.meta.e_tag.as_deref().filter(|_| whole).and_then(Checksum::of);
        let left = range.end.saturating_sub(range.start);
        let body = Body { pieces: result.into_stream(), left, checksum, path: path.clone() };
        FileRead::new(metadata, range, body.stream())
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
    checksum: Option<Checksum>,
    path: ResourcePath,
}

impl Body {
    fn stream(self) -> ByteStream {
        stream::unfold(Some(self), |body| async { body?.next().await }).boxed()
    }

    fn holds(&mut self) -> bool {
        self.checksum.take().is_none_or(Checksum::holds)
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
                        if let Some(checksum) = &mut self.checksum {
                            checksum.digest.update(&piece);
                        }
                        // Whoever has all that was announced may not ask for more, so that it is told now.
                        if left == 0 && !self.holds() {
                            return Some((Err(fail(ErrorKind::Corrupt, DIFFERS.to_owned())), None));
                        }
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
                None if !self.holds() => Some((Err(fail(ErrorKind::Corrupt, DIFFERS.to_owned())), None)),
                None => None,
            };
        }
    }
}

const DIFFERS: &str = "the content is not what was stored";

/// The MD5 of a whole object, which is its `ETag` unless it was uploaded in parts: an answer whose length is wrong has
/// another.
struct Checksum {
    digest: Md5,
    expected: u128,
}

impl Checksum {
    fn of(e_tag: &str) -> Option<Self> {
        let hex = e_tag.strip_prefix('"')?.strip_suffix('"')?;
        // `u128` would take fewer digits, and a sign.
        let is_md5 = hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let expected = u128::from_str_radix(hex, 16).ok().filter(|_| is_md5)?;
        Some(Self { digest: Md5::new(), expected })
    }

    fn holds(self) -> bool {
        u128::from_be_bytes(self.digest.finalize().into()) == self.expected
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn body(length: u64, pieces: &[&'static [u8]]) -> Result<Vec<Bytes>> {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
        checked(length, None, pieces).await
    }

    async fn checked(
        left: u64,
        e_tag: Option<&str>,
        pieces: Vec<object_store::Result<Bytes>>,
    ) -> Result<Vec<Bytes>> {
        let (pieces, checksum) = (stream::iter(pieces).boxed(), e_tag.and_then(Checksum::of));
        Body { pieces, left, checksum, path: ResourcePath::root() }.stream().try_collect().await
    }

    #[tokio::test]
    async fn a_body_has_the_announced_length() {
        assert_eq!(body(3, &[b"ab", b"", b"c"]).await.unwrap(), ["ab", "c"]);
        assert_eq!(body(0, &[b""]).await.unwrap(), Vec::<Bytes>::new());
        assert_eq!(body(4, &[b"abc"]).await.unwrap_err().kind(), ErrorKind::Truncated);
        assert_eq!(body(2, &[b"abc"]).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    #[tokio::test]
    async fn a_whole_object_has_the_content_that_its_etag_names() {
        let pieces = || vec![Ok(Bytes::from_static(b"he")), Ok(Bytes::from_static(b"llo"))];
        let md5 = "\"5d41402abc4b2a76b9719d911017c592\"";
        assert!(checked(5, Some(md5), pieces()).await.is_ok());
        let other = md5.replace("5d", "5e");
        assert_eq!(checked(5, Some(&other), pieces()).await.unwrap_err().kind(), ErrorKind::Corrupt);
        // One of an upload in parts says nothing of the content.
        assert!(checked(5, Some("\"5d41402abc4b2a76b9719d911017c592-2\""), pieces()).await.is_ok());
    }
}

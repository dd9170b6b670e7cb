use bytes::{Buf, Bytes};
use futures::{StreamExt, try_join};

use super::{
    Pair, Side,
    base::{File, Record},
    replica::{Issue, Replica},
};
use crate::{ByteStream, Error, ErrorKind, FileRead, Metadata, ReadOptions, ResourcePath, Retry, WriteMode};

/// A file of up to this many bytes is held in memory and written at once; a longer one goes through in pieces.
const AT_ONCE: u64 = 1 << 20;
/// How often a file is read that changes while it is read.
const ATTEMPTS: usize = 3;

/// Copies the file at `path`, as it is now, over `over` or to where nothing is.
///
/// # Errors
/// `Changed` if the destination is another by now, or the source is gone.
pub(super) async fn copy(
    pair: &Pair,
    path: &ResourcePath,
    to: Side,
    over: Option<&File>,
) -> Result<(Record, u64), Issue> {
    let (source, target) = (pair.on(to.other()), pair.on(to));
    for _ in 0..ATTEMPTS {
        let read = source.fs.read(path, ReadOptions::default()).await?;
        let from = File::of(&read.metadata, source.side)?;
        let mode = target.mode(path, over).await?;
        let Some(metadata) = publish(source, target, path, &from, read, mode).await? else { continue };
        let written = match File::of(&metadata, target.side) {
            Ok(file) => file,
            // A store may know the time of a write only by looking.
            Err(_) => match target.look(path).await? {
                Some(now) => File::of(&now, target.side)?,
                None => return Err(Issue::Changed),
            },
        };
        let len = from.len;
        return Ok((Record::file(source.side, from, written), len));
    }
    Err(Issue::Failed(
        Error::new(ErrorKind::Busy, "copy")
            .with_path(path)
            .with_retry(Retry::After(None))
            .with_message(format!("the {} file changed each time that it was read", source.side)),
    ))
}

/// Writes what is read; `None` if it changed meanwhile, and nothing was written.
async fn publish(
    source: &Replica,
    target: &Replica,
    path: &ResourcePath,
    from: &File,
    read: FileRead,
    mode: WriteMode,
) -> Result<Option<Metadata>, Issue> {
    if from.len <= AT_ONCE {
        let data = read.bytes(AT_ONCE).await?;
        if !source.was_stable(path, from).await? {
            return Ok(None);
        }
        return Ok(Some(target.fs.write(path, data, mode.into()).await?));
    }
    let mut writer = target.fs.writer(path, mode.into()).await?;
    let mut body = Body::new(read);
    while let Some(piece) = body.next().await? {
        writer.write(piece).await?;
    }
    if !source.was_stable(path, from).await? {
        writer.abort().await?;
        return Ok(None);
    }
    Ok(Some(writer.close().await?))
}

/// Whether both sides have the same content at `path`, and if so, the record of it.
///
/// # Errors
/// `Changed` if one of them is gone or changes meanwhile.
pub(super) async fn compare(pair: &Pair, path: &ResourcePath) -> Result<Option<Record>, Issue> {
    let (local, remote) = (pair.on(Side::Local), pair.on(Side::Remote));
    let (left, right) =
        try_join!(local.fs.read(path, ReadOptions::default()), remote.fs.read(path, ReadOptions::default()))?;
    let (here, there) = (File::of(&left.metadata, Side::Local)?, File::of(&right.metadata, Side::Remote)?);
    if here.len != there.len || !equal(Body::new(left), Body::new(right)).await? {
        return Ok(None);
    }
    let stable = try_join!(local.was_stable(path, &here), remote.was_stable(path, &there))?;
    if stable != (true, true) {
        return Err(Issue::Changed);
    }
    Ok(Some(Record::file(Side::Local, here, there)))
}

async fn equal(mut left: Body, mut right: Body) -> Result<bool, Error> {
    let (mut a, mut b) = (Bytes::new(), Bytes::new());
    loop {
        if a.is_empty() {
            a = left.next().await?.unwrap_or_default();
        }
        if b.is_empty() {
            b = right.next().await?.unwrap_or_default();
        }
        let common = a.len().min(b.len());
        if common == 0 {
            return Ok(a.is_empty() && b.is_empty());
        }
        if a.get(..common) != b.get(..common) {
            return Ok(false);
        }
        a.advance(common);
        b.advance(common);
    }
}

/// A body that has ended only when it has given what was announced.
struct Body {
    stream: ByteStream,
    left: u64,
}

impl Body {
    fn new(read: FileRead) -> Self {
        Self { left: read.range.end.saturating_sub(read.range.start), stream: read.body }
    }

    /// The next piece, which is not empty.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while let Some(piece) = self.stream.next().await {
            let piece = piece?;
            self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(other_length)?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        if self.left == 0 { Ok(None) } else { Err(other_length()) }
    }
}

fn other_length() -> Error {
    Error::new(ErrorKind::Truncated, "read")
        .with_message("the body does not have the length that was announced")
}

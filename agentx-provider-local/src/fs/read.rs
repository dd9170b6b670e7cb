use std::{io::IoSliceMut, ops::Range, sync::Arc};

use agentx_resource::{ByteStream, ErrorKind, FileKind, FileRead, Metadata, ReadOptions, ResourcePath};
use bytes::Bytes;
use futures::{StreamExt, stream};
use rustix::{
    buffer::spare_capacity,
    fd::OwnedFd,
    fs::{OFlags, fstat},
    io::{Errno, ReadWriteFlags, pread, preadv2},
};

use super::{Done, Fault, metadata::describe, resolve::Root};
use crate::blocking::blocking;

/// Up to this length a body is read at once: in place where the host has it in memory, else with the one hop that
/// also opens the file.
const AT_ONCE: u64 = 256 << 10;
/// Up to this length a body is one piece and one hop: who collects it then needs no copy.
const ONE_PIECE: u64 = 16 << 20;
/// The pieces of a longer body, one hop each.
const PIECE: u64 = 1 << 20;
/// How many pieces are read at a time, the one that is waited for among them.
const AHEAD: usize = 2;

/// Never waits for the other end of a FIFO, and never takes over a terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// Opens a file and reads its beginning.
pub(super) async fn read(root: &Arc<Root>, path: &ResourcePath, options: ReadOptions) -> Done<FileRead> {
    let mut begun = None;
    if let Some(file) = root.open_cached(path.relative().as_bytes(), READ) {
        let opened = Opened::inspect(file.map_err(Fault::of_lookup)?, &options)?;
        if opened.len() > AT_ONCE {
            return Ok(opened.into_read(path));
        }
        match opened.read_cached() {
            Some(body) => return Ok(opened.into_whole(body)),
            None => begun = Some(opened),
        }
    }
    let opened = blocking({
        let root = Arc::clone(root);
        let path = path.clone();
        move |_| {
            let opened = match begun {
                Some(opened) => opened,
                None => {
                    let file = root.open(path.relative().as_bytes(), READ).map_err(Fault::of_lookup)?;
                    Opened::inspect(file, &options)?
                }
            };
            let whole = if opened.len() <= AT_ONCE {
                Some(read_piece(&opened.file, opened.range.clone())?)
            } else {
                None
            };
            Ok((opened, whole))
        }
    });
    Ok(match opened.await? {
        (opened, Some(body)) => opened.into_whole(body),
        (opened, None) => opened.into_read(path),
    })
}

/// A file that may be read, and the part that is wanted.
struct Opened {
    file: OwnedFd,
    metadata: Metadata,
    range: Range<u64>,
}

impl Opened {
    fn inspect(file: OwnedFd, options: &ReadOptions) -> Done<Self> {
        let metadata = describe(&fstat(&file)?);
        match metadata.kind {
            FileKind::File => {}
            FileKind::Directory => return Err(Errno::ISDIR.into()),
            _ => return Err(Errno::NXIO.into()),
        }
        if options.if_match.is_some() && options.if_match != metadata.version {
            return Err(Fault::new(ErrorKind::ConditionFailed, "the file has another version"));
        }
        let range = match &options.range {
            Some(range) => range
                .resolve(metadata.len)
                .map_err(|_| Fault::new(ErrorKind::InvalidInput, "the range ends before it starts"))?,
            None => 0..metadata.len,
        };
        Ok(Self { file, metadata, range })
    }

    fn len(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    /// The whole part, if the host has all of it in memory.
    fn read_cached(&self) -> Option<Bytes> {
        let mut body = vec![0; usize::try_from(self.len()).ok()?];
        let mut filled = 0;
        while filled < body.len() {
            let slice = &mut [IoSliceMut::new(body.get_mut(filled..)?)];
            match preadv2(&self.file, slice, self.range.start + filled as u64, ReadWriteFlags::NOWAIT) {
                Ok(count) if count > 0 => filled += count,
                // What is not in memory, and every error, is for the hop to meet.
                _ => return None,
            }
        }
        Some(body.into())
    }

    fn into_whole(self, body: Bytes) -> FileRead {
        let body: ByteStream = if body.is_empty() {
            stream::empty().boxed()
        } else {
            stream::once(std::future::ready(Ok(body))).boxed()
        };
        FileRead::new(self.metadata, self.range, body)
    }

    fn into_read(self, path: &ResourcePath) -> FileRead {
        let (file, path, range) = (Arc::new(self.file), path.clone(), self.range);
        let piece = if range.end - range.start <= ONE_PIECE { ONE_PIECE } else { PIECE };
        let (mut start, end) = (range.start, range.end);
        let parts = std::iter::from_fn(move || {
            let part = start..end.min(start + piece);
            start = part.end;
            Some(part).filter(|part| !part.is_empty())
        });
        let pieces = stream::iter(parts).map(move |part| {
            let (file, path) = (Arc::clone(&file), path.clone());
            async move {
                let piece = blocking(move |_| read_piece(&file, part)).await;
                piece.map_err(|fault| fault.told("read", &path))
            }
        });
        let body = pieces.buffered(AHEAD).scan(false, |failed, piece| {
            let shown = (!*failed).then_some(piece);
            *failed = !matches!(shown, Some(Ok(_)));
            std::future::ready(shown)
        });
        FileRead::new(self.metadata, range, body.boxed())
    }
}

/// Exactly this part of the file.
fn read_piece(file: &OwnedFd, range: Range<u64>) -> Done<Bytes> {
    let expected = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut piece = Vec::with_capacity(expected);
    while piece.len() < expected {
        let offset = range.start + piece.len() as u64;
        match pread(file, spare_capacity(&mut piece), offset) {
            Ok(0) => {
                return Err(Fault::new(ErrorKind::Truncated, "the file became shorter while it was read"));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // The allocator may have given more room than was asked for.
    piece.truncate(expected);
    Ok(piece.into())
}

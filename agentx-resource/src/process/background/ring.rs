use std::collections::VecDeque;

use super::{BackgroundLimits, LogCursor, LogPage, LogPiece};
use crate::{ExitStatus, OutputStream};

/// Output of one stream is one piece up to here.
const PIECE: usize = 8 << 10;

/// The last of what a command wrote, bounded by bytes and by pieces.
#[derive(Debug)]
pub(super) struct Ring {
    limits: BackgroundLimits,
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// How much was written on the whole.
    end: u64,
}

#[derive(Debug)]
struct Piece {
    stream: OutputStream,
    bytes: VecDeque<u8>,
}

impl Ring {
    pub(super) fn new(limits: BackgroundLimits) -> Self {
        Self { limits, pieces: VecDeque::new(), bytes: 0, end: 0 }
    }

    pub(super) fn start(&self) -> u64 {
        self.end - self.bytes as u64
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Whether what was written from `from` on takes half of the room, so that more may push it out.
    pub(super) fn is_half_full(&self, from: u64) -> bool {
        let unread = self.end.saturating_sub(from);
        if unread >= (self.limits.log_bytes / 2) as u64 {
            return true;
        }
        let (most, mut seen) = (self.limits.log_pieces / 2, 0);
        let pieces = self.pieces.iter().rev().take_while(|piece| {
            let begun = seen < unread;
            seen += piece.bytes.len() as u64;
            begun
        });
        pieces.take(most).count() >= most
    }

    pub(super) fn push(&mut self, stream: OutputStream, written: &[u8]) {
        for written in written.chunks(PIECE) {
            match self.pieces.back_mut() {
                Some(piece) if piece.stream == stream && piece.bytes.len() + written.len() <= PIECE => {
                    piece.bytes.extend(written);
                }
                _ => self.pieces.push_back(Piece { stream, bytes: written.iter().copied().collect() }),
            }
            self.bytes += written.len();
            self.end += written.len() as u64;
            self.forget();
        }
    }

    /// What was written from `from` on, up to `most` bytes; the status, if that is all.
    pub(super) fn page(&self, from: LogCursor, most: usize, status: Option<ExitStatus>) -> LogPage {
        let at = from.offset().clamp(self.start(), self.end);
        let lost = at.saturating_sub(from.offset());
        let mut skip = usize::try_from(at - self.start()).unwrap_or(usize::MAX);
        let (mut pieces, mut room) = (Vec::new(), most);
        for piece in &self.pieces {
            let skipped = skip.min(piece.bytes.len());
            skip -= skipped;
            let bytes: Vec<u8> = piece.bytes.iter().skip(skipped).take(room).copied().collect();
            room -= bytes.len();
            if !bytes.is_empty() {
                pieces.push(LogPiece::new(piece.stream, &bytes));
            }
            if room == 0 {
                break;
            }
        }
        let next = at + (most - room) as u64;
        LogPage::new(lost, pieces, next, status.filter(|_| next == self.end))
    }

    /// Drops the oldest until the limits are kept.
    fn forget(&mut self) {
        loop {
            let surplus = self.bytes.saturating_sub(self.limits.log_bytes);
            let too_many = self.pieces.len() > self.limits.log_pieces;
            let Some(first) = self.pieces.front_mut().filter(|_| too_many || surplus > 0) else { break };
            let gone = if too_many { first.bytes.len() } else { surplus.min(first.bytes.len()) };
            first.bytes.drain(..gone);
            self.bytes -= gone;
            if first.bytes.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use OutputStream::{Stderr, Stdout};

    use super::*;

    fn ring(bytes: usize, pieces: usize) -> Ring {
        Ring::new(BackgroundLimits::default().with_log_bytes(bytes).with_log_pieces(pieces))
    }

    fn text(page: &LogPage) -> String {
        page.pieces.iter().map(|piece| str::from_utf8(&piece.bytes).unwrap()).collect()
    }

    #[test]
    fn a_page_begins_where_the_last_one_ended() {
        let mut ring = ring(100, 100);
        ring.push(Stdout, b"abc");
        ring.push(Stderr, b"de");
        ring.push(Stderr, b"f");
        ring.push(Stdout, b"g");
        let (mut cursor, mut read) = (LogCursor::START, String::new());
        loop {
            let page = ring.page(cursor, 2, Some(ExitStatus::Code(0)));
            assert_eq!(page.lost, 0);
            read += &text(&page);
            cursor = page.next;
            if page.status.is_some() {
                break;
            }
            assert_eq!(text(&page).len(), 2);
        }
        assert_eq!((read.as_str(), cursor.offset()), ("abcdefg", 7));
        let whole = ring.page(LogCursor::START, 100, None);
        assert_eq!(whole.pieces.len(), 3);
        assert_eq!((whole.of(Stdout), whole.of(Stderr)), (b"abcg".to_vec(), b"def".to_vec()));
        assert_eq!(ring.page(LogCursor::new(99), 9, None).next, LogCursor::new(7));
    }

    #[test]
    fn what_is_no_longer_kept_is_told() {
        let mut ring = ring(5, 100);
        for byte in b'a'..=b'z' {
            ring.push(if byte % 2 == 0 { Stdout } else { Stderr }, &[byte]);
            assert!(ring.bytes <= 5);
        }
        let page = ring.page(LogCursor::new(3), 100, None);
        assert_eq!((page.lost, text(&page).as_str(), page.next.offset()), (18, "vwxyz", 26));
        assert_eq!(ring.page(LogCursor::new(22), 100, None).lost, 0);
        ring.push(Stdout, &vec![b'-'; 3 * PIECE]);
        assert_eq!((ring.bytes, text(&ring.page(LogCursor::START, 9, None))), (5, "-----".to_owned()));
    }

    #[test]
    fn a_log_is_half_full_by_bytes_or_by_pieces() {
        let mut ring = ring(100, 8);
        ring.push(Stdout, &[b'-'; 49]);
        assert!(!ring.is_half_full(0));
        ring.push(Stdout, b"-");
        assert!(ring.is_half_full(0) && !ring.is_half_full(1) && !ring.is_half_full(50));
        for stream in [Stderr, Stdout, Stderr, Stdout] {
            ring.push(stream, b"x");
        }
        assert!(ring.is_half_full(50) && !ring.is_half_full(51) && !ring.is_half_full(99));
    }

    #[test]
    fn pieces_are_few() {
        let mut ring = ring(1 << 20, 3);
        for _ in 0..10 {
            ring.push(Stdout, b"ab");
            ring.push(Stderr, b"c");
            assert!(ring.pieces.len() <= 3);
        }
        let page = ring.page(LogCursor::START, 100, None);
        assert_eq!((page.lost, text(&page).as_str()), (26, "cabc"));
    }

    #[test]
    fn a_log_of_nothing_loses_everything() {
        for mut ring in [ring(0, 100), ring(100, 0)] {
            ring.push(Stdout, b"abc");
            let page = ring.page(LogCursor::START, 9, Some(ExitStatus::Code(0)));
            assert_eq!((page.lost, page.pieces.len(), page.next.offset()), (3, 0, 3));
            assert_eq!(page.status, Some(ExitStatus::Code(0)));
        }
    }
}

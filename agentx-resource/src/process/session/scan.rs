use bytes::{Bytes, BytesMut};

use super::frame::FIRST;

/// Looks for a mark in a stream that comes in pieces. It holds back no more than what may be the mark's beginning.
#[derive(Debug)]
pub(super) struct Scanner {
    mark: Vec<u8>,
    held: Bytes,
}

/// What a piece turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    /// What is not part of the mark.
    pub(super) before: Bytes,
    /// What follows the mark, if it was found.
    pub(super) after: Option<Bytes>,
}

impl Scanner {
    pub(super) fn new(mark: Vec<u8>) -> Self {
        Self { mark, held: Bytes::new() }
    }

    pub(super) fn push(&mut self, piece: Bytes) -> Scanned {
        let mut piece = self.joined(piece);
        let mut from = 0;
        while let Some(rest) = piece.get(from..)
            && let Some(found) = rest.iter().position(|byte| *byte == FIRST)
        {
            let (at, candidate) = (from + found, rest.get(found..).unwrap_or_default());
            if candidate.starts_with(&self.mark) {
                let mut after = piece.split_off(at);
                let after = after.split_off(self.mark.len());
                return Scanned { before: piece, after: Some(after) };
            }
            if self.mark.starts_with(candidate) {
                self.held = piece.split_off(at);
                break;
            }
            from = at + 1;
        }
        Scanned { before: piece, after: None }
    }

    /// What was held back, for a stream that has ended without the mark.
    pub(super) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.held)
    }

    fn joined(&mut self, piece: Bytes) -> Bytes {
        if self.held.is_empty() {
            return piece;
        }
        let mut joined = BytesMut::from(&*std::mem::take(&mut self.held));
        joined.extend_from_slice(&piece);
        joined.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &[u8] = b"\x1eabcd";

    fn split(stream: &[u8], pieces: impl Iterator<Item = Bytes>) -> (Vec<u8>, Option<Vec<u8>>) {
        let mut scanner = Scanner::new(MARK.to_vec());
        let (mut before, mut after): (Vec<u8>, Option<Vec<u8>>) = (Vec::new(), None);
        for piece in pieces {
            match &mut after {
                Some(after) => after.extend_from_slice(&piece),
                None => {
                    let found = scanner.push(piece);
                    before.extend_from_slice(&found.before);
                    after = found.after.map(|after| after.to_vec());
                }
            }
        }
        before.extend_from_slice(&scanner.finish());
        assert_eq!(before.len() + after.as_ref().map_or(0, |after| after.len() + MARK.len()), stream.len());
        (before, after)
    }

    #[test]
    fn the_mark_is_found_wherever_the_stream_is_cut() {
        for stream in [
            &b"text\x1eabcdrest"[..],
            b"\x1eabcd",
            b"\x1e\x1e\x1eabc\x1eabcd\x1eabcd",
            b"\x1eab\x1eabcd",
            b"no mark \x1eabc",
            b"",
        ] {
            let whole = split(stream, std::iter::once(Bytes::copy_from_slice(stream)));
            let place = stream.windows(MARK.len()).position(|window| window == MARK);
            assert_eq!(whole.1.is_some(), place.is_some());
            assert_eq!(whole.0.len(), place.unwrap_or(stream.len()));
            let bytes = split(stream, stream.iter().map(|byte| Bytes::copy_from_slice(&[*byte])));
            assert_eq!(whole, bytes, "{stream:?}");
            for cut in 0..=stream.len() {
                let (a, b) = stream.split_at(cut);
                let cut = split(stream, [a, b].into_iter().map(Bytes::copy_from_slice));
                assert_eq!(whole, cut, "{stream:?}");
            }
        }
    }

    #[test]
    fn no_more_is_held_back_than_the_beginning_of_a_mark() {
        let mut scanner = Scanner::new(MARK.to_vec());
        assert_eq!(scanner.push(Bytes::from_static(b"prompt> ")).before, "prompt> ");
        assert_eq!(scanner.push(Bytes::from_static(b"x\x1ea")).before, "x");
        assert_eq!(scanner.push(Bytes::from_static(b"x")).before, "\x1eax".as_bytes());
    }
}

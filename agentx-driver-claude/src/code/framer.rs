use agentx_core::{ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use memchr::memchr;

use super::failure;

/// Cuts what the CLI writes into its lines.
#[derive(Debug)]
pub(super) struct Framer {
    buffer: BytesMut,
    /// So much of the buffer is known to have no end of a line.
    searched: usize,
    /// The longest line, in bytes.
    limit: usize,
}

impl Framer {
    pub(super) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, limit }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    ///
    /// # Errors
    /// `LimitExceeded` for a line that is longer than the limit, as soon as it is.
    pub(super) fn line(&mut self) -> Result<Option<Bytes>> {
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let end = memchr(b'\n', rest).map(|at| self.searched + at);
        if end.unwrap_or(self.buffer.len()) > self.limit {
            let message = format!("the claude CLI wrote a line of more than {} bytes", self.limit);
            return Err(failure(ErrorKind::LimitExceeded, "read frame").with_message(message));
        }
        let Some(end) = end else {
            self.searched = self.buffer.len();
            return Ok(None);
        };
        self.searched = 0;
        let mut line = self.buffer.split_to(end + 1).freeze();
        line.truncate(end);
        if line.ends_with(b"\r") {
            line.truncate(end - 1);
        }
        Ok(Some(line))
    }

    /// The beginning of a line that never ended.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]], limit: usize) -> Result<Vec<Bytes>> {
        let mut framer = Framer::new(limit);
        let mut lines = Vec::new();
        for piece in pieces {
            framer.push(piece);
            while let Some(line) = framer.line()? {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    #[test]
    fn a_stream_has_the_same_lines_wherever_it_is_cut() {
        let stream = b"{\"a\":1}\n\nnot json\r\n{\"b\":\"\xc3\xa4\"}\nrest";
        let whole = lines(&[stream], 100).unwrap();
        assert_eq!(whole, [&b"{\"a\":1}"[..], b"", b"not json", b"{\"b\":\"\xc3\xa4\"}"]);
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(lines(&[head, tail], 100).unwrap(), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(lines(&bytes, 100).unwrap(), whole);
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        assert_eq!(lines(&[b"12345\n"], 5).unwrap(), [&b"12345"[..]]);
        for pieces in [&[&b"123456\n"[..]][..], &[b"123", b"456"], &[b"123456"]] {
            assert_eq!(lines(pieces, 5).unwrap_err().kind(), ErrorKind::LimitExceeded);
        }
    }

    #[test]
    fn twelve_mebibytes_are_one_line() {
        let mut framer = Framer::new(64 << 20);
        let piece = vec![b'x'; 1 << 16];
        for _ in 0..192 {
            framer.push(&piece);
            assert_eq!(framer.line().unwrap(), None);
        }
        framer.push(b"\n");
        assert_eq!(framer.line().unwrap().unwrap().len(), 12 << 20);
    }
}

use std::collections::VecDeque;

use crate::runtime::{RedactStream, Redactor};

/// One output stream of a command: its beginning and its end, secrets taken out.
pub(super) struct Capture {
    redact: RedactStream,
    /// How many bytes are kept of the beginning, and as many of the end.
    keep: usize,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Capture {
    pub(super) fn new(redactor: &Redactor, keep: usize) -> Self {
        Self { redact: redactor.stream(), keep, head: Vec::new(), tail: VecDeque::new(), dropped: 0 }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        let clean = self.redact.push(piece);
        self.add(&clean);
    }

    /// Counts what never came here.
    pub(super) fn count_dropped(&mut self, bytes: u64) {
        self.dropped += bytes;
    }

    fn add(&mut self, clean: &[u8]) {
        let room = self.keep - self.head.len();
        let (head, tail) = clean.split_at(room.min(clean.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(tail);
        let excess = self.tail.len().saturating_sub(self.keep);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
    }

    /// The text, with what is not UTF-8 replaced, and how many bytes of its middle are missing.
    pub(super) fn finish(mut self) -> (String, u64) {
        let redact = std::mem::replace(&mut self.redact, Redactor::default().stream());
        self.add(&redact.finish());
        let mut bytes = self.head;
        if self.dropped > 0 {
            bytes.extend_from_slice(format!("\n[{} bytes left out]\n", self.dropped).as_bytes());
        }
        bytes.extend(self.tail);
        (String::from_utf8_lossy(&bytes).into_owned(), self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use agentx_resource::Secret;

    use super::*;

    fn capture(keep: usize, pieces: &[&[u8]]) -> String {
        let redactor = Redactor::new([Secret::new("s3cret-value")]);
        let mut capture = Capture::new(&redactor, keep);
        for piece in pieces {
            capture.push(piece);
        }
        capture.finish().0
    }

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        assert_eq!(capture(4, &[b"abcd"]), "abcd");
        assert_eq!(capture(4, &[b"ab", b"cdefgh"]), "abcdefgh");
        assert_eq!(capture(4, &[b"abcdefgh", b"i"]), "abcd\n[1 bytes left out]\nfghi");
        assert_eq!(
            capture(4, &[b"abc", b"0123456789".repeat(1000).as_slice()]),
            "abc0\n[9995 bytes left out]\n6789"
        );
    }

    #[test]
    fn a_secret_that_comes_in_two_pieces_is_taken_out() {
        assert_eq!(capture(100, &[b"key: s3cret", b"-value."]), "key: [redacted].");
    }

    #[test]
    fn what_is_not_text_is_replaced() {
        assert_eq!(capture(100, &[b"a\xffb"]), "a\u{fffd}b");
    }
}

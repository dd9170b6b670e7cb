//! Server-sent events, as far as they are needed here: the data of each.

use agentx_resource::{Error, ErrorKind, Result};
use bytes::Bytes;

/// The most bytes of one event: 1 MiB. What a server of ours sends is a tenth of it.
const EVENT_LIMIT: usize = 1 << 20;

/// Takes the bytes of a stream as they come, and gives the data of each event that is complete. Comments and all other
/// fields are skipped.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    line: Vec<u8>,
    data: Vec<u8>,
    /// The event has data, be it empty.
    begun: bool,
}

impl Decoder {
    /// Gives each event to `take`.
    ///
    /// # Errors
    /// `LimitExceeded` for an event that is too long; those of `take`.
    pub(super) fn push(&mut self, bytes: &Bytes, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.data.len() + part.len() > EVENT_LIMIT {
                let error = Error::new(ErrorKind::LimitExceeded, "next_event");
                return Err(error.with_message(format!("an event of more than {EVENT_LIMIT} bytes")));
            }
            let Some(part) = part.strip_suffix(b"\n") else {
                self.line.extend_from_slice(part);
                return Ok(());
            };
            // Most lines come whole, and need no copy.
            let line = if self.line.is_empty() {
                part
            } else {
                self.line.extend_from_slice(part);
                &self.line
            };
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                if std::mem::take(&mut self.begun) {
                    take(&self.data)?;
                    self.data.clear();
                }
            } else if let Some(data) = line.strip_prefix(b"data:") {
                if std::mem::replace(&mut self.begun, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
            self.line.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        ": beat\n\ndata: one\n\nid: 7\nevent: x\ndata:two\ndata: lines\r\n\r\ndata\ndata:\n\nretry: 5\n\n\n";

    fn decode(pieces: &[&[u8]]) -> Vec<String> {
        let (mut decoder, mut events) = (Decoder::default(), Vec::new());
        for piece in pieces {
            let piece = Bytes::copy_from_slice(piece);
            let take = |data: &[u8]| {
                events.push(String::from_utf8(data.to_vec()).unwrap());
                Ok(())
            };
            decoder.push(&piece, take).unwrap();
        }
        events
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let bytes = TEXT.as_bytes();
        let whole = decode(&[bytes]);
        assert_eq!(whole, ["one", "two\nlines", ""]);
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(decode(&[head, tail]), whole, "cut at {at}");
        }
        assert_eq!(decode(&bytes.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn an_event_without_its_end_is_none() {
        assert!(decode(&[b"data: half\n"]).is_empty());
    }

    #[test]
    fn an_event_without_bound_is_refused() {
        let mut decoder = Decoder::default();
        let piece = Bytes::from(vec![b'x'; EVENT_LIMIT / 2]);
        decoder.push(&piece, |_| Ok(())).unwrap();
        decoder.push(&piece, |_| Ok(())).unwrap();
        let error = decoder.push(&piece, |_| Ok(())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    }
}

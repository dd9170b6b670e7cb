//! One message a line: what a server writes, as a function of bytes.

use agentx_core::ErrorKind;
use bytes::BytesMut;
use memchr::memchr;
use rmcp::model::{ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage};
use serde::{Deserialize, de::IgnoredAny};

/// The longest message.
pub(super) const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// How much may come that is no message, between two that are: banners and logs of programs that don't know better.
pub(super) const MAX_STRAY_BYTES: usize = 1 << 20;
/// How much of the first of it is kept, to be told when the server fails.
const STRAY_KEPT: usize = 200;

/// What came of a server's standard output so far.
#[derive(Default)]
pub(super) struct Lines {
    buffer: BytesMut,
    /// How far there is no end of a line.
    searched: usize,
    stray: usize,
    sample: Option<String>,
}

/// Why no more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flood {
    Message,
    Stray,
}

impl Flood {
    pub(super) fn told(self) -> (ErrorKind, String) {
        match self {
            Self::Message => (
                ErrorKind::LimitExceeded,
                format!("it sent a message of more than {MAX_MESSAGE_BYTES} bytes, and was ended"),
            ),
            Self::Stray => (
                ErrorKind::Corrupt,
                format!("it wrote more than {MAX_STRAY_BYTES} bytes that are no messages, and was ended"),
            ),
        }
    }
}

impl Lines {
    pub(super) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next message of what was pushed.
    pub(super) fn next_message(&mut self) -> Result<Option<ServerJsonRpcMessage>, Flood> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(end) = memchr(b'\n', unsearched) else {
                self.searched = self.buffer.len();
                return if self.searched > MAX_MESSAGE_BYTES { Err(Flood::Message) } else { Ok(None) };
            };
            let line = self.buffer.split_to(self.searched + end + 1);
            self.searched = 0;
            if line.len() > MAX_MESSAGE_BYTES {
                return Err(Flood::Message);
            }
            self.stray += line.len();
            let is_blank = line.trim_ascii().is_empty();
            if let Some(message) = (!is_blank).then(|| parse(&line)).flatten() {
                self.stray = 0;
                return Ok(Some(message));
            }
            if self.sample.is_none() && !is_blank {
                let start = line.get(..STRAY_KEPT).unwrap_or(&line);
                self.sample = Some(String::from_utf8_lossy(start).trim().to_owned());
            }
            if self.stray > MAX_STRAY_BYTES {
                return Err(Flood::Stray);
            }
        }
    }

    /// The beginning of the first line that was no message.
    pub(super) fn sample(&self) -> Option<&str> {
        self.sample.as_deref()
    }
}

/// What tells an answer from everything else.
#[derive(Deserialize)]
struct Shape {
    id: Option<RequestId>,
    method: Option<IgnoredAny>,
}

/// The message of a line; none where it has none that this version knows.
fn parse(line: &[u8]) -> Option<ServerJsonRpcMessage> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let error = match serde_json::from_slice(line) {
        Ok(message) => return Some(message),
        Err(error) => error,
    };
    // Whoever waits for this answer is told that it can't be read, rather than left waiting.
    match serde_json::from_slice(line) {
        Ok(Shape { id: Some(id), method: None }) => {
            let message = format!("the answer is not one of the protocol: {error}");
            Some(ServerJsonRpcMessage::error(ErrorData::new(ErrorCode::PARSE_ERROR, message, None), Some(id)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str =
        r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"grüße\n"}]}}"#;

    fn all(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Vec<String>, Flood> {
        let mut lines = Lines::default();
        let mut messages = Vec::new();
        for piece in pieces {
            lines.push(piece.as_ref());
            while let Some(message) = lines.next_message()? {
                messages.push(serde_json::to_string(&message).unwrap());
            }
        }
        Ok(messages)
    }

    #[test]
    fn messages_come_whole_however_the_bytes_are_cut() {
        let text = format!("banner\r\n\u{feff}{ANSWER}\r\n\n{{\"jsonrpc\":\"2.0\"\n{ANSWER}\n{ANSWER}");
        let whole = all([&text]).unwrap();
        assert_eq!(whole.len(), 2, "the last one has no end: {whole:?}");
        assert_eq!(all(text.bytes().map(|byte| [byte])).unwrap(), whole);
        for cut in 0..text.len() {
            let (start, end) = text.as_bytes().split_at(cut);
            assert_eq!(all([start, end]).unwrap(), whole);
        }
    }

    #[test]
    fn an_answer_that_can_not_be_read_is_an_error_to_whoever_waits_for_it() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        for line in [
            format!(r#"{{"jsonrpc":"2.0","id":7,"result":{deep}}}"#),
            r#"{"jsonrpc":"2.0","id":7}"#.to_owned(),
            r#"{"id":7,"result":{}}"#.to_owned(),
        ] {
            let messages = all([line.clone() + "\n"]).unwrap();
            assert!(
                messages[0].contains("\"error\"") && messages[0].contains("\"id\":7"),
                "{line}: {messages:?}"
            );
        }
    }

    #[test]
    fn what_is_no_message_is_passed_over_and_bounded() {
        let log = format!("{}\n", "x".repeat((64 << 10) - 1));
        let limit = MAX_STRAY_BYTES / log.len();
        let some = std::iter::repeat_n(log.as_str(), limit);
        let answer = format!("{ANSWER}\n");
        let twice = some.clone().chain([answer.as_str()]).chain(some.clone()).chain([answer.as_str()]);
        assert_eq!(all(twice).unwrap().len(), 2);
        assert_eq!(all(some.chain([log.as_str()])), Err(Flood::Stray));
        assert_eq!(all(["\n".repeat(MAX_STRAY_BYTES + 1)]), Err(Flood::Stray));
    }

    #[test]
    fn a_message_has_a_bound() {
        let piece = "x".repeat(1 << 20);
        assert_eq!(all(std::iter::repeat_n(&piece, 17)), Err(Flood::Message));
        assert_eq!(all([format!("{}\n", "x".repeat(MAX_MESSAGE_BYTES))]), Err(Flood::Message));
    }
}

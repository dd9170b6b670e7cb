use std::collections::VecDeque;

use bytes::Bytes;

use super::{ExecEvent, OnExceed, OutputLimit, OutputStream};

/// An [`OutputLimit`] in force on one stream, for authors of providers: what was read goes in, what is to be told comes
/// out. Holds at most the limit's tail.
///
/// ```
/// use agentx_resource::{ExecEvent, LimitedOutput, OutputLimit, OutputStream};
///
/// let mut output = LimitedOutput::new(OutputStream::Stdout, OutputLimit::head_and_tail(3, 2));
/// assert_eq!(output.push(b"abcdefg"), Some(ExecEvent::Stdout("abc".into())));
/// let dropped = ExecEvent::Truncated { stream: OutputStream::Stdout, dropped: 2 };
/// assert_eq!(output.finish(), Some(dropped));
/// assert_eq!(output.finish(), Some(ExecEvent::Stdout("fg".into())));
/// assert_eq!(output.finish(), None);
/// ```
#[derive(Debug)]
pub struct LimitedOutput {
    stream: OutputStream,
    head_left: u64,
    tail_limit: usize,
    tail: VecDeque<u8>,
    dropped: u64,
    kills: bool,
    truncation_told: bool,
}

impl LimitedOutput {
    /// A stream of which nothing was read yet.
    pub fn new(stream: OutputStream, limit: OutputLimit) -> Self {
        Self {
            stream,
            head_left: limit.head,
            tail_limit: limit.tail,
            tail: VecDeque::new(),
            dropped: 0,
            kills: limit.on_exceed == OnExceed::Kill,
            truncation_told: false,
        }
    }

    /// Takes what was read, and gives what of it belongs to the head. A copy, so that a small piece does not hold a
    /// large buffer.
    pub fn push(&mut self, read: &[u8]) -> Option<ExecEvent> {
        let kept = usize::try_from(self.head_left).unwrap_or(usize::MAX).min(read.len());
        self.head_left -= kept as u64;
        let (head, rest) = read.split_at_checked(kept).unwrap_or((read, &[]));
        self.keep_tail(rest);
        (!head.is_empty()).then(|| self.output(Bytes::copy_from_slice(head)))
    }

    /// Whether the command is to be killed for its output.
    pub fn is_exceeded(&self) -> bool {
        self.kills && self.dropped > 0
    }

    /// What is still to be told when the stream has ended, one event at a call: what was thrown away, then the tail.
    pub fn finish(&mut self) -> Option<ExecEvent> {
        if self.dropped > 0 && !std::mem::replace(&mut self.truncation_told, true) {
            return Some(ExecEvent::Truncated { stream: self.stream, dropped: self.dropped });
        }
        let tail = Vec::from(std::mem::take(&mut self.tail));
        (!tail.is_empty()).then(|| self.output(tail.into()))
    }

    /// How many bytes of the head are still wanted.
    pub(crate) fn head_left(&self) -> u64 {
        self.head_left
    }

    fn keep_tail(&mut self, rest: &[u8]) {
        // Of more than the tail holds, only the end can stay.
        let (lost, end) =
            rest.split_at_checked(rest.len().saturating_sub(self.tail_limit)).unwrap_or((rest, &[]));
        let full = (self.tail.len() + end.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..full);
        self.tail.extend(end);
        self.dropped += (lost.len() + full) as u64;
    }

    fn output(&self, bytes: Bytes) -> ExecEvent {
        match self.stream {
            OutputStream::Stdout => ExecEvent::Stdout(bytes),
            OutputStream::Stderr => ExecEvent::Stderr(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(limit: OutputLimit, pieces: &[&str]) -> (String, u64, String) {
        let mut output = LimitedOutput::new(OutputStream::Stderr, limit);
        let (mut head, mut dropped, mut tail) = (String::new(), 0, String::new());
        for piece in pieces {
            if let Some(ExecEvent::Stderr(bytes)) = output.push(piece.as_bytes()) {
                head.push_str(str::from_utf8(&bytes).unwrap());
            }
        }
        while let Some(event) = output.finish() {
            match event {
                ExecEvent::Stderr(bytes) => tail.push_str(str::from_utf8(&bytes).unwrap()),
                ExecEvent::Truncated { dropped: count, .. } => {
                    assert_eq!(tail, "");
                    dropped = count;
                }
                event => panic!("{event:?}"),
            }
        }
        (head, dropped, tail)
    }

    #[test]
    fn head_and_tail_are_kept_however_the_pieces_fall() {
        let text: String = ('a'..='z').collect();
        for size in 1..=text.len() {
            let pieces: Vec<&str> =
                text.as_bytes().chunks(size).map(|piece| str::from_utf8(piece).unwrap()).collect();
            for head in 0..28 {
                for tail in 0..28 {
                    let told = run(OutputLimit::head_and_tail(head as u64, tail), &pieces);
                    let begin = &text[..head.min(26)];
                    let end = &text[begin.len().max(26_usize.saturating_sub(tail))..];
                    let dropped = (26 - begin.len() - end.len()) as u64;
                    assert_eq!(told, (begin.to_owned(), dropped, end.to_owned()), "{size} {head} {tail}");
                }
            }
        }
    }

    #[test]
    fn a_limit_that_is_met_exactly_is_not_exceeded() {
        let mut output = LimitedOutput::new(OutputStream::Stdout, OutputLimit::kill(3));
        assert_eq!(output.push(b"abc"), Some(ExecEvent::Stdout("abc".into())));
        assert!(!output.is_exceeded());
        assert_eq!(output.push(b"d"), None);
        assert!(output.is_exceeded());
    }
}

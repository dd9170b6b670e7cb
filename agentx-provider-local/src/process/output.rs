use std::{
    io,
    task::{Context, Poll, ready},
};

use agentx_resource::{ExecEvent, OnExceed, OutputLimit, OutputStream};
use bytes::Bytes;
use tokio::net::unix::pipe::Receiver;

/// The largest piece of output that one event carries.
const MAX_PIECE: usize = 64 << 10;
/// Most commands write little; the buffer grows for those that fill it.
const FIRST_PIECE: usize = 8 << 10;
/// What is read at most of a pipe that is given up: the most that a pipe can hold.
const MAX_REST: u64 = 1 << 20;

/// The end of a pipe that a command writes to, with the limit on what is kept of it.
#[derive(Debug)]
pub(super) struct Output {
    /// None once it has ended.
    pipe: Option<Receiver>,
    keep: Keep,
    /// How much more is read once the pipe is given up.
    rest: u64,
}

/// What came of a look at a pipe.
#[derive(Debug)]
pub(super) enum Step {
    /// Something to tell.
    Event(ExecEvent),
    /// The limit was exceeded, and the command is to be killed. Told once.
    Exceeded,
    /// All was told.
    Ended,
}

/// A limit in force on one stream.
#[derive(Debug)]
pub(super) struct Keep {
    stream: OutputStream,
    left: u64,
    dropped: u64,
    /// Exceeding it is still to be told.
    kill: bool,
    truncated_told: bool,
}

impl Output {
    pub(super) fn new(pipe: Receiver, stream: OutputStream, limit: OutputLimit) -> Self {
        Self { pipe: Some(pipe), keep: Keep::new(stream, limit), rest: MAX_REST }
    }

    /// Reads the next piece. `eager` tries at once, without waiting to be told that there is something.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        eager: bool,
    ) -> Poll<io::Result<Step>> {
        let mut eager = eager;
        loop {
            if self.keep.is_exceeded() {
                return Poll::Ready(Ok(Step::Exceeded));
            }
            let Some(pipe) = &self.pipe else { return Poll::Ready(Ok(self.keep.end())) };
            if buffer.is_empty() {
                buffer.resize(FIRST_PIECE, 0);
            }
            let count = if std::mem::take(&mut eager) {
                read(pipe, buffer)
            } else {
                ready!(pipe.poll_read_ready(cx)).and_then(|()| pipe.try_io(|| read(pipe, buffer)))
            };
            match count {
                Ok(count) => {
                    if let Some(event) = self.take(count, buffer) {
                        return Poll::Ready(Ok(Step::Event(event)));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.pipe = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Reads what the pipe still holds and then gives it up, whoever has its other end. Never waits.
    pub(super) fn finish(&mut self, buffer: &mut Vec<u8>) -> Step {
        while let Some(pipe) = &self.pipe {
            match read(pipe, buffer) {
                Ok(count) if self.rest > 0 => {
                    self.rest = self.rest.saturating_sub(count as u64);
                    if let Some(event) = self.take(count, buffer) {
                        return Step::Event(event);
                    }
                }
                _ => self.pipe = None,
            }
        }
        self.keep.end()
    }

    /// Takes what was read into the buffer; nothing read means that the stream has ended.
    fn take(&mut self, count: usize, buffer: &mut Vec<u8>) -> Option<ExecEvent> {
        if count == 0 {
            self.pipe = None;
            return None;
        }
        let event = self.keep.piece(buffer.get(..count).unwrap_or_default());
        if count == buffer.len() && count < MAX_PIECE {
            buffer.resize(MAX_PIECE, 0);
        }
        event
    }
}

impl Keep {
    pub(super) fn new(stream: OutputStream, limit: OutputLimit) -> Self {
        let kill = limit.on_exceed == OnExceed::Kill;
        Self { stream, left: limit.bytes, dropped: 0, kill, truncated_told: false }
    }

    /// What of a piece is within the limit. A copy, so that a small piece does not hold a large buffer.
    pub(super) fn piece(&mut self, read: &[u8]) -> Option<ExecEvent> {
        let kept = usize::try_from(self.left).unwrap_or(usize::MAX).min(read.len());
        self.left -= kept as u64;
        self.dropped += (read.len() - kept) as u64;
        let kept = Bytes::copy_from_slice(read.get(..kept).unwrap_or_default());
        (!kept.is_empty()).then_some(match self.stream {
            OutputStream::Stdout => ExecEvent::Stdout(kept),
            OutputStream::Stderr => ExecEvent::Stderr(kept),
        })
    }

    /// Whether the command is to be killed for its output; said once.
    fn is_exceeded(&mut self) -> bool {
        self.dropped > 0 && std::mem::take(&mut self.kill)
    }

    /// What is left to tell when the stream has ended.
    pub(super) fn end(&mut self) -> Step {
        if self.dropped == 0 || std::mem::replace(&mut self.truncated_told, true) {
            return Step::Ended;
        }
        Step::Event(ExecEvent::Truncated { stream: self.stream, dropped: self.dropped })
    }
}

fn read(pipe: &Receiver, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut *buffer))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_cuts_at_its_byte_and_counts_the_rest() {
        let mut keep = Keep::new(OutputStream::Stderr, OutputLimit::truncate(5));
        assert_eq!(keep.piece(b"abc"), Some(ExecEvent::Stderr("abc".into())));
        assert_eq!(keep.piece(b"def"), Some(ExecEvent::Stderr("de".into())));
        assert_eq!(keep.piece(b"ghi"), None);
        assert!(!keep.is_exceeded());
        let Step::Event(event) = keep.end() else { panic!("nothing told") };
        assert_eq!(event, ExecEvent::Truncated { stream: OutputStream::Stderr, dropped: 4 });
        assert!(matches!(keep.end(), Step::Ended));
    }

    #[test]
    fn a_limit_that_is_met_exactly_is_not_exceeded() {
        let mut keep = Keep::new(OutputStream::Stdout, OutputLimit::kill(3));
        assert_eq!(keep.piece(b"abc"), Some(ExecEvent::Stdout("abc".into())));
        assert!(!keep.is_exceeded());
        assert_eq!(keep.piece(b"d"), None);
        assert!(keep.is_exceeded() && !keep.is_exceeded());
    }
}

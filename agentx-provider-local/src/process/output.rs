use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    task::{Context, Poll, ready},
};

use agentx_resource::{ExecEvent, LimitedOutput, OutputLimit, OutputStream};
use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::unix::pipe::Receiver,
    runtime::Handle,
};

/// The largest piece of output that one event carries.
const MAX_PIECE: usize = 64 << 10;
/// Most commands write little; the buffer grows for those that fill it.
const FIRST_PIECE: usize = 8 << 10;
/// How much is read before the runtime is asked to tell when there is more.
const MAX_UNWATCHED: u64 = 64 << 10;
/// What is read at most of a pipe that is given up: the most that a pipe can hold.
const MAX_REST: u64 = 1 << 20;

/// The end of a pipe that a command writes to, with the limit on what is kept of it.
#[derive(Debug)]
pub(super) struct Output {
    /// None once it has ended.
    pipe: Option<Pipe>,
    keep: LimitedOutput,
    /// Exceeding the limit was told.
    exceeded_told: bool,
    read: u64,
    /// How much more is read once the pipe is given up.
    rest: u64,
}

/// Waiting for a pipe costs, and most commands have ended before it comes to that.
#[derive(Debug)]
enum Pipe {
    Unwatched(OwnedFd),
    Watched(Receiver),
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

impl Output {
    /// Output that comes through this pipe, which never blocks; none without one.
    pub(super) fn new(pipe: Option<OwnedFd>, stream: OutputStream, limit: OutputLimit) -> Self {
        Self {
            pipe: pipe.map(Pipe::Unwatched),
            keep: LimitedOutput::new(stream, limit),
            exceeded_told: false,
            read: 0,
            rest: MAX_REST,
        }
    }

    /// Reads the next piece. `eager` tries at once, without waiting to be told that there is something.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &Handle,
        buffer: &mut Vec<u8>,
        eager: bool,
    ) -> Poll<io::Result<Step>> {
        let mut eager = eager;
        loop {
            if self.keep.is_exceeded() && !std::mem::replace(&mut self.exceeded_told, true) {
                return Poll::Ready(Ok(Step::Exceeded));
            }
            // A runtime shares the time between tasks by what they wait for: much must not come without it.
            if self.read >= MAX_UNWATCHED
                && let Err(error) = self.watch(runtime)
            {
                return Poll::Ready(Err(error));
            }
            let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(self.end())) };
            make_room(buffer);
            let count = match pipe {
                Pipe::Unwatched(pipe) => read(pipe, buffer),
                Pipe::Watched(pipe) if std::mem::take(&mut eager) => read(pipe, buffer),
                Pipe::Watched(pipe) => ready!(poll_read(pipe, cx, buffer)),
            };
            match count {
                Ok(count) => {
                    if let Some(event) = self.take(count, buffer) {
                        return Poll::Ready(Ok(Step::Event(event)));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = self.watch(runtime) {
                        return Poll::Ready(Err(error));
                    }
                }
                Err(error) => {
                    self.pipe = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Has the runtime tell when there is more.
    fn watch(&mut self, runtime: &Handle) -> io::Result<()> {
        if let Some(Pipe::Unwatched(_)) = &self.pipe
            && let Some(Pipe::Unwatched(pipe)) = self.pipe.take()
        {
            let _entered = runtime.enter();
            self.pipe = Some(Pipe::Watched(Receiver::from_owned_fd_unchecked(pipe)?));
        }
        Ok(())
    }

    /// How many bytes were read, kept or not.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read
    }

    /// Reads what the pipe still holds and then gives it up, whoever has its other end. Never waits.
    pub(super) fn finish(&mut self, buffer: &mut Vec<u8>) -> Step {
        make_room(buffer);
        while let Some(pipe) = &self.pipe {
            let count = match pipe {
                Pipe::Unwatched(pipe) => read(pipe, buffer),
                Pipe::Watched(pipe) => read(pipe, buffer),
            };
            match count {
                Ok(count) if self.rest > 0 => {
                    self.rest = self.rest.saturating_sub(count as u64);
                    if let Some(event) = self.take(count, buffer) {
                        return Step::Event(event);
                    }
                }
                _ => self.pipe = None,
            }
        }
        self.end()
    }

    /// Takes what was read into the buffer; nothing read means that the stream has ended.
    fn take(&mut self, count: usize, buffer: &mut Vec<u8>) -> Option<ExecEvent> {
        if count == 0 {
            self.pipe = None;
            return None;
        }
        self.read += count as u64;
        let event = self.keep.push(buffer.get(..count).unwrap_or_default());
        if count == buffer.len() && count < MAX_PIECE {
            buffer.resize(MAX_PIECE, 0);
        }
        event
    }

    /// What is left to tell when the stream has ended.
    fn end(&mut self) -> Step {
        self.keep.finish().map_or(Step::Ended, Step::Event)
    }
}

fn make_room(buffer: &mut Vec<u8>) {
    if buffer.is_empty() {
        buffer.resize(FIRST_PIECE, 0);
    }
}

/// Reads when the runtime says so. It takes what did not fill the buffer for all that there is, without another look.
fn poll_read(pipe: &mut Receiver, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    let outcome = ready!(Pin::new(pipe).poll_read(cx, &mut buffer));
    Poll::Ready(ended(outcome.map(|()| buffer.filled().len())))
}

fn read(pipe: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&pipe, &mut *buffer));
    ended(count.map_err(io::Error::from))
}

/// A terminal of which nobody holds the other end any more has ended.
fn ended(count: io::Result<usize>) -> io::Result<usize> {
    match count {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => Ok(0),
        count => count,
    }
}

use std::{
    future::poll_fn,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use agentx_resource::{Error, ErrorKind, Result};
use bytes::{Buf, Bytes};
use tokio::net::unix::pipe::Sender;

use super::{error, failure};

/// What a command reads.
#[derive(Debug)]
pub(super) struct Input {
    /// Whether callers write, or the bytes are known from the start.
    live: bool,
    /// One writer at a time, so that each one's bytes stay together.
    turn: futures::lock::Mutex<()>,
    /// What is written when it is closed: a terminal has no other way to say so.
    ending: &'static [u8],
    pipe: Mutex<Pipe>,
}

#[derive(Debug)]
struct Pipe {
    /// None once it is closed.
    open: Option<Sender>,
    /// What is still to be fed from the start.
    rest: Bytes,
    /// The writer that waits for room, to be told when the pipe is closed under it.
    waiting: Option<Waker>,
}

impl Input {
    /// Input that callers write, with `ending` behind it when it is closed.
    pub(super) fn live(pipe: Option<Sender>, ending: &'static [u8]) -> Self {
        Self { ending, ..Self::new(true, pipe, Bytes::new()) }
    }

    /// Input that is known from the start; without a pipe there is none.
    pub(super) fn bytes(pipe: Option<Sender>, bytes: Bytes) -> Self {
        Self::new(false, pipe, bytes)
    }

    fn new(live: bool, open: Option<Sender>, rest: Bytes) -> Self {
        Self {
            live,
            turn: futures::lock::Mutex::new(()),
            ending: &[],
            pipe: Mutex::new(Pipe { open, rest, waiting: None }),
        }
    }

    pub(super) async fn write(&self, mut data: Bytes) -> Result<()> {
        if !self.live {
            return Err(not_piped());
        }
        let _turn = self.turn.lock().await;
        poll_fn(|cx| {
            let mut pipe = self.pipe();
            let outcome = pipe.write(cx, &mut data);
            if outcome.is_pending() {
                pipe.waiting = Some(cx.waker().clone());
            }
            outcome
        })
        .await
    }

    pub(super) fn close(&self) {
        if self.live {
            let mut pipe = self.pipe();
            if let Some(open) = pipe.open.take().filter(|_| !self.ending.is_empty()) {
                // A terminal that takes no more holds input that nobody reads.
                let _ = open.try_write(self.ending);
            }
            if let Some(writer) = pipe.waiting.take() {
                writer.wake();
            }
        }
    }

    /// Hands over what was known from the start, as far as the command takes it, and then closes the pipe.
    pub(super) fn feed(&self, cx: &mut Context<'_>) {
        if self.live {
            return;
        }
        let mut pipe = self.pipe();
        if pipe.open.is_none() {
            return;
        }
        let mut rest = std::mem::take(&mut pipe.rest);
        // A command need not read its input, so an error is no failure.
        if pipe.write(cx, &mut rest).is_ready() {
            pipe.open = None;
        } else {
            pipe.rest = rest;
        }
    }

    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    /// Writes until `data` is empty.
    fn write(&mut self, cx: &mut Context<'_>, data: &mut Bytes) -> Poll<Result<()>> {
        let Some(pipe) = &self.open else {
            let error = error(ErrorKind::InvalidInput, "write_stdin").with_message("the input is closed");
            return Poll::Ready(Err(error));
        };
        while !data.is_empty() {
            ready!(pipe.poll_write_ready(cx)).map_err(|source| failure("write_stdin", source))?;
            match pipe.try_write(data) {
                Ok(count) => data.advance(count),
                Err(source) => match source.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => {}
                    io::ErrorKind::BrokenPipe => return Poll::Ready(Err(not_read(source))),
                    _ => return Poll::Ready(Err(failure("write_stdin", source))),
                },
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The answer of a command whose request did not ask for live input.
pub(super) fn not_piped() -> Error {
    error(ErrorKind::Unsupported, "write_stdin")
        .with_message("the command was started without `Stdin::Piped`")
}

/// The answer of a command that does not read any more.
pub(super) fn not_read(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error(ErrorKind::Unavailable, "write_stdin");
    error.with_message("the command does not read its input any more").with_source(source)
}

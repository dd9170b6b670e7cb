use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::super::lock;
use crate::{ExecEvent, LimitedOutput, OutputLimit, OutputStream};

/// How many bytes wait for the caller: 64 KiB of both streams together.
const CAPACITY: usize = 64 << 10;
/// How many pieces wait for the caller.
const PIECES: usize = 1024;

/// Where a program writes: its output or its messages. A clone writes to the same stream.
#[derive(Clone)]
pub struct ProgramOutput {
    pipe: Arc<OutputPipe>,
    stream: OutputStream,
}

/// The way from the program to the caller, both streams in the order of writing.
pub(super) struct OutputPipe {
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<ExecEvent>,
    queued: usize,
    stdout: LimitedOutput,
    stderr: LimitedOutput,
    /// How often something was written.
    writes: u64,
    writers: Vec<Waker>,
}

impl ProgramOutput {
    pub(super) fn new(pipe: Arc<OutputPipe>, stream: OutputStream) -> Self {
        Self { pipe, stream }
    }

    /// Writes all of `data`; waits while 64 KiB wait for the caller. A write beyond a limit that kills never
    /// completes.
    pub async fn write(&self, data: impl Into<Bytes>) {
        let mut rest = data.into();
        // A program that writes for ever must let others run, also when all of its output is thrown away.
        let mut dropped = false;
        poll_fn(|cx| {
            if std::mem::take(&mut dropped) {
                return Poll::Ready(());
            }
            let written = self.pipe.poll_write(self.stream, &mut rest, cx);
            if written == Poll::Ready(Written::Dropped) {
                dropped = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            written.map(|_| ())
        })
        .await;
    }
}

impl fmt::Debug for ProgramOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramOutput").field("stream", &self.stream).finish_non_exhaustive()
    }
}

#[derive(PartialEq)]
enum Written {
    All,
    Dropped,
}

impl OutputPipe {
    pub(super) fn new(limit: OutputLimit) -> Arc<Self> {
        let state = State {
            queue: VecDeque::new(),
            queued: 0,
            stdout: LimitedOutput::new(OutputStream::Stdout, limit),
            stderr: LimitedOutput::new(OutputStream::Stderr, limit),
            writes: 0,
            writers: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// The next piece of output that waits.
    pub(super) fn pop(&self) -> Option<ExecEvent> {
        let mut state = lock(&self.state);
        let event = state.queue.pop_front()?;
        if let ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes) = &event {
            state.queued -= bytes.len();
        }
        std::mem::take(&mut state.writers).into_iter().for_each(Waker::wake);
        Some(event)
    }

    /// Whether the command must be killed for its output.
    pub(super) fn exceeded(&self) -> bool {
        let state = lock(&self.state);
        state.stdout.is_exceeded() || state.stderr.is_exceeded()
    }

    /// How often something was written, kept or not.
    pub(super) fn writes(&self) -> u64 {
        lock(&self.state).writes
    }

    /// What is told of each stream at its end.
    pub(super) fn rest(&self) -> VecDeque<ExecEvent> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        std::iter::from_fn(|| state.stdout.finish().or_else(|| state.stderr.finish())).collect()
    }

    fn poll_write(&self, stream: OutputStream, rest: &mut Bytes, cx: &Context<'_>) -> Poll<Written> {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let limited = match stream {
            OutputStream::Stdout => &mut state.stdout,
            OutputStream::Stderr => &mut state.stderr,
        };
        while !rest.is_empty() {
            if limited.is_exceeded() {
                return Poll::Pending;
            }
            if limited.head_left() == 0 {
                limited.push(&std::mem::take(rest));
                state.writes += 1;
                return Poll::Ready(Written::Dropped);
            }
            let room = CAPACITY.saturating_sub(state.queued);
            if room == 0 || state.queue.len() >= PIECES {
                if !state.writers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    state.writers.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
            let length = usize::try_from(limited.head_left()).unwrap_or(usize::MAX).min(rest.len()).min(room);
            state.queue.extend(limited.push(&rest.split_to(length)));
            state.queued += length;
            state.writes += 1;
        }
        Poll::Ready(Written::All)
    }
}

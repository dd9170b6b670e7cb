use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::super::{PROVIDER, lock};
use crate::{Error, ErrorKind, Result, Stdin};

/// How much live input waits for the program: 64 KiB.
const CAPACITY: usize = 64 << 10;

/// What a program reads. Dropping it tells the writer that nobody reads any more.
pub struct ProgramInput(Arc<InputPipe>);

/// The way from the caller to the program.
pub(super) struct InputPipe {
    live: bool,
    state: Mutex<State>,
}

struct State {
    queue: VecDeque<Bytes>,
    queued: usize,
    /// The caller writes no more.
    closed: bool,
    /// The program reads no more.
    abandoned: bool,
    reader: Option<Waker>,
    writers: Vec<Waker>,
}

impl ProgramInput {
    pub(super) fn new(pipe: Arc<InputPipe>) -> Self {
        Self(pipe)
    }

    /// The next piece, or `None` at the end.
    pub async fn read(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.0.poll_read(cx)).await
    }
}

impl Drop for ProgramInput {
    fn drop(&mut self) {
        let writers = {
            let mut state = lock(&self.0.state);
            state.abandoned = true;
            state.queue.clear();
            std::mem::take(&mut state.writers)
        };
        writers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for ProgramInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProgramInput").finish_non_exhaustive()
    }
}

impl InputPipe {
    pub(super) fn new(stdin: &Stdin) -> Arc<Self> {
        let (live, first) = match stdin {
            Stdin::Null => (false, None),
            Stdin::Bytes(bytes) => (false, Some(bytes.clone()).filter(|bytes| !bytes.is_empty())),
            Stdin::Piped => (true, None),
        };
        let state = State {
            queued: first.as_ref().map_or(0, Bytes::len),
            queue: first.into_iter().collect(),
            closed: !live,
            abandoned: false,
            reader: None,
            writers: Vec::new(),
        };
        Arc::new(Self { live, state: Mutex::new(state) })
    }

    pub(super) async fn write(&self, mut data: Bytes) -> Result<()> {
        if !self.live {
            return Err(fail(ErrorKind::Unsupported, "the command has no live input"));
        }
        poll_fn(|cx| self.poll_write(&mut data, cx)).await
    }

    pub(super) fn close(&self) {
        let reader = {
            let mut state = lock(&self.state);
            state.closed = true;
            state.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }

    fn poll_write(&self, data: &mut Bytes, cx: &Context<'_>) -> Poll<Result<()>> {
        let mut state = lock(&self.state);
        if state.closed {
            return Poll::Ready(Err(fail(ErrorKind::InvalidInput, "the input is closed")));
        }
        if state.abandoned {
            return Poll::Ready(Err(fail(ErrorKind::Unavailable, "the command no longer reads")));
        }
        let room = CAPACITY.saturating_sub(state.queued).min(data.len());
        if room > 0 {
            state.queue.push_back(data.split_to(room));
            state.queued += room;
            state.reader.take().into_iter().for_each(Waker::wake);
        }
        if data.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if !state.writers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.writers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn poll_read(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = lock(&self.state);
        if let Some(piece) = state.queue.pop_front() {
            state.queued -= piece.len();
            std::mem::take(&mut state.writers).into_iter().for_each(Waker::wake);
            return Poll::Ready(Some(piece));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn fail(kind: ErrorKind, message: &'static str) -> Error {
    Error::new(kind, "write stdin").with_provider(PROVIDER).with_message(message)
}

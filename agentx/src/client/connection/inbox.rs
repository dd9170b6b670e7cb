//! The way of events from the connection's task to one listener.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use agentx_core::{Cursor, Event};

use super::State;

/// The most events that wait for one listener, and the most bytes of frames that they came in. One that falls further behind
/// is told the rest from the server again when it has come so far.
const MAX_EVENTS: usize = 4096;
const MAX_BYTES: usize = 8 << 20;

pub(super) struct Inbox(Mutex<Waiting>);

struct Waiting {
    events: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
    /// The last event that the listener took.
    taken: Cursor,
    waker: Option<Waker>,
    /// Whether something did not fit, and the task waits for room.
    is_full: bool,
    /// Whether nothing more comes.
    is_over: bool,
    /// Whether the listener is gone.
    is_abandoned: bool,
}

impl Inbox {
    pub(super) fn new(taken: Cursor) -> Self {
        Self(Mutex::new(Waiting {
            events: VecDeque::new(),
            bytes: 0,
            taken,
            waker: None,
            is_full: false,
            is_over: false,
            is_abandoned: false,
        }))
    }

    /// The place where the listener begins.
    pub(super) fn begin(&self, place: Cursor) {
        self.lock().taken = place;
    }

    /// Takes an event in, that came in so many bytes. False where there is no room.
    pub(super) fn push(&self, event: &Arc<Event>, bytes: usize) -> bool {
        let mut waiting = self.lock();
        // One event is always taken, however large.
        let is_full = waiting.events.len() >= MAX_EVENTS || waiting.bytes.saturating_add(bytes) > MAX_BYTES;
        if is_full && !waiting.events.is_empty() {
            waiting.is_full = true;
            return false;
        }
        waiting.bytes += bytes;
        waiting.events.push_back((event.clone(), bytes));
        wake(waiting);
        true
    }

    /// Ends the stream, behind this event.
    pub(super) fn end(&self, last: Event) {
        let mut waiting = self.lock();
        waiting.events.push_back((Arc::new(last), 0));
        waiting.is_over = true;
        wake(waiting);
    }

    /// Whether the listener took all that there was.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().events.is_empty()
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.lock().is_abandoned
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let waker = waiting.waker.take();
    drop(waiting);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The end of an inbox that events come out of.
pub(in crate::client) struct Listener {
    inbox: Arc<Inbox>,
    state: Arc<State>,
}

impl Listener {
    pub(super) fn new(inbox: Arc<Inbox>, state: Arc<State>) -> Self {
        Self { inbox, state }
    }

    pub(in crate::client) fn cursor(&self) -> Cursor {
        self.inbox.lock().taken
    }

    pub(in crate::client) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        let mut waiting = self.inbox.lock();
        let Some((event, bytes)) = waiting.events.pop_front() else {
            if waiting.is_over {
                return Poll::Ready(None);
            }
            waiting.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        waiting.taken = event.cursor();
        let has_room = waiting.events.is_empty() && std::mem::take(&mut waiting.is_full);
        if waiting.events.is_empty() {
            // What a burst took is not kept.
            waiting.events = VecDeque::new();
        }
        drop(waiting);
        if has_room {
            self.state.wake.notify_one();
        }
        Poll::Ready(Some(event))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.inbox.lock().is_abandoned = true;
        self.state.wake.notify_one();
    }
}

//! What woke a connection's task, so that nothing else need be polled.

use std::{
    collections::VecDeque,
    future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::{ArcWake, AtomicWaker, waker_ref};

/// Wakes a task and remembers what for: one of the sessions that it listens to, or something else, which rings these bells
/// themselves. Whatever wakes the task for one of them costs the others nothing.
#[derive(Debug)]
pub(super) struct Bells {
    task: AtomicWaker,
    others: AtomicBool,
    sessions: Mutex<VecDeque<usize>>,
}

/// Rings for one session.
#[derive(Debug)]
pub(super) struct Bell {
    session: usize,
    /// Whether the session is among those that rang.
    rang: AtomicBool,
    bells: Arc<Bells>,
}

impl Bells {
    /// They rang: what is guarded is polled once at least.
    pub(super) fn new() -> Arc<Self> {
        let task = AtomicWaker::new();
        Arc::new(Self { task, others: AtomicBool::new(true), sessions: Mutex::default() })
    }

    /// Polls a future only where something woke it since it was polled before, also another future like it: what both
    /// wait for remembers whom to wake when the first is dropped. Once it is ready, the next one is polled in any case.
    pub(super) async fn guard<F: Future>(self: &Arc<Self>, future: F) -> F::Output {
        let mut future = pin!(future);
        future::poll_fn(|cx| {
            self.register(cx);
            if !self.others.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker_ref(self)));
            if polled.is_ready() {
                self.ring();
            }
            polled
        })
        .await
    }

    /// Has what is guarded polled in any case, the next time that the task is at it.
    pub(super) fn ring(&self) {
        self.others.store(true, Ordering::Release);
    }

    /// Wakes this task from here on.
    pub(super) fn register(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
    }

    /// A bell for the session of this number, which rang.
    pub(super) fn bell(self: &Arc<Self>, session: usize) -> Arc<Bell> {
        let bell = Bell { session, rang: AtomicBool::default(), bells: self.clone() };
        bell.ring();
        Arc::new(bell)
    }

    /// How many sessions rang.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// The session that rang first. Whoever asks it what it has hushes its bell before.
    pub(super) fn take(&self) -> Option<usize> {
        self.lock().pop_front()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArcWake for Bells {
    fn wake_by_ref(bells: &Arc<Self>) {
        bells.ring();
        bells.task.wake();
    }
}

impl Bell {
    /// Puts its session behind those that rang before.
    pub(super) fn ring(&self) {
        if !self.rang.swap(true, Ordering::AcqRel) {
            self.bells.lock().push_back(self.session);
        }
    }

    /// It may ring again. What it rang for before is seen by whoever looks after this: hence no mere store.
    pub(super) fn hush(&self) {
        self.rang.swap(false, Ordering::AcqRel);
    }
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.ring();
        bell.bells.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::{FutureExt, StreamExt, channel::mpsc};

    use super::*;

    #[test]
    fn what_nothing_woke_is_not_polled() {
        let (bells, polls) = (Bells::new(), Cell::new(0));
        let (sender, mut receiver) = mpsc::unbounded();
        // Each look is a future of its own.
        let mut look = || {
            let counted = future::poll_fn(|cx| {
                polls.set(polls.get() + 1);
                receiver.poll_next_unpin(cx)
            });
            (bells.guard(counted).now_or_never().flatten(), polls.get())
        };
        assert_eq!([look(), look()], [(None, 1), (None, 1)]);
        sender.unbounded_send("a").unwrap();
        sender.unbounded_send("b").unwrap();
        assert_eq!([look(), look()], [(Some("a"), 2), (Some("b"), 3)]);
        assert_eq!([look(), look()], [(None, 4), (None, 4)]);
    }

    #[tokio::test]
    async fn what_is_woken_wakes_the_task() {
        let (bells, (sender, mut receiver)) = (Bells::new(), mpsc::unbounded());
        assert_eq!(bells.guard(receiver.next()).now_or_never(), None);
        let sending = async { sender.unbounded_send("a").unwrap() };
        let ((), heard) = futures::join!(sending, bells.guard(receiver.next()));
        assert_eq!(heard, Some("a"));
        let asleep = async {
            tokio::task::yield_now().await;
            sender.unbounded_send("b").unwrap();
        };
        let (heard, ()) = futures::join!(bells.guard(receiver.next()), asleep);
        assert_eq!(heard, Some("b"));
    }

    #[test]
    fn sessions_are_taken_in_the_order_in_which_they_rang_and_each_once() {
        let bells = Bells::new();
        let (one, other) = (bells.bell(1), bells.bell(2));
        one.ring();
        assert_eq!((bells.count(), bells.take()), (2, Some(1)));
        one.hush();
        waker_ref(&one).wake_by_ref();
        other.ring();
        assert_eq!([bells.take(), bells.take(), bells.take()], [Some(2), Some(1), None]);
    }
}

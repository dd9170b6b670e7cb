use std::{
    future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures::task::{ArcWake, AtomicWaker, waker_ref};

/// Remembers whether a part of a task was woken: what wakes the task for something else costs this part nothing.
#[derive(Debug)]
pub(super) struct Alarm {
    rang: AtomicBool,
    task: AtomicWaker,
}

impl Alarm {
    /// One that rang: what it guards is polled once at least.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { rang: AtomicBool::new(true), task: AtomicWaker::new() })
    }

    /// Polls a future only where something woke it since it was polled before, also under this alarm and by another
    /// future like it: what both wait for remembers whom to wake when the first is dropped. Once it is ready, the next
    /// one is polled in any case.
    pub(super) async fn guard<F: Future>(self: &Arc<Self>, future: F) -> F::Output {
        let mut future = pin!(future);
        future::poll_fn(|cx| {
            self.task.register(cx.waker());
            if !self.rang.swap(false, Ordering::AcqRel) {
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

    /// Has what it guards polled in any case, the next time that the task is at it.
    pub(super) fn ring(&self) {
        self.rang.store(true, Ordering::Release);
    }
}

impl ArcWake for Alarm {
    fn wake_by_ref(alarm: &Arc<Self>) {
        alarm.ring();
        alarm.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::{FutureExt, StreamExt, channel::mpsc};

    use super::*;

    #[test]
    fn what_nothing_woke_is_not_polled() {
        let (alarm, polls) = (Alarm::new(), Cell::new(0));
        let (sender, mut receiver) = mpsc::unbounded();
        // Each look is a future of its own.
        let mut look = || {
            let counted = future::poll_fn(|cx| {
                polls.set(polls.get() + 1);
                receiver.poll_next_unpin(cx)
            });
            (alarm.guard(counted).now_or_never().flatten(), polls.get())
        };
        assert_eq!([look(), look()], [(None, 1), (None, 1)]);
        sender.unbounded_send("a").unwrap();
        sender.unbounded_send("b").unwrap();
        assert_eq!([look(), look()], [(Some("a"), 2), (Some("b"), 3)]);
        assert_eq!([look(), look()], [(None, 4), (None, 4)]);
    }

    #[tokio::test]
    async fn what_is_woken_wakes_the_task() {
        let (alarm, (sender, mut receiver)) = (Alarm::new(), mpsc::unbounded());
        assert_eq!(alarm.guard(receiver.next()).now_or_never(), None);
        let sending = async { sender.unbounded_send("a").unwrap() };
        let ((), heard) = futures::join!(sending, alarm.guard(receiver.next()));
        assert_eq!(heard, Some("a"));
        let asleep = async {
            tokio::task::yield_now().await;
            sender.unbounded_send("b").unwrap();
        };
        let (heard, ()) = futures::join!(alarm.guard(receiver.next()), asleep);
        assert_eq!(heard, Some("b"));
    }
}

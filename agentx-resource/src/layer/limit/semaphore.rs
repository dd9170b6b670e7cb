use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::channel::oneshot;

/// A number of permits, given out in the order of asking.
#[derive(Clone)]
pub(super) struct Semaphore(Arc<Mutex<State>>);

struct State {
    free: usize,
    waiting: VecDeque<oneshot::Sender<Permit>>,
}

/// One permit. Dropping it gives it back.
pub(in super::super) struct Permit(Option<Semaphore>);

impl Semaphore {
    pub(super) fn new(permits: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: permits, waiting: VecDeque::new() })))
    }

    /// Waits for a permit. Dropping the future gives up the place in the queue.
    pub(super) async fn acquire(&self) -> Permit {
        loop {
            let turn = {
                let mut state = self.lock();
                if state.free > 0 {
                    state.free -= 1;
                    return Permit(Some(self.clone()));
                }
                // Those that gave up are forgotten here, so that the queue is no longer than those who wait.
                state.waiting.retain(|waiter| !waiter.is_canceled());
                let (waiter, turn) = oneshot::channel();
                state.waiting.push_back(waiter);
                turn
            };
            // A queue that is lost with its waiters would end the wait without a permit; it is asked anew then.
            if let Ok(permit) = turn.await {
                return permit;
            }
        }
    }

    /// How many permits are free.
    pub(super) fn free(&self) -> usize {
        self.lock().free
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // A waiter that has given up hands the permit back, and the next one is asked. One that gives up later drops
        // the permit, which comes here again.
        let mut semaphore = self.0.take();
        while let Some(given) = semaphore.take() {
            let waiter = {
                let mut state = given.lock();
                let waiter = state.waiting.pop_front();
                if waiter.is_none() {
                    state.free += 1;
                }
                waiter
            };
            // Woken without the lock.
            if let Some(waiter) = waiter
                && let Err(mut returned) = waiter.send(Permit(Some(given)))
            {
                semaphore = returned.0.take();
            }
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("free", &self.free()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn permits_are_given_in_the_order_of_asking() {
        let semaphore = Semaphore::new(1);
        let held = semaphore.acquire().now_or_never().unwrap();
        let mut first = Box::pin(semaphore.acquire());
        let mut second = Box::pin(semaphore.acquire());
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        drop(held);
        assert!((&mut second).now_or_never().is_none());
        let held = first.now_or_never().unwrap();
        assert!((&mut second).now_or_never().is_none());
        drop(held);
        assert!(second.now_or_never().is_some());
        assert_eq!(semaphore.free(), 1);
    }

    #[test]
    fn who_gives_up_loses_no_permit() {
        let semaphore = Semaphore::new(1);
        let held = semaphore.acquire().now_or_never().unwrap();
        let mut early = Box::pin(semaphore.acquire());
        let mut late = Box::pin(semaphore.acquire());
        let mut last = Box::pin(semaphore.acquire());
        for waiter in [&mut early, &mut late, &mut last] {
            assert!(waiter.now_or_never().is_none());
        }
        // One gives up before its turn, one when the permit is already on its way.
        drop(early);
        drop(held);
        drop(late);
        assert!(last.now_or_never().is_some());
        assert_eq!(semaphore.free(), 1);
    }
}

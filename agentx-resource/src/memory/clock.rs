use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use super::lock;
use crate::{BoxFuture, Clock};

/// A clock that stands still until it is told to go on. A clone shows the same time.
///
/// ```
/// use agentx_resource::{Clock, memory::ManualClock};
/// use std::time::{Duration, SystemTime};
///
/// let clock = ManualClock::new(SystemTime::UNIX_EPOCH);
/// let sleep = clock.sleep(Duration::from_secs(5));
/// clock.advance(Duration::from_secs(5));
/// futures::executor::block_on(sleep);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    now: SystemTime,
    next_id: u64,
    /// Who waits, by the moment waited for.
    sleepers: BTreeMap<(SystemTime, u64), Waker>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: SystemTime) -> Self {
        Self(Arc::new(Mutex::new(State { now, next_id: 0, sleepers: BTreeMap::new() })))
    }

    /// Lets time pass, and wakes whoever waited for it. A moment that can't be represented is not reached.
    pub fn advance(&self, duration: Duration) {
        let due: Vec<Waker> = {
            let mut state = lock(&self.0);
            state.now = state.now.checked_add(duration).unwrap_or(state.now);
            let due_until = (state.now, u64::MAX);
            let later = state.sleepers.split_off(&due_until);
            std::mem::replace(&mut state.sleepers, later).into_values().collect()
        };
        // Woken without the lock: a waker may poll at once.
        due.into_iter().for_each(Waker::wake);
    }

    /// How many sleeps are being awaited: what a test looks at before it lets time pass.
    pub fn sleepers(&self) -> usize {
        lock(&self.0).sleepers.len()
    }
}

/// Shows the beginning of 1970.
impl Default for ManualClock {
    fn default() -> Self {
        Self::new(SystemTime::UNIX_EPOCH)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        lock(&self.0).now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = lock(&self.0);
        let id = state.next_id;
        state.next_id += 1;
        // A sleep beyond the end of time never ends.
        let sleeper =
            state.now.checked_add(duration).map(|until| Sleeper { clock: self.clone(), key: (until, id) });
        Box::pin(async move {
            match sleeper {
                Some(sleeper) => poll_fn(|cx| sleeper.poll(cx)).await,
                None => std::future::pending().await,
            }
        })
    }
}

struct Sleeper {
    clock: ManualClock,
    key: (SystemTime, u64),
}

impl Sleeper {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.clock.0);
        if state.now >= self.key.0 {
            return Poll::Ready(());
        }
        state.sleepers.insert(self.key, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        lock(&self.clock.0).sleepers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_sleep_ends_at_its_moment_and_not_before() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_secs(1));
        assert!((&mut sleep).now_or_never().is_none());
        assert_eq!(clock.sleepers(), 1);
        clock.advance(Duration::from_secs(1));
        assert!(sleep.now_or_never().is_some());
    }

    #[test]
    fn a_dropped_sleep_is_forgotten() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep(Duration::from_secs(2));
        assert!((&mut sleep).now_or_never().is_none());
        drop(sleep);
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn sleeping_for_ever_is_no_overflow() {
        let clock = ManualClock::default();
        assert!(clock.sleep(Duration::MAX).now_or_never().is_none());
    }
}

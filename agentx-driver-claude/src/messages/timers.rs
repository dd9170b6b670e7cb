//! Timers that outlive the calls that they bound. To set one costs a wake-up of the host's clock, which is more than
//! all else that a short call needs of it.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use agentx_resource::{BoxFuture, Clock};
use futures::{FutureExt, future};

/// The most timers that are kept.
const KEPT: usize = 64;

/// Timers of one length.
#[derive(Clone)]
pub(super) struct Timers {
    clock: Arc<dyn Clock>,
    length: Duration,
    kept: Arc<Mutex<Vec<BoxFuture<'static, ()>>>>,
}

/// A timer that has run for a while, if it is not fresh.
pub(super) struct Timer {
    timers: Timers,
    /// Over when the time is.
    pub time: BoxFuture<'static, ()>,
    /// It was set for this use, and so runs for its whole length.
    pub fresh: bool,
}

impl Timers {
    pub(super) fn new(clock: Arc<dyn Clock>, length: Duration) -> Self {
        Self { clock, length, kept: Arc::default() }
    }

    pub(super) fn start(&self) -> Timer {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fresh = kept.is_none();
        Timer { time: kept.unwrap_or_else(|| self.clock.sleep(self.length)), timers: self.clone(), fresh }
    }
}

impl Timer {
    /// Begins anew, after the time is over. Whether it had run for its whole length.
    pub(super) fn restart(&mut self) -> bool {
        self.time = self.timers.clock.sleep(self.timers.length);
        mem::replace(&mut self.fresh, true)
    }
}

/// Keeps what is not over for the next use.
impl Drop for Timer {
    fn drop(&mut self) {
        let time = mem::replace(&mut self.time, future::pending().boxed());
        let mut kept = self.timers.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(time);
        }
    }
}

impl fmt::Debug for Timers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timers").field("length", &self.length).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use agentx_resource::memory::ManualClock;

    use super::*;

    #[test]
    fn what_is_left_of_a_timer_is_used_and_is_not_its_whole_length() {
        let clock = ManualClock::default();
        let timers = Timers::new(Arc::new(clock.clone()), Duration::from_secs(10));
        let is_over = |timer: &mut Timer| (&mut timer.time).now_or_never().is_some();
        let mut first = timers.start();
        assert!(first.fresh && !is_over(&mut first));
        drop(first);
        clock.advance(Duration::from_secs(9));

        let (mut left, mut new) = (timers.start(), timers.start());
        assert!(!left.fresh && new.fresh);
        clock.advance(Duration::from_secs(1));
        assert!(is_over(&mut left) && !is_over(&mut new));
        assert!(!left.restart());
        clock.advance(Duration::from_secs(10));
        assert!(is_over(&mut left) && left.restart());
    }
}

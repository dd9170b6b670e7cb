use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The moment when a helper has ended and nothing is left of what it had started.
#[derive(Debug, Default)]
pub(super) struct End {
    come: Mutex<bool>,
    told: Condvar,
}

impl End {
    pub(super) fn come(&self) {
        *self.lock() = true;
        self.told.notify_all();
    }

    pub(super) fn has_come(&self) -> bool {
        *self.lock()
    }

    /// Blocks until it has come, at most until the deadline.
    pub(super) fn wait(&self, deadline: Instant) {
        let mut come = self.lock();
        while !*come {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            come = self.told.wait_timeout(come, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.come.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// How long a command may write nothing. The time runs while its output is looked at: what nobody reads is no silence.
#[derive(Debug)]
pub(super) struct Idle {
    timeout: Duration,
    over: Pin<Box<Sleep>>,
    /// The bytes that were read until the last look.
    read: u64,
}

impl Idle {
    /// Begins now, in the tokio runtime of the caller.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, over: Box::pin(sleep(timeout)), read: 0 }
    }

    /// Whether the time is over, after a look that found nothing more. `read` is what was read of all output.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, read: u64) -> Poll<()> {
        if read != self.read {
            self.read = read;
            let now = Instant::now();
            // As far away as a time can be told.
            let far = now + Duration::from_hours(24 * 365 * 30);
            self.over.as_mut().reset(now.checked_add(self.timeout).unwrap_or(far));
        }
        self.over.as_mut().poll(cx)
    }
}

//! Time and tasks, which a host gives: the facade from tokio, another host from its own loop.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use crate::BoxFuture;

/// The time, and the wait for a later one.
///
/// Everything that dates, expires or retries takes a `Clock`, so that a test can stand at a fixed moment and a
/// recorded run can be replayed exactly.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> SystemTime;

    /// Completes once `duration` has passed. Dropping the future ends the wait.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Where background work runs.
pub trait Spawn: fmt::Debug + Send + Sync + 'static {
    /// Starts `task` and returns at once. Whoever needs to end a task early wraps it so that it ends by itself.
    fn spawn(&self, task: BoxFuture<'static, ()>);
}

use std::time::{Duration, SystemTime};

use agentx_resource::{BoxFuture, Clock, Spawn};

/// The time of the tokio runtime that a case runs in, for what a factory builds: a layer that waits, or
/// [`toolbox`](crate::process::toolbox).
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioClock;

impl Clock for TokioClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Tasks of the runtime that a case runs in.
#[derive(Debug)]
pub(crate) struct TokioSpawn;

impl Spawn for TokioSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }
}

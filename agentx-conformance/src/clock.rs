use std::time::{Duration, SystemTime};

use agentx_resource::{BoxFuture, Clock, Spawn};

/// The time of the runtime that a case runs in.
#[derive(Debug)]
pub(crate) struct TokioClock;

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

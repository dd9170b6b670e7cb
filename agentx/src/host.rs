//! What tokio gives to a runtime: time, tasks and ids.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use agentx_core::{Error, ErrorKind, Host, IdSource, Result};
use agentx_resource::{BoxFuture, Clock, Spawn};
use tokio::runtime::Handle;
use uuid::Uuid;

/// A host that takes the system's time and random ids, and runs turns as tasks of the current tokio runtime.
///
/// # Errors
/// `Unavailable` outside of a tokio runtime.
pub fn tokio_host() -> Result<Host> {
    Ok(Host::new(Arc::new(SystemClock), Arc::new(TokioSpawn::current()?), Arc::new(UuidSource)))
}

/// The system's clock, with tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Tasks of a tokio runtime.
#[derive(Clone, Debug)]
pub struct TokioSpawn(Handle);

impl TokioSpawn {
    /// Tasks of the current tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` outside of a tokio runtime.
    pub fn current() -> Result<Self> {
        Handle::try_current()
            .map(Self)
            .map_err(|error| Error::new(ErrorKind::Unavailable, "find the tokio runtime").with_source(error))
    }
}

impl Spawn for TokioSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // The task tells its own outcome; nobody waits for its handle.
        drop(self.0.spawn(task));
    }
}

/// Version 7 UUIDs: random, and in the order of time.
#[derive(Clone, Copy, Debug, Default)]
pub struct UuidSource;

impl IdSource for UuidSource {
    fn fresh(&self) -> String {
        Uuid::now_v7().simple().to_string()
    }
}

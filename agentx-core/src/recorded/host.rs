use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use agentx_resource::{BoxFuture, Clock, cassette::Cassette};

use crate::{Host, IdSource};

/// A host whose time and ids are on a cassette. Its tasks run as ever.
pub fn host(cassette: &Cassette, host: Host) -> Host {
    Host {
        clock: Arc::new(RecordedClock::new(cassette, host.clock)),
        ids: Arc::new(RecordedIds::new(cassette, host.ids)),
        spawn: host.spawn,
    }
}

/// A clock whose readings are on a cassette. In a replay, a wait is over where it was over, at once.
#[derive(Clone, Debug)]
pub struct RecordedClock {
    cassette: Cassette,
    clock: Arc<dyn Clock>,
    /// What a replay shows that has left its recording: a clock has no error to tell.
    last: Arc<Mutex<SystemTime>>,
}

impl RecordedClock {
    /// Shows the time of `clock`, which a replay does not look at.
    pub fn new(cassette: &Cassette, clock: Arc<dyn Clock>) -> Self {
        let last = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH));
        Self { cassette: cassette.clone(), clock, last }
    }
}

impl Clock for RecordedClock {
    fn now(&self) -> SystemTime {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // A divergence is kept by the cassette, and is told by whatever is asked next.
        if let Ok(now) = self.cassette.now(|| self.clock.now()) {
            *last = now;
        }
        *last
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.cassette.sleep(duration, || self.clock.sleep(duration))
    }
}

/// Ids that are on a cassette.
pub struct RecordedIds {
    cassette: Cassette,
    ids: Arc<dyn IdSource>,
    /// How many a replay has given since it left its recording.
    lost: AtomicU64,
}

impl RecordedIds {
    /// Gives the ids of `ids`, which a replay does not ask.
    pub fn new(cassette: &Cassette, ids: Arc<dyn IdSource>) -> Self {
        Self { cassette: cassette.clone(), ids, lost: AtomicU64::new(0) }
    }
}

impl IdSource for RecordedIds {
    fn fresh(&self) -> String {
        // As with the time: whatever is asked next tells of the divergence.
        self.cassette
            .value("ids.fresh", || self.ids.fresh())
            .unwrap_or_else(|_| format!("diverged-{}", self.lost.fetch_add(1, Ordering::Relaxed)))
    }
}

impl fmt::Debug for RecordedIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedIds").field("cassette", &self.cassette).finish_non_exhaustive()
    }
}

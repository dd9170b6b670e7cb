//! What a host gives to a runtime: time, tasks and ids.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use agentx_resource::{Clock, Spawn};
use serde::{Deserialize, Serialize};

/// Time, tasks and ids. The facade makes one from tokio; a test makes one that stands still.
#[derive(Clone, Debug)]
pub struct Host {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where turns run.
    pub spawn: Arc<dyn Spawn>,
    /// Where ids come from.
    pub ids: Arc<dyn IdSource>,
}

impl Host {
    /// A host of these parts.
    pub fn new(clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>, ids: Arc<dyn IdSource>) -> Self {
        Self { clock, spawn, ids }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        Timestamp::from(self.clock.now())
    }
}

/// Makes ids. A recorded run is replayed with the ids that it had.
pub trait IdSource: fmt::Debug + Send + Sync + 'static {
    /// A text that this source has never given before and that no other is likely to give: at most 64 ASCII letters,
    /// digits and `-`.
    fn fresh(&self) -> String;
}

/// Counts: `1`, `2`, … For tests and replays, where ids must be the same each time.
#[derive(Debug, Default)]
pub struct SequentialIds(AtomicU64);

impl SequentialIds {
    /// Begins at `1`.
    pub fn new() -> Self {
        Self::default()
    }
}

impl IdSource for SequentialIds {
    fn fresh(&self) -> String {
        (self.0.fetch_add(1, Ordering::Relaxed) + 1).to_string()
    }
}

/// A moment: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment so many milliseconds after 1970 began.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970 began.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment so much later.
    pub fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// The time from `earlier` to this; zero where the clock was set back.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// As text: milliseconds since 1970, with their unit.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Self(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

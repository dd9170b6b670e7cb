use std::time::Duration;

/// The longest of them all: what is longer is no limit, and beyond what clocks can add.
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// How long the parts of a connection may take; each at most a year.
///
/// The sizes are fixed: a message has at most 16 MiB, a list 500 tools on 100 pages, a schema 64 KiB, a description
/// 4,096 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct McpLimits {
    /// From the start of the server to its list of tools.
    pub start: Duration,
    /// A call of which nothing is heard, neither an answer nor progress.
    pub idle: Duration,
    /// A call, whatever is heard of it.
    pub call: Duration,
    /// What a server over stdio is given to end by itself once its input is closed; then it is killed.
    pub close: Duration,
}

/// A minute to start, which is enough to download a small server; two minutes for a call without progress, ten for any
/// call; two seconds to end.
impl Default for McpLimits {
    fn default() -> Self {
        Self {
            start: Duration::from_mins(1),
            idle: Duration::from_mins(2),
            call: Duration::from_mins(10),
            close: Duration::from_secs(2),
        }
    }
}

impl McpLimits {
    pub(super) fn bounded(self) -> Self {
        let Self { start, idle, call, close } = self;
        let [start, idle, call, close] = [start, idle, call, close].map(|limit| limit.min(LONGEST));
        Self { start, idle, call, close }
    }

    /// With this long to start.
    pub fn with_start(mut self, start: Duration) -> Self {
        self.start = start;
        self
    }

    /// With this long for a call of which nothing is heard.
    pub fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// With this long for any call.
    pub fn with_call(mut self, call: Duration) -> Self {
        self.call = call;
        self
    }

    /// With this long to end.
    pub fn with_close(mut self, close: Duration) -> Self {
        self.close = close;
        self
    }
}

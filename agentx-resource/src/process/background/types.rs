use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use crate::{Error, ExitStatus, OutputStream};

/// Which of the [`BackgroundProcesses`](super::BackgroundProcesses) is meant: an opaque text, short enough to be typed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackgroundId(String);

impl BackgroundId {
    /// The id whose text this is. Whether there is such a command is told when it is used.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BackgroundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much [`BackgroundProcesses`](super::BackgroundProcesses) keep.
///
/// ```
/// use agentx_resource::BackgroundLimits;
///
/// let limits = BackgroundLimits::default().with_running(4).with_log_bytes(64 << 10);
/// assert_eq!((limits.running, limits.ended), (4, 64));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackgroundLimits {
    /// How many commands may run at a time.
    pub running: usize,
    /// How many that have ended are kept, with their logs.
    pub ended: usize,
    /// How many bytes of its output are kept of each command, both streams together.
    pub log_bytes: usize,
    /// How many pieces the log of each command may have. What one stream writes without the other in between is one
    /// piece, up to 8 KiB.
    pub log_pieces: usize,
    /// How long a command that has filled half of its log waits for whoever follows it, and once for the first to do so,
    /// until it goes on over what they have not read. Not at all by default.
    pub patience: Duration,
}

impl BackgroundLimits {
    /// With so many running at a time.
    pub fn with_running(mut self, running: usize) -> Self {
        self.running = running;
        self
    }

    /// With so many kept that have ended.
    pub fn with_ended(mut self, ended: usize) -> Self {
        self.ended = ended;
        self
    }

    /// With logs of so many bytes.
    pub fn with_log_bytes(mut self, bytes: usize) -> Self {
        self.log_bytes = bytes;
        self
    }

    /// Waits so long for those who follow a log and are slow.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// With logs of so many pieces.
    pub fn with_log_pieces(mut self, pieces: usize) -> Self {
        self.log_pieces = pieces;
        self
    }
}

/// 16 running, 64 ended, logs of 1 MiB in 4,096 pieces; no command waits for a reader.
impl Default for BackgroundLimits {
    fn default() -> Self {
        let patience = Duration::ZERO;
        Self { running: 16, ended: 64, log_bytes: 1 << 20, log_pieces: 4096, patience }
    }
}

/// A command in the background, as it was when it was looked at.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackgroundStatus {
    /// Its id.
    pub id: BackgroundId,
    /// The program and its arguments, or the script: the first 1,000 characters.
    pub command: String,
    /// When it was started.
    pub started: SystemTime,
    /// Whether it runs.
    pub state: BackgroundState,
    /// From where on its log is kept.
    pub log_start: LogCursor,
    /// Where its log ends, up to now.
    pub log_end: LogCursor,
    /// How many bytes the process threw away, for a command that was killed for its output.
    pub dropped: u64,
    /// What the platform reported, where the command was [`Lost`](ExitStatus::Lost) for it.
    pub error: Option<Error>,
}

/// Whether a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackgroundState {
    /// It runs, or its output is still open.
    Running,
    /// It has ended, and its log is complete.
    Ended {
        /// How.
        status: ExitStatus,
        /// When that was seen.
        at: SystemTime,
    },
}

impl BackgroundState {
    /// How it ended, if it has.
    pub fn status(self) -> Option<ExitStatus> {
        match self {
            Self::Running => None,
            Self::Ended { status, .. } => Some(status),
        }
    }
}

/// A place in a command's log: the number of bytes that both streams wrote before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogCursor(u64);

impl LogCursor {
    /// The beginning of each log.
    pub const START: Self = Self(0);

    /// The place after so many bytes.
    pub const fn new(offset: u64) -> Self {
        Self(offset)
    }

    /// How many bytes were written before.
    pub const fn offset(self) -> u64 {
        self.0
    }
}

/// A part of a command's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogPage {
    /// How many bytes between the cursor and the first piece were no longer kept.
    pub lost: u64,
    /// The output, in the order in which it was read.
    pub pieces: Vec<LogPiece>,
    /// Where the next page begins.
    pub next: LogCursor,
    /// How the command ended. Told only with the end of the log: nothing comes after this page.
    pub status: Option<ExitStatus>,
}

/// Output of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogPiece {
    /// Which stream.
    pub stream: OutputStream,
    /// What it wrote.
    pub bytes: Bytes,
}

impl LogPage {
    /// What one stream wrote.
    pub fn of(&self, stream: OutputStream) -> Vec<u8> {
        let pieces = self.pieces.iter().filter(|piece| piece.stream == stream);
        pieces.flat_map(|piece| piece.bytes.iter().copied()).collect()
    }

    pub(super) fn new(lost: u64, pieces: Vec<LogPiece>, next: u64, status: Option<ExitStatus>) -> Self {
        Self { lost, pieces, next: LogCursor(next), status }
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_idle(&self) -> bool {
        self.lost == 0 && self.pieces.is_empty() && self.status.is_none()
    }
}

impl LogPiece {
    pub(super) fn new(stream: OutputStream, bytes: &[u8]) -> Self {
        Self { stream, bytes: Bytes::copy_from_slice(bytes) }
    }
}

use std::{fmt, sync::Arc, time::Duration};

use crate::{Clock, Error, ErrorKind, FileSystem, ReadOptions, ResourcePath, Result, Secret};

/// How long a cassette may be, unless the options say otherwise: 256 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// Whether a cassette is written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CassetteMode {
    /// It is written, in place of one that is there.
    Record,
    /// It is read. Nothing goes through.
    Replay,
    /// It is read where it is there, and written where it is not.
    RecordOnce,
}

/// How a cassette is opened.
#[derive(Clone)]
#[non_exhaustive]
pub struct CassetteOptions {
    /// Whether it is written or read.
    pub mode: CassetteMode,
    /// The most that it may hold, in bytes; 256 MiB by default.
    pub max_bytes: u64,
    pub(super) secrets: Vec<Secret>,
    pub(super) relaxed: bool,
    pub(super) shown_as: Option<String>,
    pub(super) watch: Option<(Arc<dyn Clock>, Duration)>,
}

impl CassetteOptions {
    /// Opens in this mode, in exact order, and knows of no secret.
    pub fn new(mode: CassetteMode) -> Self {
        Self { mode, max_bytes: MAX_BYTES, secrets: Vec::new(), relaxed: false, shown_as: None, watch: None }
    }

    /// Replaces each of these values by `[redacted]` before a line is written, also in its JSON and base64 forms, and where
    /// it comes in several pieces of a stream. Values shorter than 8 bytes are left alone, since they would match ordinary
    /// words.
    pub fn with_secrets(mut self, secrets: impl IntoIterator<Item = Secret>) -> Self {
        self.secrets.extend(secrets);
        self
    }

    /// Holds at most so many bytes. A recording that would be longer is ended there, and says so when it is finished.
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Lets questions of several tasks come in another order than when they were recorded: each waits until it is the
    /// next, and the time and ids are given in the order in which they are asked for.
    pub fn with_relaxed_order(mut self) -> Self {
        self.relaxed = true;
        self
    }

    /// Is called this in errors, in place of the path in its store: by whoever knows where that store lies.
    pub fn with_shown_as(mut self, name: impl Into<String>) -> Self {
        self.shown_as = Some(name.into());
        self
    }

    /// Ends a replay that stands still: one that waits for something, while the recording goes on with what the program
    /// has not asked for in this time. `clock` is the real time.
    pub fn with_patience(mut self, clock: Arc<dyn Clock>, time: Duration) -> Self {
        self.watch = Some((clock, time));
        self
    }

    /// What errors call the cassette at `path`.
    pub(super) fn shown(&self, path: &ResourcePath) -> String {
        self.shown_as.clone().unwrap_or_else(|| path.to_string())
    }

    pub(super) async fn read(&self, store: &dyn FileSystem, path: &ResourcePath) -> Result<String> {
        let read = async { store.read(path, ReadOptions::default()).await?.bytes(self.max_bytes).await };
        let bytes = read.await.map_err(|error| error.with_path(self.shown(path)))?;
        String::from_utf8(bytes.to_vec()).map_err(|error| {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = valid.split(|byte| *byte == b'\n').count();
            super::entry::corrupt(line, "it is not UTF-8").with_path(self.shown(path))
        })
    }

    pub(super) fn too_long(&self, path: &ResourcePath) -> Error {
        Error::new(ErrorKind::LimitExceeded, "record").with_path(self.shown(path)).with_message(format!(
            "the recording has more than {} bytes, and was ended before that",
            self.max_bytes
        ))
    }
}

impl fmt::Debug for CassetteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassetteOptions")
            .field("mode", &self.mode)
            .field("max_bytes", &self.max_bytes)
            .field("secrets", &self.secrets.len())
            .field("relaxed", &self.relaxed)
            .finish_non_exhaustive()
    }
}

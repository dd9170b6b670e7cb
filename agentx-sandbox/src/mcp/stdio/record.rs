use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use agentx_core::ErrorKind;
use agentx_resource::ExitStatus;

use crate::mcp::failure::Failure;

/// How much of the end of a server's standard error is kept.
const STDERR_KEPT: usize = 4 << 10;

/// What is known of a server that runs or has ended, for whoever has to tell of it.
#[derive(Default)]
pub(in crate::mcp) struct Record(Mutex<State>);

#[derive(Default)]
struct State {
    stderr: VecDeque<u8>,
    end: Option<(ErrorKind, String)>,
    stray: Option<String>,
}

impl Record {
    pub(super) fn stderr(&self, piece: &[u8]) {
        let mut state = self.lock();
        let piece = piece.get(piece.len().saturating_sub(STDERR_KEPT)..).unwrap_or_default();
        state.stderr.extend(piece);
        let excess = state.stderr.len().saturating_sub(STDERR_KEPT);
        state.stderr.drain(..excess);
    }

    pub(super) fn exited(&self, status: ExitStatus) {
        let hint = match status {
            ExitStatus::Code(127) => ": there is no such program",
            _ => "",
        };
        self.ended(ErrorKind::Unavailable, format!("it ended ({status}{hint})"));
    }

    pub(super) fn ended(&self, kind: ErrorKind, why: String) {
        self.lock().end.get_or_insert((kind, why));
    }

    pub(super) fn stray(&self, sample: Option<&str>) {
        let mut state = self.lock();
        if state.stray.is_none() {
            state.stray = sample.map(str::to_owned);
        }
    }

    /// Whether the server is known to have ended.
    pub(in crate::mcp) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Adds to a failure what the server left behind. Where it has ended, this is the cause.
    pub(in crate::mcp) fn explain(&self, mut failure: Failure) -> Failure {
        let state = self.lock();
        if let Some((kind, why)) = &state.end {
            if failure.kind == ErrorKind::Unavailable {
                failure = Failure::new(*kind, "");
            }
            failure.add(why);
        }
        let (start, end) = state.stderr.as_slices();
        let stderr = [start, end].concat();
        let stderr = String::from_utf8_lossy(&stderr);
        if !stderr.trim().is_empty() {
            failure.add(&format!("it wrote to standard error: {}", stderr.trim()));
        }
        if let Some(stray) = &state.stray {
            failure.add(&format!("it wrote to standard output what is no message: {stray:?}"));
        }
        failure
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

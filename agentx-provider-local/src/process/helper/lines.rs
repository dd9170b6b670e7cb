use std::sync::{Arc, Mutex, PoisonError};

use tokio::{net::unix::pipe::Receiver, runtime::Id};

/// How many lines are kept at most. Each is a handle here and one of the helper's.
const MAX_IDLE: usize = 32;

/// Lines that serve no command. To open one costs more than all else that is said to start a command.
#[derive(Debug, Default)]
pub(super) struct IdleLines(Mutex<Vec<(Id, Arc<Receiver>)>>);

impl IdleLines {
    /// One that this runtime waits for.
    pub(super) fn take(&self, runtime: Id) -> Option<Arc<Receiver>> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.pop_if(|(of, _)| *of == runtime).map(|(_, line)| line)
    }

    /// Keeps one for later. Those of other runtimes go, which may be there no more.
    pub(super) fn give(&self, runtime: Id, line: Arc<Receiver>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|(of, _)| *of == runtime);
        if lines.len() < MAX_IDLE {
            lines.push((runtime, line));
        }
    }
}

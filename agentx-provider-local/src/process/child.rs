use std::{
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agentx_resource::{Child, ErrorKind, ExecEvent, ExitStatus, Result, Signal, TerminalSize};
use async_trait::async_trait;
use bytes::Bytes;

use super::{ending::Ending, error, failure, input::Input, pump::Pump, terminal::Terminal, tree::Tree};

/// A command that runs on this machine.
pub(super) struct LocalChild {
    pub(super) tree: Arc<Tree>,
    pub(super) ending: Arc<Ending>,
    pub(super) input: Input,
    pub(super) terminal: Option<Terminal>,
    /// Locked while it is polled, never over a wait.
    pub(super) pump: Mutex<Pump>,
}

impl LocalChild {
    fn pump(&self) -> MutexGuard<'_, Pump> {
        self.pump.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows neither input nor output: they may hold secrets.
impl fmt::Debug for LocalChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalChild").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Child for LocalChild {
    fn id(&self) -> &str {
        self.tree.id()
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        self.input.write(data).await
    }

    async fn close_stdin(&self) -> Result<()> {
        self.input.close();
        Ok(())
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        poll_fn(|cx| {
            self.input.feed(cx);
            self.pump().poll_event(cx)
        })
        .await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.tree.signal(signal)
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        match &self.terminal {
            Some(terminal) => terminal.resize(size).map_err(|errno| failure("resize", errno.into())),
            None => Err(error(ErrorKind::Unsupported, "resize").with_message("the command has no terminal")),
        }
    }

    async fn kill(&self) -> Result<()> {
        self.ending.begin(ExitStatus::Killed);
        self.ending.kill_rest();
        Ok(())
    }
}

/// Returns when nothing of the command is alive.
impl Drop for LocalChild {
    fn drop(&mut self) {
        self.ending.cease();
        if !self.pump().is_over() {
            self.tree.end_now();
            self.tree.reap();
        }
    }
}

//! A running command as a tree of processes that can be asked to end and ended as a whole.

mod mark;
mod procfs;
mod sweep;
mod swept;
mod tagged;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use agentx_resource::{ErrorKind, ExitStatus, Result};
use rustix::process::Signal;
use tokio::runtime::Handle;

pub(super) use self::{
    mark::{Mark, VARIABLE},
    swept::Swept,
    tagged::sweep_tagged,
};
use super::{
    error,
    helper::{Line, MAX_SILENCE, wire::Order},
};

/// A command's first process and everything that came of it.
#[derive(Debug)]
pub(super) enum Tree {
    /// The helper has started it, adopts what it leaves behind, and tells how it goes.
    Helped(Line),
    /// The host has started it, and searches for what it leaves behind.
    Swept(Swept),
}

impl Tree {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Helped(line) => line.id(),
            Self::Swept(tree) => tree.id(),
        }
    }

    /// How the first process has ended; `Lost` where nobody can know.
    pub(super) fn poll_exit(&self, cx: &mut Context<'_>) -> Poll<ExitStatus> {
        match self {
            Self::Helped(line) => line.poll_exit(cx),
            Self::Swept(tree) => tree.poll_exit(cx),
        }
    }

    /// Whether the first process runs, as far as can be known.
    pub(super) fn is_running(&self) -> bool {
        match self {
            Self::Helped(line) => line.is_running(),
            Self::Swept(tree) => tree.is_running(),
        }
    }

    /// Asks everything to end, also what was stopped.
    pub(super) fn ask(&self) {
        match self {
            Self::Helped(line) => line.order(Order::Ask),
            Self::Swept(tree) => tree.ask(),
        }
    }

    /// Sends a signal to the process group.
    ///
    /// # Errors
    /// `Unsupported` for a signal that is not known here.
    pub(super) fn signal(&self, signal: agentx_resource::Signal) -> Result<()> {
        use agentx_resource::Signal as Wanted;
        let signal = match signal {
            Wanted::Hangup => Signal::HUP,
            Wanted::Interrupt => Signal::INT,
            Wanted::Quit => Signal::QUIT,
            Wanted::Kill => Signal::KILL,
            Wanted::Terminate => Signal::TERM,
            Wanted::User1 => Signal::USR1,
            Wanted::User2 => Signal::USR2,
            Wanted::Stop => Signal::STOP,
            Wanted::Continue => Signal::CONT,
            _ => return Err(error(ErrorKind::Unsupported, "signal")),
        };
        match self {
            Self::Helped(line) => line.order(Order::Signal(signal.as_raw())),
            Self::Swept(tree) => tree.signal(signal),
        }
        Ok(())
    }

    /// Begins to end everything, which then goes on by itself.
    pub(super) fn begin_kill(self: &Arc<Self>, runtime: &Handle) {
        match &**self {
            Self::Helped(line) => {
                line.order(Order::Kill);
                let tree = Arc::downgrade(self);
                runtime.spawn(async move {
                    tokio::time::sleep(MAX_SILENCE).await;
                    if let Some(Self::Helped(line)) = tree.upgrade().as_deref() {
                        line.end_silence();
                    }
                });
            }
            Self::Swept(_) => {
                let tree = Arc::clone(self);
                // Dropping the handle lets it run.
                drop(runtime.spawn_blocking(move || tree.end_now()));
            }
        }
    }

    /// Whether nothing is left. Quick: where it says no, or can't tell, [`Tree::end`] is due.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Helped(line) => line.is_over(),
            Self::Swept(tree) => tree.is_swept(),
        }
    }

    /// Ends everything, and completes when nothing is left.
    pub(super) async fn end(self: Arc<Self>, runtime: Handle) {
        match &*self {
            Self::Helped(line) => line.end(&runtime).await,
            Self::Swept(_) => {
                let tree = Arc::clone(&self);
                if runtime.spawn_blocking(move || tree.end_now()).await.is_err() {
                    // The runtime shuts down and runs no tasks any more.
                    self.end_now();
                }
            }
        }
    }

    /// Ends everything and returns when it is dead. Blocks for a few milliseconds; at most for four seconds, when the
    /// kernel can't end a process.
    pub(super) fn end_now(&self) {
        match self {
            Self::Helped(line) => line.end_now(),
            Self::Swept(tree) => tree.kill(),
        }
    }

    /// Takes the first process off the system's books. Call it when it has ended or was killed.
    pub(super) fn reap(&self) {
        match self {
            // The helper has done so.
            Self::Helped(_) => {}
            Self::Swept(tree) => tree.reap(),
        }
    }
}

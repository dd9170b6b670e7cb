use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use agentx_resource::ExitStatus;
use tokio::{runtime::Handle, task::AbortHandle, time::sleep};

use super::tree::Tree;

/// How a command is brought to its end from here: asked, given a grace, killed.
///
/// It goes by a task of its own, so that a timeout holds and a kill completes also while nobody reads the output.
#[derive(Debug)]
pub(super) struct Ending {
    tree: Arc<Tree>,
    runtime: Handle,
    grace: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why the command was ended, in place of how it ended.
    cause: Option<ExitStatus>,
    /// What waits for the timeout or the grace.
    task: Option<AbortHandle>,
    over: bool,
}

impl Ending {
    pub(super) fn new(tree: Arc<Tree>, runtime: Handle, grace: Duration) -> Arc<Self> {
        Arc::new(Self { tree, runtime, grace, state: Mutex::default() })
    }

    /// Ends the command after this time.
    pub(super) fn set_timeout(self: &Arc<Self>, timeout: Duration) {
        let this = Arc::clone(self);
        self.replace_task(async move {
            sleep(timeout).await;
            this.begin(ExitStatus::TimedOut);
        });
    }

    /// Asks the command to end, and forces it when the grace is over. The first cause counts, and none does after
    /// the command has exited by itself.
    pub(super) fn begin(self: &Arc<Self>, cause: ExitStatus) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.over || state.cause.is_some() || !self.tree.is_running() {
                return;
            }
            state.cause = Some(cause);
        }
        self.tree.ask();
        let this = Arc::clone(self);
        self.replace_task(async move {
            sleep(this.grace).await;
            this.tree.begin_kill(&this.runtime);
        });
    }

    /// Why the command was ended from here, if it was.
    pub(super) fn cause(&self) -> Option<ExitStatus> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).cause
    }

    /// Forces what a command that has exited has left behind, which has no grace.
    pub(super) fn kill_rest(&self) {
        if !self.tree.is_running() {
            self.tree.begin_kill(&self.runtime);
        }
    }

    /// Nothing is left to end.
    pub(super) fn cease(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.over = true;
        if let Some(task) = state.task.take() {
            task.abort();
        }
    }

    fn replace_task(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.over {
            return;
        }
        let task = self.runtime.spawn(task).abort_handle();
        if let Some(earlier) = state.task.replace(task) {
            earlier.abort();
        }
    }
}

use std::sync::Arc;

use agentx_resource::{BackgroundProcesses, ShellSession};

/// What `bash` has besides a new shell for each call.
///
/// The commands belong to the values that are given here: a clone of the options shares them, and dropping the last one
/// ends them. [`NodeRuntime::shell_session`](crate::NodeRuntime::shell_session) and
/// [`NodeRuntime::background`](crate::NodeRuntime::background) make them.
#[derive(Clone, Debug, Default)]
pub struct ToolOptions {
    pub(super) shell: Option<Arc<ShellSession>>,
    pub(super) background: Option<Arc<BackgroundProcesses>>,
}

impl ToolOptions {
    /// Nothing besides.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs all calls of `bash` in one shell, one after another: its directory, variables and functions stay. Give each
    /// agent its own.
    pub fn with_shell_session(mut self, session: ShellSession) -> Self {
        self.shell = Some(Arc::new(session));
        self
    }

    /// Lets `bash` start commands in the background (`run_in_background`), and adds the tools `bash_output` and
    /// `kill_shell`. How many may run, and how much of their output is kept, is bounded there.
    pub fn with_background(mut self, background: impl Into<Arc<BackgroundProcesses>>) -> Self {
        self.background = Some(background.into());
        self
    }
}

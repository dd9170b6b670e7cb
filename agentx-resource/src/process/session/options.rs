use std::time::Duration;

use crate::{ExecOutput, OutputLimit};

/// How a command runs in a [`ShellSession`](super::ShellSession).
///
/// ```
/// use agentx_resource::{OutputLimit, ShellOptions};
/// use std::time::Duration;
///
/// let options = ShellOptions::default()
///     .with_timeout(Duration::from_secs(120))
///     .with_output_limit(OutputLimit::head_and_tail(20_000, 10_000));
/// assert_eq!(options.output_limit.tail, 10_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShellOptions {
    /// How long the command may take, from when the shell gets it; unbounded by default. The time in which it waits
    /// for its turn does not count.
    pub timeout: Option<Duration>,
    /// How long it may write nothing; unbounded by default.
    pub idle_timeout: Option<Duration>,
    /// How much of its output is kept, of each stream; the first 16 MiB by default.
    pub output_limit: OutputLimit,
}

impl ShellOptions {
    /// For at most this long.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// With no more silence than this.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// With this limit on the output.
    pub fn with_output_limit(mut self, limit: OutputLimit) -> Self {
        self.output_limit = limit;
        self
    }
}

/// A command that has run in a [`ShellSession`](super::ShellSession).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShellOutput {
    /// How the command ended and what it wrote. Where the shell itself has [ended](Self::ended), the status is the
    /// shell's: what `exit 3` or `exec` left, or why it was killed.
    pub output: ExecOutput,
    /// The shell's directory after the command, as its `PWD` tells it: absolute, as the process's commands see it.
    /// Where the shell has ended, the last that is known; the next one tries to begin there. `None` when the shell
    /// could not say.
    pub cwd: Option<String>,
    /// The shell before this one had ended: the command ran in a new one, without the variables, functions and
    /// background jobs of the commands before.
    pub restarted: bool,
    /// The shell ended with this command, and all its state with it. The next command runs in a new one.
    pub ended: bool,
}

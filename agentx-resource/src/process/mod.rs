//! Commands.

mod background;
mod collect;
mod event;
mod ext;
mod limited;
mod request;
mod session;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::{
    background::{
        BackgroundId, BackgroundLimits, BackgroundProcesses, BackgroundState, BackgroundStatus, LogCursor,
        LogPage, LogPiece,
    },
    event::{ExecEvent, ExecOutput, ExitStatus, OutputStream},
    ext::ProcessExt,
    limited::LimitedOutput,
    request::{ExecRequest, Invocation, OnExceed, OutputLimit, ResourceLimits, Signal, Stdin, TerminalSize},
    session::{ShellCommand, ShellOptions, ShellOutput, ShellSession},
};
use crate::Result;

/// Something that runs commands.
///
/// 1. **A non-zero exit is a status**, not an error. An error of `spawn` means that nothing ran.
/// 2. **`Unsupported` is a refusal before anything happened**, distinct from a command that ran and was not found
///    (exit code 127): a router may then try another `Process`.
/// 3. **A child starts from an empty environment**, plus what the request names.
/// 4. **A timeout keeps the output** that came until then, and ends in [`ExitStatus::TimedOut`].
/// 5. **Dropping the [`Child`]** kills the command and everything that it started.
#[async_trait]
pub trait Process: fmt::Debug + Send + Sync + 'static {
    /// What this process can do beyond the basics, and where its commands see the root. Constant over its life.
    fn capabilities(&self) -> ProcessCapabilities;

    /// Starts a command.
    ///
    /// # Errors
    /// `InvalidInput` for an empty program, or NUL in an argument or variable; `NotFound` for a working directory
    /// that is missing, `Escapes` for one that leads out, `NotADirectory`; `Unsupported` for a refused command or an
    /// undeclared capability. A program that is not there is an exit with code 127, as a shell tells it.
    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>>;
}

/// A command that runs. Dropping it kills the command and everything that it started.
///
/// Its methods may be called at the same time from several places, so that input and output can flow at once;
/// only `next_event` has one caller at a time. The command makes progress at least while `next_event` is polled.
#[async_trait]
pub trait Child: fmt::Debug + Send + Sync {
    /// An opaque id, unique within its [`Process`].
    fn id(&self) -> &str;

    /// Writes to the command's input; completes when all of `data` was handed over.
    ///
    /// # Errors
    /// `Unsupported` unless the request said [`Stdin::Piped`]; `InvalidInput` after `close_stdin`; `Unavailable` when
    /// the command no longer reads.
    async fn write_stdin(&self, data: Bytes) -> Result<()>;

    /// Closes the command's input. Closing it again does nothing.
    ///
    /// # Errors
    /// Whatever the platform reports.
    async fn close_stdin(&self) -> Result<()>;

    /// The next event, or `None` when the command has exited and its output is closed. A dropped call loses no event.
    ///
    /// # Errors
    /// Whatever the platform reports; afterwards the outcome is [`ExitStatus::Lost`].
    async fn next_event(&self) -> Result<Option<ExecEvent>>;

    /// Sends a signal to the command and to what runs in its process group. Signalling what has ended does nothing.
    ///
    /// # Errors
    /// `Unsupported` where signals are not declared; `PermissionDenied` for a command that became another user.
    async fn signal(&self, signal: Signal) -> Result<()>;

    /// Changes the size of the command's terminal.
    ///
    /// # Errors
    /// `Unsupported` unless the request asked for a terminal.
    async fn resize(&self, size: TerminalSize) -> Result<()>;

    /// Ends the command and everything that it started: asked first, forced after a grace period. The end is told by
    /// `next_event`. Killing what has ended does nothing.
    ///
    /// # Errors
    /// Whatever the platform reports.
    async fn kill(&self) -> Result<()>;
}

/// What a [`Process`] can do beyond the basics.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent capability")]
pub struct ProcessCapabilities {
    /// Where a command sees the root of the process's tree: `/workspace`, or a directory of the host. Absolute,
    /// without a trailing slash (but for `/` itself). A command's `pwd` at [`ResourcePath::root`] prints this.
    ///
    /// [`ResourcePath::root`]: crate::ResourcePath::root
    pub root: String,
    /// [`Invocation::Shell`] works.
    pub shell: bool,
    /// [`Stdin::Piped`] works.
    pub live_stdin: bool,
    /// [`Child::signal`] works.
    pub signals: bool,
    /// [`ExecRequest::limits`] are kept.
    pub limits: bool,
    /// [`ExecRequest::terminal`] and [`Child::resize`] work.
    pub terminal: bool,
}

impl ProcessCapabilities {
    /// Programs only, whose root is seen at `root`.
    pub fn new(root: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            shell: false,
            live_stdin: false,
            signals: false,
            limits: false,
            terminal: false,
        }
    }

    /// Declares a shell.
    pub fn with_shell(mut self) -> Self {
        self.shell = true;
        self
    }

    /// Declares live input.
    pub fn with_live_stdin(mut self) -> Self {
        self.live_stdin = true;
        self
    }

    /// Declares signals.
    pub fn with_signals(mut self) -> Self {
        self.signals = true;
        self
    }

    /// Declares limits.
    pub fn with_limits(mut self) -> Self {
        self.limits = true;
        self
    }

    /// Declares terminals.
    pub fn with_terminal(mut self) -> Self {
        self.terminal = true;
        self
    }
}

#[async_trait]
impl<T: Process + ?Sized> Process for Arc<T> {
    fn capabilities(&self) -> ProcessCapabilities {
        (**self).capabilities()
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        (**self).spawn(request).await
    }
}

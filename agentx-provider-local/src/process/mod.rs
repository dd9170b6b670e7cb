//! Commands as child processes of this machine.

mod child;
mod containment;
mod cwd;
mod ending;
mod environment;
mod group;
mod helper;
mod idle;
mod input;
mod isolation;
mod limits;
mod not_started;
mod output;
mod program;
mod pump;
mod spawn;
mod spawn_helped;
mod spawn_swept;
mod terminal;
mod tree;

use std::{
    ffi::{OsStr, OsString},
    fmt, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use agentx_resource::{
    Child, Error, ErrorKind, ExecRequest, Process, ProcessCapabilities, ResourcePath, Result, Retry,
};
use async_trait::async_trait;
use rustix::io::Errno;

pub use self::{
    containment::Containment,
    group::{TreeGroup, TreeLimits, TreeUsage},
    isolation::{
        AllowList, Attempt, Engine, Guarantee, Isolation, Namespaces, Network, Outcome, Probe, Verdict,
    },
};
use self::{containment::Helpers, environment::Environment, helper::Program, isolation::Prepared};

/// Runs commands as child processes, in the directories below a root.
///
/// A command is a program (looked up in the command's own `PATH`) or a script for the shell. Its working directory is
/// resolved beneath the root, so that no symlink leads it out. This confines where it starts, not what it does: a
/// command has all the rights of the user that runs the host.
///
/// **Environment.** It starts empty. A command gets `PATH`, what [`with_env`](Self::with_env) and
/// [`with_inherited`](Self::with_inherited) name, and what its request names.
///
/// **What a command leaves behind ends with it**, also what called `setsid`, was handed to init or emptied its
/// environment. That comes after a normal exit too, so a `nohup server &` does not outlive its command; what still
/// holds the command's output is given a [short while](Self::with_drain_grace) first. A small helper process sees to
/// it, which is started with the first command; [`Containment`] says what it can and can't do, and
/// [`containment`](Self::containment) whether there is one.
///
/// **Dropping a child** returns when all this is dead. It blocks the thread for less than a millisecond as a rule, and
/// for four seconds at most, when the kernel can't end a process.
///
/// **When the host itself is killed** (`SIGKILL`, a crash), the helper ends everything, and then itself.
///
/// It needs a tokio runtime with I/O and time enabled, and `/proc`. Linux only.
///
/// ```
/// use agentx_provider_local::LocalProcess;
/// use agentx_resource::{ExecRequest, ProcessExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> agentx_resource::Result<()> {
/// let process = LocalProcess::new("/")?.with_env("GREETING", "hello");
/// let output = process.exec(ExecRequest::shell("echo $GREETING; exit 3")).await?;
/// assert_eq!(output.stdout_text(), "hello\n");
/// assert_eq!(output.status.code(), Some(3));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LocalProcess {
    root: Arc<Root>,
    environment: Environment,
    shell: String,
    kill_grace: Duration,
    drain_grace: Duration,
    helpers: Arc<Helpers>,
}

/// The directory that the commands run in.
#[derive(Debug)]
struct Root {
    handle: OwnedFd,
    path: String,
}

impl LocalProcess {
    /// How long a command that is asked to end may take, unless
    /// [`with_kill_grace`](Self::with_kill_grace) says otherwise.
    pub const DEFAULT_KILL_GRACE: Duration = Duration::from_secs(2);
    /// How long the output is read after a command's exit, unless
    /// [`with_drain_grace`](Self::with_drain_grace) says otherwise.
    pub const DEFAULT_DRAIN_GRACE: Duration = Duration::from_secs(1);

    /// Commands in and below an existing directory, which is looked up now: it is held even when it is renamed.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `PermissionDenied`; `InvalidInput` for a directory whose canonical path is not
    /// UTF-8; `Unsupported` where `/proc` is not mounted.
    pub fn new(root: impl AsRef<Path>) -> Result<Self> {
        let shown = root.as_ref().display();
        let root = Root::open(root.as_ref()).map_err(|error| error.with_path(shown))?;
        if !Path::new("/proc/self/fd").is_dir() {
            return Err(error(ErrorKind::Unsupported, "open").with_message("/proc is not mounted"));
        }
        let environment = Environment::new();
        let shell = environment.find_shell();
        Ok(Self {
            root: Arc::new(root),
            environment,
            shell,
            kill_grace: Self::DEFAULT_KILL_GRACE,
            drain_grace: Self::DEFAULT_DRAIN_GRACE,
            helpers: Arc::default(),
        })
    }

    /// Gives every command this variable. A request may override it.
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.set(name.into(), value.into());
        self
    }

    /// Gives every command these variables of the host, as they are now; those that are not set are left out. `PATH`
    /// is always there. Name nothing that holds a secret.
    pub fn with_inherited(mut self, names: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        for name in names {
            self.environment.inherit(name.as_ref());
        }
        self
    }

    /// Runs scripts as `SHELL -c SCRIPT` with this shell, which is found as any program is; by default bash where the
    /// host's `PATH` has it, else `/bin/sh`.
    pub fn with_shell(mut self, shell: impl Into<String>) -> Self {
        self.shell = shell.into();
        self
    }

    /// Starts commands through this helper program in place of the one within the library, for a machine that runs no
    /// program from memory. It is the program `agentx-helper` of this very version of this crate. One that does not
    /// work is an error of each command.
    pub fn with_helper(self, path: impl Into<PathBuf>) -> Self {
        self.with_program(Program::File(path.into()))
    }

    /// Starts commands without a helper, for a host that must have no process but its commands. See
    /// [`Containment::Sweep`] for what is weaker then.
    pub fn without_helper(self) -> Self {
        self.with_program(Program::None)
    }

    fn with_program(mut self, program: Program) -> Self {
        self.helpers = Arc::new(self.helpers.with_program(program));
        self
    }

    /// Runs all commands in one PID namespace of their own, see [`Containment::PidNamespace`]. Takes root, or user
    /// namespaces. Where that is impossible, each command is an error.
    pub fn with_pid_namespace(mut self) -> Self {
        self.helpers = Arc::new(self.helpers.with_pid_namespace());
        self
    }

    /// Isolates all commands, see [`Isolation`]. What it asks for is put into force now, and known to hold when this
    /// returns; it holds for clones, too. Blocks for a few milliseconds.
    ///
    /// Given namespaces, commands see the root at `/workspace`, and [`capabilities`](Process::capabilities) says so.
    ///
    /// # Errors
    /// `Unsupported` where this machine lacks something of it, and the message says what; `InvalidInput` for parts that
    /// contradict each other, and for places that can't be given to commands; those of looking a place up.
    pub fn with_isolation(mut self, isolation: Isolation) -> Result<Self> {
        let prepared = isolation.prepare(Path::new(&self.root.path))?;
        for (name, value) in prepared.variables() {
            self.environment.set(name.into(), value.into());
        }
        self.helpers = Arc::new(self.helpers.with_isolation(prepared)?);
        Ok(self)
    }

    /// Tries what the isolation of this process holds back on this machine; without one, that is nothing. See
    /// [`Isolation::probe`].
    ///
    /// # Errors
    /// Those of [`Isolation::probe`].
    pub async fn probe(&self) -> Result<Probe> {
        let isolation = self.helpers.isolation().map(Prepared::isolation);
        isolation.cloned().unwrap_or_default().probe_through(self.helpers.program()).await
    }

    /// How what commands leave behind is ended on this machine. Starts the helper, where none runs yet.
    ///
    /// # Errors
    /// `Unavailable` where [`with_helper`](Self::with_helper) or [`with_pid_namespace`](Self::with_pid_namespace) asks
    /// for what does not work here, and without a tokio runtime.
    pub async fn containment(&self) -> Result<Containment> {
        spawn::runtime("containment")?;
        self.helpers.containment().await
    }

    /// What all commands use together, where an isolation [limits](Isolation::with_tree_limits) that; else none.
    pub fn tree_usage(&self) -> Option<TreeUsage> {
        Some(self.helpers.isolation()?.group()?.usage())
    }

    /// How long a command that is killed, timed out or wrote too much may take to end by itself after `SIGTERM`, until
    /// `SIGKILL`. Dropping a child has no grace.
    pub fn with_kill_grace(mut self, grace: Duration) -> Self {
        self.kill_grace = grace;
        self
    }

    /// How long the output of a command that has exited is read on, while something that it started holds it open.
    pub fn with_drain_grace(mut self, grace: Duration) -> Self {
        self.drain_grace = grace;
        self
    }
}

/// Shows the names of variables, never their values: a value may be a secret.
impl fmt::Debug for LocalProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalProcess")
            .field("root", &self.root.path)
            .field("environment", &self.environment)
            .field("shell", &self.shell)
            .field("kill_grace", &self.kill_grace)
            .field("drain_grace", &self.drain_grace)
            .field("helpers", &self.helpers)
            .finish()
    }
}

#[async_trait]
impl Process for LocalProcess {
    fn capabilities(&self) -> ProcessCapabilities {
        let root = self.helpers.isolation().and_then(Prepared::root_at).unwrap_or(&self.root.path);
        let capabilities = ProcessCapabilities::new(root).with_shell().with_live_stdin().with_signals();
        if self.helpers.is_refused() { capabilities } else { capabilities.with_limits().with_terminal() }
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        self.start(request).await
    }
}

impl Root {
    fn open(path: &Path) -> Result<Self> {
        let canonical = path.canonicalize().map_err(|source| failure("open", source))?;
        let handle = cwd::open_directory(rustix::fs::CWD, &canonical)
            .map_err(|errno| failure("open", io::Error::from(errno)))?;
        let path = canonical.into_os_string().into_string().map_err(|_| {
            error(ErrorKind::InvalidInput, "open").with_message("the root's path is not UTF-8")
        })?;
        Ok(Self { handle, path })
    }

    fn directory(&self, path: &ResourcePath) -> Result<OwnedFd> {
        cwd::resolve(self, path).map_err(|error| error.with_path(path))
    }
}

fn error(kind: ErrorKind, operation: &'static str) -> Error {
    Error::new(kind, operation).with_provider("local")
}

/// The system's error in the contract's terms.
fn failure(operation: &'static str, source: io::Error) -> Error {
    let errno = Errno::from_io_error(&source);
    let (kind, retry) = match errno {
        Some(Errno::NOENT) => (ErrorKind::NotFound, Retry::Never),
        Some(Errno::NOTDIR) => (ErrorKind::NotADirectory, Retry::Never),
        Some(Errno::ACCESS | Errno::PERM) => (ErrorKind::PermissionDenied, Retry::Never),
        Some(Errno::NAMETOOLONG | Errno::LOOP) => (ErrorKind::InvalidPath, Retry::Never),
        Some(Errno::TOOBIG) => (ErrorKind::LimitExceeded, Retry::Never),
        // Too many processes or files, or too little memory, at this moment.
        Some(Errno::AGAIN | Errno::MFILE | Errno::NFILE | Errno::NOMEM) => {
            (ErrorKind::Unavailable, Retry::After(None))
        }
        _ => (ErrorKind::Internal, Retry::Never),
    };
    error(kind, operation).with_retry(retry).with_source(source)
}

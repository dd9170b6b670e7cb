use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;

use crate::ResourcePath;

/// A command to run.
///
/// ```
/// use agentx_resource::ExecRequest;
/// use std::time::Duration;
///
/// let request = ExecRequest::shell("cargo test").with_timeout(Duration::from_secs(60)).with_env("CI", "1");
/// assert_eq!(request.env["CI"], "1");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecRequest {
    /// What to run.
    pub invocation: Invocation,
    /// Where, below the process's root.
    pub cwd: ResourcePath,
    /// The variables that the command gets, on top of the few that the [`Process`](crate::Process) itself states.
    pub env: BTreeMap<String, String>,
    /// What the command reads.
    pub stdin: Stdin,
    /// How long the command may take; unbounded by default.
    pub timeout: Option<Duration>,
    /// How long the command may write nothing to either stream; unbounded by default. It ends as a timeout does.
    pub idle_timeout: Option<Duration>,
    /// What the command may use. A capability, where anything is limited.
    pub limits: ResourceLimits,
    /// A terminal of this size in place of three pipes. A capability. What is shown there comes as standard output,
    /// and [`Stdin::Piped`] is typed into it.
    pub terminal: Option<TerminalSize>,
    /// How much output is kept.
    pub output_limit: OutputLimit,
}

impl ExecRequest {
    /// Runs a program with arguments, as they are: no shell is involved.
    pub fn program(program: impl Into<String>, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::of(Invocation::Program {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
        })
    }

    /// Runs shell source.
    pub fn shell(script: impl Into<String>) -> Self {
        Self::of(Invocation::Shell { script: script.into() })
    }

    fn of(invocation: Invocation) -> Self {
        Self {
            invocation,
            cwd: ResourcePath::root(),
            env: BTreeMap::new(),
            stdin: Stdin::Null,
            timeout: None,
            idle_timeout: None,
            limits: ResourceLimits::default(),
            terminal: None,
            output_limit: OutputLimit::default(),
        }
    }

    /// In this directory.
    pub fn with_cwd(mut self, cwd: ResourcePath) -> Self {
        self.cwd = cwd;
        self
    }

    /// With this variable.
    pub fn with_env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// With these variables.
    pub fn with_envs(mut self, env: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(env);
        self
    }

    /// With this input.
    pub fn with_stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// For at most this long.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// For as long as it writes something at least once in this time.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = Some(timeout);
        self
    }

    /// With these limits on what it uses.
    pub fn with_limits(mut self, limits: ResourceLimits) -> Self {
        self.limits = limits;
        self
    }

    /// In a terminal of this size.
    pub fn with_terminal(mut self, size: TerminalSize) -> Self {
        self.terminal = Some(size);
        self
    }

    /// With this limit on the output.
    pub fn with_output_limit(mut self, limit: OutputLimit) -> Self {
        self.output_limit = limit;
        self
    }
}

/// Shows the names of variables, never their values: a value may be a secret.
impl fmt::Debug for ExecRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecRequest")
            .field("invocation", &self.invocation)
            .field("cwd", &self.cwd)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("stdin", &self.stdin)
            .field("timeout", &self.timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("limits", &self.limits)
            .field("terminal", &self.terminal)
            .field("output_limit", &self.output_limit)
            .finish()
    }
}

/// What to run. Shell source stays apart from programs, so that a virtual shell can parse it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invocation {
    /// A program (a name that is looked up, or a path as the process sees it) and its arguments.
    Program {
        /// The program.
        program: String,
        /// Its arguments, without the program's own name.
        args: Vec<String>,
    },
    /// Source for the process's shell.
    Shell {
        /// The source.
        script: String,
    },
}

/// What a command reads.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stdin {
    /// Nothing: the end at once.
    Null,
    /// These bytes, then the end.
    Bytes(Bytes),
    /// What [`Child::write_stdin`](crate::Child::write_stdin) sends, until it is closed. A capability.
    Piped,
}

impl fmt::Debug for Stdin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Piped => f.write_str("Piped"),
        }
    }
}

/// What a command and each process that it starts may use. Nothing is limited by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceLimits {
    /// Address space of a process, in bytes.
    pub memory: Option<u64>,
    /// Processor time of a process, in whole seconds; a part of one counts as one.
    pub cpu_time: Option<Duration>,
    /// The largest file that may be written, in bytes.
    pub file_size: Option<u64>,
    /// Open files of a process.
    pub open_files: Option<u64>,
    /// Processes and threads of the user who runs the command, all of them counted. `Unsupported` where the system does
    /// not bind that user, as Linux does not bind root.
    pub processes: Option<u64>,
}

impl ResourceLimits {
    /// At most so many bytes of address space in each process.
    pub fn with_memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// At most so much processor time in each process.
    pub fn with_cpu_time(mut self, time: Duration) -> Self {
        self.cpu_time = Some(time);
        self
    }

    /// At most so many bytes in a file.
    pub fn with_file_size(mut self, bytes: u64) -> Self {
        self.file_size = Some(bytes);
        self
    }

    /// At most so many open files in each process.
    pub fn with_open_files(mut self, count: u64) -> Self {
        self.open_files = Some(count);
        self
    }

    /// At most so many processes.
    pub fn with_processes(mut self, count: u64) -> Self {
        self.processes = Some(count);
        self
    }

    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TerminalSize {
    /// Its width.
    pub columns: u16,
    /// Its height.
    pub rows: u16,
}

/// 80 by 24.
impl Default for TerminalSize {
    fn default() -> Self {
        Self { columns: 80, rows: 24 }
    }
}

/// How much of each output stream is kept: its beginning as it comes, its end when it has ended. What lies between is
/// read and thrown away, so that the command goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputLimit {
    /// The bytes that are kept of each stream's beginning.
    pub head: u64,
    /// The bytes that are kept of its end, beyond the head. They are held in memory until then.
    pub tail: usize,
    /// What happens to a command that writes more.
    pub on_exceed: OnExceed,
}

impl OutputLimit {
    /// Keeps the first `bytes` of each stream and lets the command go on; the rest is read and thrown away.
    pub fn truncate(bytes: u64) -> Self {
        Self::head_and_tail(bytes, 0)
    }

    /// Keeps the first `head` and the last `tail` bytes of each stream and lets the command go on.
    pub fn head_and_tail(head: u64, tail: usize) -> Self {
        Self { head, tail, on_exceed: OnExceed::Truncate }
    }

    /// Kills a command that writes more than `bytes` to a stream.
    pub fn kill(bytes: u64) -> Self {
        Self { head: bytes, tail: 0, on_exceed: OnExceed::Kill }
    }

    /// No limit, for a caller that reads the events as they come and bounds them itself.
    pub fn none() -> Self {
        Self::truncate(u64::MAX)
    }
}

/// Keeps 16 MiB of each stream.
impl Default for OutputLimit {
    fn default() -> Self {
        Self::truncate(16 << 20)
    }
}

/// What happens to a command that writes more than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OnExceed {
    /// It goes on; what it writes beyond is thrown away and counted.
    Truncate,
    /// It is killed.
    Kill,
}

/// A signal that a command can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// The terminal is gone: `SIGHUP`.
    Hangup,
    /// As Ctrl-C does: `SIGINT`.
    Interrupt,
    /// As Ctrl-\ does: `SIGQUIT`.
    Quit,
    /// The end, at once: `SIGKILL`.
    Kill,
    /// Please end: `SIGTERM`.
    Terminate,
    /// Whatever the command makes of it: `SIGUSR1`.
    User1,
    /// Whatever the command makes of it: `SIGUSR2`.
    User2,
    /// Hold on: `SIGSTOP`.
    Stop,
    /// Go on: `SIGCONT`.
    Continue,
}

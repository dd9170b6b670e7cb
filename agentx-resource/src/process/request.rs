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

/// How much of each output stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputLimit {
    /// The bytes that are kept of each stream.
    pub bytes: u64,
    /// What happens to a command that writes more.
    pub on_exceed: OnExceed,
}

impl OutputLimit {
    /// Keeps the first `bytes` of each stream and lets the command go on; the rest is read and thrown away.
    pub fn truncate(bytes: u64) -> Self {
        Self { bytes, on_exceed: OnExceed::Truncate }
    }

    /// Kills a command that writes more than `bytes` to a stream.
    pub fn kill(bytes: u64) -> Self {
        Self { bytes, on_exceed: OnExceed::Kill }
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

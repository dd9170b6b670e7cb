use std::{path::PathBuf, time::Duration};

use agentx::resource::Secret;

/// What a server serves, and to whom.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The directory that is the root of files and commands.
    pub root: PathBuf,
    /// What callers must know; without one, whoever reaches the server is served.
    pub token: Option<Secret>,
    /// Variables that each command gets.
    pub env: Vec<(String, String)>,
    /// Bounds.
    pub limits: Limits,
}

impl Settings {
    /// Serves `root` to everybody.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), token: None, env: Vec::new(), limits: Limits::default() }
    }

    /// Serves whoever knows `token`.
    pub fn with_token(mut self, token: impl Into<Secret>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Gives each command this variable.
    pub fn with_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// With these bounds.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

/// The server's bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many commands may be there at a time, those that have ended and were not given back included.
    pub commands: usize,
    /// How many bytes of a command's events are kept until they are taken; then the command waits.
    pub log_bytes: usize,
    /// How often a stream of events that has nothing to tell gives a sign of life.
    pub heartbeat: Duration,
    /// How long one answer tells events; then its caller asks again. A caller that is gone is noticed by this at the
    /// latest.
    pub stream: Duration,
    /// How long a command goes on to which nobody listens.
    pub unattended: Duration,
    /// How long a request waits for a command to read its input, until it is told to ask again.
    pub stdin: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            commands: 256,
            log_bytes: 4 << 20,
            heartbeat: Duration::from_secs(5),
            stream: Duration::from_mins(1),
            unattended: Duration::from_secs(30),
            stdin: Duration::from_secs(20),
        }
    }
}

impl Limits {
    /// Keeps so many commands.
    pub fn with_commands(mut self, commands: usize) -> Self {
        self.commands = commands;
        self
    }

    /// Keeps so many bytes of events of each.
    pub fn with_log_bytes(mut self, bytes: usize) -> Self {
        self.log_bytes = bytes;
        self
    }

    /// Gives a sign of life so often.
    pub fn with_heartbeat(mut self, time: Duration) -> Self {
        self.heartbeat = time;
        self
    }

    /// Tells events for so long in one answer.
    pub fn with_stream(mut self, time: Duration) -> Self {
        self.stream = time;
        self
    }

    /// Lets a command go on unattended for so long.
    pub fn with_unattended(mut self, time: Duration) -> Self {
        self.unattended = time;
        self
    }
}

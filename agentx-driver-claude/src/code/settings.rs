use std::{collections::BTreeMap, time::Duration};

use agentx_resource::{ResourcePath, Secret};

/// How a [`ClaudeCode`](super::ClaudeCode) runs the CLI.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClaudeCodeSettings {
    /// The program: a path as the process sees it, or a name that it looks up on its PATH.
    pub program: String,
    /// Arguments before all others, for a program that is not the CLI itself but runs it.
    pub program_args: Vec<String>,
    /// The CLI's home and configuration, a directory as the process sees it, made where it is missing. Agents that should
    /// not know of each other have one each.
    pub home: String,
    /// The directory that it works in.
    pub cwd: ResourcePath,
    /// More variables for the CLI. Besides these it gets no others than those that this crate sets and the process's own.
    pub env: BTreeMap<String, Secret>,
    /// The CLI's own tools that it may offer to the model, beside those of the turn.
    pub builtin_tools: BuiltinTools,
    /// The CLI's mode of permission: `default`, `acceptEdits`, `plan` and others. Whatever it is, each call of a tool is
    /// put to the turn's permission, which can only allow less.
    pub permission_mode: Option<String>,
    /// So many tools of the turn run at a time; at least one.
    pub parallel_tools: usize,
    /// How many processes are kept between turns. The one that was used least lately is ended for a new one.
    pub keep: usize,
    /// How long a start may take, until the CLI has answered `initialize`.
    pub start_timeout: Duration,
    /// How long the answer to any other request may take.
    pub request_timeout: Duration,
    /// The longest time without a frame from the CLI while it is its turn to do something. A standstill is noticed after
    /// this time, at the latest after twice of it.
    pub idle_timeout: Duration,
    /// The longest frame, in bytes.
    pub frame_limit: usize,
}

/// Which of the CLI's own tools are offered to the model. They run in the CLI, on the files and with the rights of its
/// process. Each call is put to the turn's hooks and permission, as any other; the CLI's own sub-agents are not offered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuiltinTools {
    /// None. Nor does the CLI read `CLAUDE.md` files or anything else of its own accord.
    #[default]
    None,
    /// Those of these names, such as `Read` and `Bash`.
    Only(Vec<String>),
    /// All.
    All,
}

impl ClaudeCodeSettings {
    /// The CLI that is found as `claude` on the process's PATH, with this directory as its home.
    pub fn new(home: impl Into<String>) -> Self {
        Self {
            program: "claude".to_owned(),
            program_args: Vec::new(),
            home: home.into(),
            cwd: ResourcePath::root(),
            env: BTreeMap::new(),
            builtin_tools: BuiltinTools::None,
            permission_mode: None,
            parallel_tools: 8,
            keep: 4,
            start_timeout: Duration::from_mins(1),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_mins(15),
            frame_limit: 64 << 20,
        }
    }

    /// With this program.
    pub fn with_program(mut self, program: impl Into<String>) -> Self {
        self.program = program.into();
        self
    }

    /// With these arguments before all others.
    pub fn with_program_args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.program_args = args.into_iter().map(Into::into).collect();
        self
    }

    /// In this directory.
    pub fn with_cwd(mut self, cwd: ResourcePath) -> Self {
        self.cwd = cwd;
        self
    }

    /// With one more variable.
    pub fn with_env(mut self, key: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// With these of the CLI's own tools.
    pub fn with_builtin_tools(mut self, tools: BuiltinTools) -> Self {
        self.builtin_tools = tools;
        self
    }

    /// In this mode of permission.
    pub fn with_permission_mode(mut self, mode: impl Into<String>) -> Self {
        self.permission_mode = Some(mode.into());
        self
    }

    /// With at most so many tools of the turn at a time.
    pub fn with_parallel_tools(mut self, count: usize) -> Self {
        self.parallel_tools = count;
        self
    }

    /// With so many processes kept between turns.
    pub fn with_keep(mut self, count: usize) -> Self {
        self.keep = count;
        self
    }

    /// With this bound on a start.
    pub fn with_start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = timeout;
        self
    }

    /// With this bound on the answer to a request.
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// With this bound on a standstill.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// With this bound on a frame.
    pub fn with_frame_limit(mut self, bytes: usize) -> Self {
        self.frame_limit = bytes;
        self
    }
}

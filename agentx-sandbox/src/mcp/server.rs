use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::{ResourcePath, Secret};

use super::{McpConnection, McpLimits};
use crate::NodeRuntime;

/// The longest name of a server: the names of its tools begin with it.
const MAX_NAME: usize = 48;

/// An MCP server whose tools an agent is to have: what to start or where to reach it, and what of it to offer.
///
/// ```
/// use agentx_sandbox::mcp::McpServer;
///
/// let server = McpServer::stdio("files", "npx", ["-y", "@modelcontextprotocol/server-filesystem", "."])
///     .with_secret_env("API_TOKEN", "hunter2-hunter2")
///     .with_denied_tools(["write_file"]);
/// assert_eq!(server.name(), "files");
/// assert!(!format!("{server:?}").contains("hunter2"));
/// ```
#[derive(Clone)]
#[must_use]
pub struct McpServer {
    pub(super) name: String,
    pub(super) transport: Transport,
    pub(super) allowed: Option<BTreeSet<String>>,
    pub(super) denied: BTreeSet<String>,
    pub(super) limits: McpLimits,
    /// A setting that this kind of server has no use for.
    misplaced: Option<&'static str>,
}

#[derive(Clone)]
pub(super) enum Transport {
    Stdio(Command),
    #[cfg(feature = "mcp-http")]
    Http(Endpoint),
}

#[derive(Clone)]
pub(super) struct Command {
    pub(super) program: String,
    pub(super) args: Vec<String>,
    pub(super) cwd: ResourcePath,
    pub(super) env: BTreeMap<String, String>,
    pub(super) secret_env: BTreeMap<String, Secret>,
}

#[cfg(feature = "mcp-http")]
#[derive(Clone)]
pub(super) struct Endpoint {
    pub(super) url: Secret,
    pub(super) headers: BTreeMap<String, Secret>,
}

impl McpServer {
    /// A program that speaks MCP over its input and output. It runs as a command of the sandbox does: with the
    /// settings of the sandbox's [`Env`](agentx_resource::Env) as its variables, in its working directory, and under
    /// the isolation of its [`Process`](agentx_resource::Process).
    ///
    /// `name` is what the names of its tools begin with: 1 to 48 ASCII letters, digits, `-` and single `_`.
    pub fn stdio(
        name: impl Into<String>,
        program: impl Into<String>,
        args: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self::of(
            name,
            Transport::Stdio(Command {
                program: program.into(),
                args: args.into_iter().map(Into::into).collect(),
                cwd: ResourcePath::root(),
                env: BTreeMap::new(),
                secret_env: BTreeMap::new(),
            }),
        )
    }

    /// A server behind this URL, over streamable HTTP. The URL may hold a secret: no more than its host is ever shown.
    #[cfg(feature = "mcp-http")]
    pub fn http(name: impl Into<String>, url: impl Into<Secret>) -> Self {
        Self::of(name, Transport::Http(Endpoint { url: url.into(), headers: BTreeMap::new() }))
    }

    fn of(name: impl Into<String>, transport: Transport) -> Self {
        let limits = McpLimits::default();
        Self { name: name.into(), transport, allowed: None, denied: BTreeSet::new(), limits, misplaced: None }
    }

    /// The server's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// In this directory of the sandbox. For a server over stdio.
    pub fn with_cwd(self, path: ResourcePath) -> Self {
        self.with_command("a working directory", |command| command.cwd = path)
    }

    /// With this variable, on top of the sandbox's settings. For a server over stdio.
    pub fn with_env(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with_command("a variable", |command| drop(command.env.insert(key.into(), value.into())))
    }

    /// With this variable, whose value is never shown: it is taken out of all that the server's tools answer. For a
    /// server over stdio.
    pub fn with_secret_env(self, key: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.with_command("a variable", |command| drop(command.secret_env.insert(key.into(), value.into())))
    }

    /// With this header in each request. Its value is never shown, and taken out of all that the server's tools answer.
    /// For a server behind a URL.
    #[cfg(feature = "mcp-http")]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        match &mut self.transport {
            Transport::Http(endpoint) => {
                endpoint.headers.insert(name.into().to_ascii_lowercase(), value.into());
            }
            Transport::Stdio(_) => self.misplaced = Some("a header"),
        }
        self
    }

    /// With this token in the header `Authorization: Bearer`.
    #[cfg(feature = "mcp-http")]
    pub fn with_bearer_token(self, token: impl Into<Secret>) -> Self {
        self.with_header("authorization", format!("Bearer {}", token.into().expose()))
    }

    /// Offers these of its tools and no others, by the server's own names.
    pub fn with_allowed_tools(mut self, tools: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.allowed = Some(tools.into_iter().map(Into::into).collect());
        self
    }

    /// Does not offer these of its tools, by the server's own names, even where they are allowed.
    pub fn with_denied_tools(mut self, tools: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.denied = tools.into_iter().map(Into::into).collect();
        self
    }

    /// Within these limits.
    pub fn with_limits(mut self, limits: McpLimits) -> Self {
        self.limits = limits.bounded();
        self
    }

    /// Starts the server, or reaches it, and asks for its tools. A server over stdio is a child of `sandbox`'s process;
    /// one behind a URL needs none. Large results are put where the sandbox puts them.
    ///
    /// # Errors
    /// `InvalidInput` for a name, a URL or a header that is none, a setting that is for the other kind of server, and a
    /// server over stdio without a sandbox;
    /// `NotFound` for an allowed or denied tool that the server does not have; `TimedOut` for a server that does not
    /// answer in time; `Unavailable` for one that ends or can't be reached, with what it wrote to its standard error;
    /// `Corrupt` for one that does not speak the protocol; `Unauthenticated` and `PermissionDenied` where it says so;
    /// those of [`Process::spawn`](agentx_resource::Process::spawn).
    pub async fn connect(&self, sandbox: Option<&NodeRuntime>) -> Result<McpConnection> {
        self.check()?;
        McpConnection::start(self.clone(), sandbox.cloned()).await
    }

    fn check(&self) -> Result<()> {
        let valid = (1..=MAX_NAME).contains(&self.name.len())
            && self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
            // What comes behind it in a tool's name must not be taken for a part of it.
            && !self.name.contains("__")
            && !self.name.ends_with('_');
        let message = match self.misplaced {
            _ if !valid => format!(
                "an MCP server's name is 1 to {MAX_NAME} ASCII letters, digits, - and single _, and does not end in _"
            ),
            Some(setting) => format!("this kind of server has no use for {setting}"),
            None => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidInput, "connect").with_path(&self.name).with_message(message))
    }

    #[cfg_attr(not(feature = "mcp-http"), expect(unused_variables, reason = "every server is a command"))]
    fn with_command(mut self, setting: &'static str, change: impl FnOnce(&mut Command)) -> Self {
        match &mut self.transport {
            Transport::Stdio(command) => change(command),
            #[cfg(feature = "mcp-http")]
            Transport::Http(_) => self.misplaced = Some(setting),
        }
        self
    }

    /// The values that must never be shown.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        match &self.transport {
            Transport::Stdio(command) => command.secret_env.values().cloned().collect(),
            #[cfg(feature = "mcp-http")]
            Transport::Http(endpoint) => {
                let bare = |value: &Secret| value.expose().strip_prefix("Bearer ").map(Secret::new);
                let headers = endpoint.headers.values();
                headers.flat_map(|value| [bare(value), Some(value.clone())]).flatten().collect()
            }
        }
    }
}

/// Shows the names of variables and headers, never their values, and of a URL nothing.
impl fmt::Debug for McpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("McpServer");
        shown.field("name", &self.name);
        match &self.transport {
            Transport::Stdio(command) => shown
                .field("program", &command.program)
                .field("args", &command.args.len())
                .field("env", &command.env.keys().chain(command.secret_env.keys()).collect::<Vec<_>>()),
            #[cfg(feature = "mcp-http")]
            Transport::Http(endpoint) => shown.field("headers", &endpoint.headers.keys().collect::<Vec<_>>()),
        };
        shown.field("allowed", &self.allowed).field("denied", &self.denied).field("limits", &self.limits);
        shown.finish_non_exhaustive()
    }
}

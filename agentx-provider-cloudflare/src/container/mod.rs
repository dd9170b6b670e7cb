//! Files and commands in a container that is reached over HTTP.

mod child;
mod engine;
mod events;
mod files;
mod http;
mod lazy;
mod process;
mod sandbox;
mod sse;

use std::{fmt, sync::Arc, time::Duration};

use agentx_resource::{ErrorKind, ProcessCapabilities, Result, Secret};

pub use self::{
    engine::{ContainerEngine, FixedContainer, WorkerContainer},
    files::ContainerFileSystem,
    lazy::{ContainerEvent, LazyContainer, LazyOptions},
    process::ContainerProcess,
    sandbox::SandboxProcess,
};
use self::{
    http::{Http, Request, fail},
    wire::Hello,
};
use crate::container_wire as wire;

/// The provider's name in errors.
const PROVIDER: &str = "container";

/// Where a server is, and how it knows its callers.
#[derive(Clone)]
#[non_exhaustive]
pub struct ContainerAddress {
    /// Its URL, up to where its paths begin: `http://127.0.0.1:3000`, or a Worker in front of it.
    pub url: String,
    /// The bearer token that it asks for.
    pub token: Option<Secret>,
}

impl ContainerAddress {
    /// A server at this URL, which asks for no token.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), token: None }
    }

    /// With this token.
    pub fn with_token(mut self, token: impl Into<Secret>) -> Self {
        self.token = Some(token.into());
        self
    }
}

/// Shows that there is a token, not which, and no URL: it may hold a key.
impl fmt::Debug for ContainerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerAddress").field("token", &self.token).finish_non_exhaustive()
    }
}

/// How long a client waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerOptions {
    /// For a connection; 10 seconds by default.
    pub connect: Duration,
    /// For the answer to a file verb, and for each piece of a content; 60 seconds by default. A copy of a large tree is
    /// one verb.
    pub answer: Duration,
    /// For a sign of life of a command's events. The server gives one each 5 seconds; 15 by default.
    pub silence: Duration,
    /// For a connection to a command whose events broke off; 30 seconds by default, as long as the server keeps such a
    /// command.
    pub reattach: Duration,
}

impl Default for ContainerOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_mins(1),
            silence: Duration::from_secs(15),
            reattach: Duration::from_secs(30),
        }
    }
}

impl ContainerOptions {
    /// Waits so long for a connection.
    pub fn with_connect(mut self, wait: Duration) -> Self {
        self.connect = wait;
        self
    }

    /// Waits so long for an answer.
    pub fn with_answer(mut self, wait: Duration) -> Self {
        self.answer = wait;
        self
    }

    /// Waits so long for a sign of life.
    pub fn with_silence(mut self, wait: Duration) -> Self {
        self.silence = wait;
        self
    }

    /// Tries so long to find a command again.
    pub fn with_reattach(mut self, wait: Duration) -> Self {
        self.reattach = wait;
        self
    }
}

/// A container whose server was found, and said what it can do: its files and its commands are a coherent pair.
///
/// It stands for one instance of the server. When the container is replaced, everything that goes to it fails as
/// [`Lost`](ErrorKind::Lost), so that an empty tree is never taken for the one that was there.
///
/// It needs a tokio runtime with time and I/O.
///
/// ```no_run
/// use agentx_provider_cloudflare::{Container, ContainerAddress, ContainerOptions};
/// use agentx_resource::{ExecRequest, FileSystemExt, ProcessExt, ResourcePath};
///
/// # async fn example() -> agentx_resource::Result<()> {
/// let address = ContainerAddress::new("http://127.0.0.1:3000").with_token("a-long-random-token");
/// let container = Container::connect(&address, ContainerOptions::default()).await?;
/// container.files().write_file(&ResourcePath::new("/notes.md")?, "hello").await?;
/// let output = container.process().exec(ExecRequest::shell("cat notes.md")).await?;
/// assert_eq!(output.stdout_text(), "hello");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Container {
    http: Arc<Http>,
    hello: Arc<Hello>,
}

impl Container {
    /// Asks the server at `address` what it is.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is no URL; `Unavailable` where nobody answers, or not yet; `Unauthenticated`;
    /// `Unsupported` for a server of another kind or of another version.
    pub async fn connect(address: &ContainerAddress, options: ContainerOptions) -> Result<Self> {
        let http = Http::new(address, options)?;
        let hello: Hello = http.ask(Request::get("connect", format!("{}/hello", wire::PREFIX))).await?;
        if hello.protocol != wire::PROTOCOL {
            let message =
                format!("the server speaks version {}, and this is {}", hello.protocol, wire::PROTOCOL);
            return Err(fail(ErrorKind::Unsupported, "connect").with_message(message));
        }
        let http = http.with_instance(&hello.instance)?;
        Ok(Self { http: Arc::new(http), hello: Arc::new(hello) })
    }

    /// The container's files.
    pub fn files(&self) -> ContainerFileSystem {
        ContainerFileSystem::new(Arc::clone(&self.http), self.hello.file_capabilities())
    }

    /// The container's commands.
    pub fn process(&self) -> ContainerProcess {
        ContainerProcess::new(Arc::clone(&self.http), self.hello.process_capabilities())
    }

    /// What the container's commands can do.
    fn capabilities(&self) -> ProcessCapabilities {
        self.hello.process_capabilities()
    }

    /// Which instance it is: a text that no other start of a server has.
    pub fn instance(&self) -> &str {
        &self.hello.instance
    }

    /// Asks whether it is still there.
    ///
    /// # Errors
    /// `Lost` for one that was replaced; `Unavailable`, `TimedOut`, `Unauthenticated`.
    pub async fn ping(&self) -> Result<()> {
        let _: Hello = self.http.ask(Request::get("ping", format!("{}/hello", wire::PREFIX))).await?;
        Ok(())
    }
}

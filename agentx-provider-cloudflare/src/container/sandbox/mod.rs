//! Commands by the published HTTP API of `@cloudflare/sandbox`, for servers that are not ours.

mod child;
mod script;

use std::{sync::Arc, time::Duration};

use agentx_resource::{Child, ErrorKind, ExecRequest, Process, ProcessCapabilities, Result, Stdin};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{runtime::Handle, time::Instant};

use self::child::SandboxChild;
use super::{
    ContainerAddress, ContainerOptions,
    http::{Http, Request, fail},
    process::random_id,
};

/// The most bytes of input that a command can be given: it travels within the command's own text.
const STDIN_BYTES: usize = 64 << 10;

/// Commands in a container whose server is that of `@cloudflare/sandbox`, over its HTTP API.
///
/// That API has less than a server of ours, and so this declares less: a shell and programs, and no live input, signals,
/// resource limits or terminals. There are no files to go with it, since that API has none of the conditions that a
/// [`FileSystem`](agentx_resource::FileSystem) promises.
///
/// * **Output is text** in that API: what is no UTF-8 comes replaced, and nobody can see it.
/// * **Input** is at most 64 KiB, known from the start; more is refused as `Unsupported`.
/// * **A signal** that ends a command is told as a shell tells it: code 137 is `SIGKILL`, or what exits so.
/// * **Variables** that a request names stand in the command's own text, where other programs of the container can read them.
/// * **A connection that breaks** ends the command as [`Lost`](agentx_resource::ExitStatus::Lost): that API does not number
///   its events. So does the host's death: the command then goes on until the container sleeps.
#[derive(Clone, Debug)]
pub struct SandboxProcess {
    http: Arc<Http>,
    root: String,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    process_id: String,
}

impl SandboxProcess {
    /// Asks the server at `address` what it is. Commands see the root at `root`, which is `/workspace` in the images of
    /// Cloudflare.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is no URL; `Unavailable` where nobody answers; `Unauthenticated`; `Unsupported`
    /// for a server of another kind.
    pub async fn connect(
        address: &ContainerAddress,
        root: impl Into<String>,
        options: ContainerOptions,
    ) -> Result<Self> {
        let http = Http::new(address, options)?;
        let Version { version } = http.ask(Request::get("connect", "/api/version")).await?;
        if version.is_empty() {
            return Err(fail(ErrorKind::Unsupported, "connect").with_message("the server has no version"));
        }
        Ok(Self { http: Arc::new(http), root: root.into() })
    }
}

#[async_trait]
impl Process for SandboxProcess {
    fn capabilities(&self) -> ProcessCapabilities {
        ProcessCapabilities::new(&*self.root).with_shell()
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        let unsupported = |what: &str| {
            Err(fail(ErrorKind::Unsupported, "spawn").with_message(format!("that server has no {what}")))
        };
        match &request.stdin {
            Stdin::Piped => return unsupported("live input"),
            Stdin::Bytes(bytes) if bytes.len() > STDIN_BYTES => {
                return unsupported("input of more than 64 KiB");
            }
            _ => {}
        }
        if !request.limits.is_none() {
            return unsupported("resource limits");
        }
        if request.terminal.is_some() {
            return unsupported("terminals");
        }
        let runtime =
            Handle::try_current().map_err(|source| fail(ErrorKind::Internal, "spawn").with_source(source))?;
        let mark = random_id();
        let command = script::script(&request, &self.root, &mark)?;
        // Without a session: a shell that stays would be harmed by one command, and make the others wait.
        let body = json!({
            "command": command,
            "sessionId": "__DISABLE_SESSION__",
            "processId": mark,
            "autoCleanup": false,
        });
        let mut child = SandboxChild::new(Arc::clone(&self.http), runtime, mark, &request);
        let started: Started =
            self.http.ask(Request::post("spawn", "/api/process/start").json(body.to_string())).await?;
        if started.process_id != child.id() {
            return Err(fail(ErrorKind::Corrupt, "spawn").with_message("the server started another process"));
        }
        child.listen().await?;
        Ok(Box::new(child))
    }
}

/// When a command's time is over.
fn deadline(time: Option<Duration>) -> Option<Instant> {
    time.and_then(|time| Instant::now().checked_add(time))
}

/// One event of a process's log.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: Value,
    exit_code: Option<i32>,
}

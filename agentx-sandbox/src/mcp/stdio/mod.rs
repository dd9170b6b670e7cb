//! A server as a child of the sandbox's process.

mod lines;
mod record;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::{Child, ExecEvent, ExecRequest, OutputLimit, Stdin};
use bytes::Bytes;
use rmcp::{
    RoleClient,
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::Transport,
};
use tokio::{sync::Mutex, task::coop, time};

use self::lines::Lines;
pub(super) use self::record::Record;
use super::server::Command;
use crate::NodeRuntime;

/// How many messages wait for a server that does not read its input.
const MAX_WAITING: usize = 1024;

/// The way to a server and back, over its input and output.
pub(super) struct Stdio {
    child: Arc<dyn Child>,
    /// Held while one message is written.
    writing: Arc<Mutex<()>>,
    waiting: Arc<AtomicUsize>,
    lines: Lines,
    flooded: bool,
    record: Arc<Record>,
    /// What the server is given to end by itself.
    close: Duration,
}

impl Stdio {
    pub(super) async fn start(
        command: &Command,
        runtime: &NodeRuntime,
        record: Arc<Record>,
        close: Duration,
    ) -> Result<Self> {
        let secret = command.secret_env.iter().map(|(key, value)| (key.clone(), value.expose().to_owned()));
        let request = ExecRequest::program(&command.program, &command.args)
            .with_cwd(command.cwd.clone())
            .with_envs(command.env.clone())
            .with_envs(secret)
            .with_stdin(Stdin::Piped)
            // What comes is read as it comes, and bounded here.
            .with_output_limit(OutputLimit::none());
        let request = runtime.with_settings(request).await?;
        let child: Arc<dyn Child> = Arc::from(runtime.process().spawn(request).await?);
        Ok(Self {
            child,
            writing: Arc::default(),
            waiting: Arc::default(),
            lines: Lines::default(),
            flooded: false,
            record,
            close,
        })
    }

    /// The next event that is output; `None` at the end, which is then on record.
    async fn read(&mut self) -> Option<Bytes> {
        loop {
            // A server that writes without pause must not keep this thread to itself.
            coop::consume_budget().await;
            match self.child.next_event().await {
                Ok(Some(ExecEvent::Stdout(piece))) => return Some(piece),
                Ok(Some(ExecEvent::Stderr(piece))) => self.record.stderr(&piece),
                // Output may still come; the events end soon.
                Ok(Some(ExecEvent::Exited(status))) => self.record.exited(status),
                Ok(Some(_)) => {}
                Ok(None) => {
                    self.record.ended(ErrorKind::Unavailable, "it ended".to_owned());
                    return None;
                }
                Err(error) => {
                    self.record.ended(ErrorKind::Unavailable, format!("it was lost: {error}"));
                    return None;
                }
            }
        }
    }
}

impl Transport<RoleClient> for Stdio {
    type Error = Error;

    fn send(&mut self, message: ClientJsonRpcMessage) -> impl Future<Output = Result<()>> + Send + 'static {
        let place = Place::take(&self.waiting);
        let (child, writing) = (Arc::clone(&self.child), Arc::clone(&self.writing));
        async move {
            let Some(_place) = place else {
                return Err(Error::new(ErrorKind::Unavailable, "write")
                    .with_message(format!("{MAX_WAITING} messages wait for the server to read them")));
            };
            let mut line = serde_json::to_vec(&message)
                .map_err(|error| Error::new(ErrorKind::Internal, "write").with_message(error.to_string()))?;
            line.push(b'\n');
            let _writing = writing.lock().await;
            child.write_stdin(line.into()).await
        }
    }

    // Whoever drops this loses nothing: what came is in `lines`.
    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let next = self.lines.next_message();
            self.record.stray(self.lines.sample());
            match next {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(flood) => {
                    let (kind, why) = flood.told();
                    self.record.ended(kind, why);
                    self.flooded = true;
                    return None;
                }
            }
            let piece = self.read().await?;
            self.lines.push(&piece);
        }
    }

    async fn close(&mut self) -> Result<()> {
        let close = self.close;
        // What has not ended by itself is killed when `self` is dropped, which comes next.
        if self.flooded {
            return Ok(());
        }
        let ending = async {
            let closed = self.child.close_stdin().await;
            while self.read().await.is_some() {}
            closed
        };
        time::timeout(close, ending).await.unwrap_or(Ok(()))
    }
}

/// A place among the messages that wait to be written.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(waiting: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(waiting));
        (waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

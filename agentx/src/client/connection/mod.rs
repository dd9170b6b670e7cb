//! One connection to a server: a task that has the socket, and the handle that its users share.

mod backoff;
mod engine;
mod inbox;
mod request;
mod socket;
mod topic;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use agentx_core::{Cursor, Error, ErrorKind, EventContext, Result};
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time,
};

use self::{engine::Engine, inbox::Inbox};
pub(super) use self::{inbox::Listener, request::Request};
use super::{RemoteBuilder, failure};

/// How many requests may wait for the connection before those who ask wait too.
const COMMANDS: usize = 64;

/// A connection. Clones are the same one; it ends with the last.
#[derive(Clone)]
pub(super) struct Connection(Arc<Handle>);

struct Handle {
    commands: mpsc::Sender<Command>,
    state: Arc<State>,
    request_timeout: Duration,
}

/// What the task and its users share.
#[derive(Default)]
struct State {
    /// Tells the task that something changed here or in an inbox.
    wake: Notify,
    closing: AtomicBool,
    /// Why the connection ended.
    ended: OnceLock<Error>,
    skipped: AtomicU64,
}

/// What is asked of the task.
enum Command {
    Call {
        request: Request,
        answer: oneshot::Sender<Result<Value>>,
    },
    Listen {
        context: Arc<EventContext>,
        inbox: Arc<Inbox>,
        seen: Option<Cursor>,
        ready: oneshot::Sender<Result<()>>,
    },
}

impl Connection {
    pub(super) async fn open(options: RemoteBuilder) -> Result<Self> {
        let (commands, asked) = mpsc::channel(COMMANDS);
        let request_timeout = options.request_timeout;
        let dialer = socket::Dialer::new(&options)?;
        let socket = dialer.dial().await.map_err(socket::DialError::into_error)?;
        let state = Arc::<State>::default();
        let engine = Engine::new(options, dialer, asked, state.clone());
        tokio::spawn(engine.run(socket));
        Ok(Self(Arc::new(Handle { commands, state, request_timeout })))
    }

    /// Asks, and waits for the answer.
    async fn call(&self, request: Request) -> Result<Value> {
        let operation = request.operation;
        let (answer, answered) = oneshot::channel();
        self.command(operation, Command::Call { request, answer }, answered).await
    }

    /// The events of a session behind `seen`, or from now on.
    pub(super) async fn listen(&self, context: &Arc<EventContext>, seen: Option<Cursor>) -> Result<Listener> {
        let (ready, is_ready) = oneshot::channel();
        let inbox = Arc::new(Inbox::new(seen.unwrap_or_default()));
        // Made first: where this is dropped, the task hears of it.
        let listener = Listener::new(inbox.clone(), self.0.state.clone());
        let command = Command::Listen { context: context.clone(), inbox, seen, ready };
        self.command("listen", command, is_ready).await?;
        Ok(listener)
    }

    async fn command<T>(
        &self,
        operation: &'static str,
        command: Command,
        answered: oneshot::Receiver<Result<T>>,
    ) -> Result<T> {
        let done = time::timeout(self.0.request_timeout, async {
            self.0.commands.send(command).await.ok()?;
            answered.await.ok()
        });
        match done.await {
            Ok(Some(answer)) => answer,
            Ok(None) => Err(self.0.state.ended(operation)),
            Err(_) => Err(failure::error(ErrorKind::TimedOut, operation)
                .with_message(format!("no answer within {:?}", self.0.request_timeout))),
        }
    }

    pub(super) fn skipped(&self) -> u64 {
        self.0.state.skipped.load(Ordering::Relaxed)
    }

    pub(super) fn close(&self) {
        self.0.state.close();
    }
}

impl State {
    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Passes when the connection is to end.
    async fn closed(&self) {
        while !self.is_closing() {
            self.wake.notified().await;
        }
    }

    /// Why nothing is asked any more.
    fn ended(&self, operation: &'static str) -> Error {
        match self.ended.get() {
            Some(why) => failure::error(why.kind(), operation)
                .with_message("the connection has ended")
                .with_retry(why.retry())
                .with_source(why.clone()),
            None => failure::error(ErrorKind::Cancelled, operation).with_message("the connection has ended"),
        }
    }

    fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.state.close();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("ended", &self.0.state.ended.get()).finish_non_exhaustive()
    }
}

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use agentx_core::{ErrorKind, Result, Retry, ToolDefinition};
use agentx_resource::{BoxFuture, Child, Clock, ExecEvent, ExitStatus, Process, Secret};
use bytes::Bytes;
use futures::{
    FutureExt,
    future::{self, Either},
};
use serde_json::{Value, json};

use super::{
    ClaudeCodeSettings, CliRequest, Frame, failure,
    framer::Framer,
    launch::{GATE, Launch},
    mcp::{self, Asked},
};

/// The most frames that are kept while an answer is waited for.
const INBOX_LIMIT: usize = 10_000;

/// How many frames may wait to be read by the CLI before no more of its own are read.
const OUTBOX_LIMIT: usize = 1_000;

/// How much is kept of what the CLI says beside its frames, in bytes: its last words.
const WORDS_LIMIT: usize = 4 << 10;

/// Is shown each line that the CLI writes.
pub(super) type Observer = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// One process of the CLI, and its control protocol. Dropping it kills the process and all that it started.
///
/// What the protocol asks by itself is answered in passing: the handshake of the turn's tools, the gate before the CLI's
/// own, and whatever this version does not know, which is refused.
pub struct Cli {
    child: Arc<dyn Child>,
    clock: Arc<dyn Clock>,
    framer: Framer,
    /// Frames that came while an answer was waited for.
    inbox: VecDeque<Frame>,
    outbox: VecDeque<Bytes>,
    writing: Option<BoxFuture<'static, Result<()>>>,
    words: Vec<u8>,
    exit: Option<ExitStatus>,
    /// All that it will ever write was read.
    ended: bool,
    requests: u64,
    request_timeout: Duration,
    tools: Arc<[ToolDefinition]>,
    secrets: Vec<Secret>,
    observer: Option<Observer>,
    skipped: u64,
    /// What it answered to `initialize`.
    hello: Value,
    /// What it has cost so far, in US dollars.
    pub(super) cost: f64,
}

impl Cli {
    /// Starts a process; with the history in this file, where there is one.
    pub(super) async fn start(
        process: &dyn Process,
        clock: Arc<dyn Clock>,
        settings: &ClaudeCodeSettings,
        launch: &Launch,
        history: Option<&str>,
        observer: Option<Observer>,
    ) -> Result<Self> {
        let child = process.spawn(launch.request(settings, history)).await?;
        let mut cli = Self {
            child: child.into(),
            clock,
            framer: Framer::new(settings.frame_limit),
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            writing: None,
            words: Vec::new(),
            exit: None,
            ended: false,
            requests: 0,
            request_timeout: settings.request_timeout,
            tools: launch.tools.clone(),
            secrets: launch.secrets().cloned().collect(),
            observer,
            skipped: 0,
            hello: Value::Null,
            cost: 0.0,
        };
        cli.hello = cli
            .request_within(launch.initialize(settings), settings.start_timeout)
            .await
            .map_err(|error| error.with_path(&settings.program))?;
        if let Some(mode) = settings.permission_mode.as_deref() {
            cli.set_permission_mode(mode).await?;
        }
        Ok(cli)
    }

    /// What the CLI told of itself when it was started: its version, where it tells it, its capabilities, models and more.
    pub fn hello(&self) -> &Value {
        &self.hello
    }

    /// How many lines were passed over, since they were no frames or frames of an unknown kind.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The next frame, or none when the process has ended. A dropped call loses no frame.
    ///
    /// # Errors
    /// `LimitExceeded` for a frame that is too long; `Truncated` for one that never ended; what the process reports.
    pub async fn next_frame(&mut self) -> Result<Option<Frame>> {
        match self.inbox.pop_front() {
            Some(frame) => Ok(Some(frame)),
            None => self.read().await,
        }
    }

    /// Sends a message in the user's name: text, or blocks of the Messages API.
    pub fn send_user(&mut self, content: &Value) {
        self.send(&json!({
            "type": "user", "message": {"role": "user", "content": content},
            "parent_tool_use_id": null, "session_id": "",
        }));
    }

    /// Answers a request of the CLI's.
    pub fn answer(&mut self, id: &str, response: &Value) {
        let response = json!({"subtype": "success", "request_id": id, "response": response});
        self.send(&json!({"type": "control_response", "response": response}));
    }

    /// Ends the turn under way: its frames go on until its result. Without effect between turns.
    ///
    /// # Errors
    /// Those of [`Cli::request`].
    pub async fn interrupt(&mut self) -> Result<()> {
        self.request(json!({"subtype": "interrupt"})).await.map(drop)
    }

    /// Goes on with another model.
    ///
    /// # Errors
    /// Those of [`Cli::request`].
    pub async fn set_model(&mut self, model: &str) -> Result<()> {
        self.request(json!({"subtype": "set_model", "model": model})).await.map(drop)
    }

    /// Goes on in another mode of permission.
    ///
    /// # Errors
    /// Those of [`Cli::request`].
    pub async fn set_permission_mode(&mut self, mode: &str) -> Result<()> {
        self.request(json!({"subtype": "set_permission_mode", "mode": mode})).await.map(drop)
    }

    /// Asks the CLI for something and waits for the answer. Frames that come meanwhile are kept for
    /// [`Cli::next_frame`].
    ///
    /// # Errors
    /// `InvalidInput` where the CLI refuses, with its own words; `TimedOut`; `Truncated` where the process ends; those of
    /// [`Cli::next_frame`].
    pub async fn request(&mut self, request: Value) -> Result<Value> {
        self.request_within(request, self.request_timeout).await
    }

    async fn request_within(&mut self, request: Value, limit: Duration) -> Result<Value> {
        self.requests += 1;
        let id = format!("req_{}", self.requests);
        let subtype = request.get("subtype").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.send(&json!({"type": "control_request", "request_id": id, "request": request}));
        let mut time = self.clock.sleep(limit);
        loop {
            let Some(frame) = within(&mut time, self.read()).await else {
                let message = format!(
                    "the claude CLI did not answer {subtype:?} within {limit:?}{}",
                    self.last_words()
                );
                let error = failure(ErrorKind::TimedOut, "ask claude");
                return Err(error.with_retry(Retry::After(None)).with_message(message));
            };
            match frame? {
                Some(Frame::Response { id: answered, outcome }) if answered == id => {
                    return outcome.map_err(|words| {
                        let message = format!("the claude CLI refused {subtype:?}: {}", self.redact(&words));
                        failure(ErrorKind::InvalidInput, "ask claude").with_message(message)
                    });
                }
                Some(_) if self.inbox.len() >= INBOX_LIMIT => {
                    let message =
                        format!("more than {INBOX_LIMIT} frames came before the answer to {subtype:?}");
                    return Err(failure(ErrorKind::LimitExceeded, "ask claude").with_message(message));
                }
                Some(frame) => self.inbox.push_back(frame),
                None => return Err(self.gone()),
            }
        }
    }

    /// Takes note of what has happened since the last turn, without waiting.
    ///
    /// # Errors
    /// `Truncated` where the process has ended; those of [`Cli::next_frame`].
    pub(super) fn check(&mut self) -> Result<()> {
        while let Some(frame) = self.read().now_or_never() {
            if frame?.is_none() {
                return Err(self.gone());
            }
        }
        self.inbox.clear();
        Ok(())
    }

    /// Ends the process: its input is closed, and it is killed where it has not ended by itself within `grace`.
    ///
    /// # Errors
    /// What the process reports.
    pub async fn close(mut self, grace: Duration) -> Result<Option<ExitStatus>> {
        let child = self.child.clone();
        let clock = self.clock.clone();
        // What can't be closed is killed.
        let closed = child.close_stdin().await.is_ok();
        let patience = if closed { grace } else { Duration::ZERO };
        if self.drain(clock.sleep(patience)).await {
            return Ok(self.exit);
        }
        child.kill().await?;
        self.drain(clock.sleep(grace)).await;
        Ok(self.exit)
    }

    /// Reads to the end, or until the time is over. Whether it is the end.
    async fn drain(&mut self, mut time: BoxFuture<'static, ()>) -> bool {
        while !self.ended {
            match within(&mut time, self.read()).await {
                None => return false,
                Some(Ok(Some(_))) => {}
                Some(Ok(None) | Err(_)) => self.ended = true,
            }
        }
        true
    }

    pub(super) fn send(&mut self, frame: &Value) {
        let mut line = frame.to_string();
        line.push('\n');
        self.outbox.push_back(line.into());
    }

    async fn read(&mut self) -> Result<Option<Frame>> {
        loop {
            while let Some(line) = self.framer.line()? {
                if let Some(frame) = self.take(&line) {
                    return Ok(Some(frame));
                }
            }
            if self.ended {
                return Ok(None);
            }
            if self.writing.is_none()
                && let Some(line) = self.outbox.pop_front()
            {
                let child = self.child.clone();
                self.writing = Some(async move { child.write_stdin(line).await }.boxed());
            }
            let next = match &mut self.writing {
                None => Either::Right(self.child.next_event().await),
                // It must read before more of what it writes is read.
                Some(writing) if self.outbox.len() > OUTBOX_LIMIT => Either::Left(writing.await),
                Some(writing) => match future::select(writing, self.child.next_event()).await {
                    Either::Left((written, _)) => Either::Left(written),
                    Either::Right((event, _)) => Either::Right(event),
                },
            };
            let event = match next {
                Either::Right(event) => event,
                Either::Left(written) => {
                    self.writing = None;
                    if written.is_err() {
                        // It reads no more. Why, it says at its end.
                        self.outbox.clear();
                    }
                    continue;
                }
            };
            match event? {
                Some(ExecEvent::Stdout(bytes)) => self.framer.push(&bytes),
                Some(ExecEvent::Stderr(bytes)) => self.remember(&bytes),
                Some(ExecEvent::Exited(status)) => self.exit = Some(status),
                Some(_) => {}
                None => self.end()?,
            }
        }
    }

    /// The end of all output.
    fn end(&mut self) -> Result<()> {
        self.ended = true;
        let rest = Bytes::copy_from_slice(self.framer.rest());
        if rest.starts_with(b"{") {
            let error = failure(ErrorKind::Truncated, "read frame").with_retry(Retry::After(None));
            let exit = self.how_it_ended();
            return Err(
                error.with_message(format!("the claude CLI ended within a frame{exit}{}", self.last_words()))
            );
        }
        self.remember(&rest);
        Ok(())
    }

    /// What a line says, unless that is dealt with here.
    fn take(&mut self, line: &Bytes) -> Option<Frame> {
        if let Some(observer) = &self.observer {
            observer(line);
        }
        let Some(frame) = Frame::parse(line) else {
            if !line.is_empty() {
                self.skipped += 1;
                self.remember(line);
                self.remember(b"\n");
            }
            return None;
        };
        let (id, request) = match frame {
            Frame::Request { id, request } => (id, request),
            Frame::Other(_) => {
                self.skipped += 1;
                return Some(frame);
            }
            frame => return Some(frame),
        };
        match &request {
            CliRequest::Permission { .. } => {}
            CliRequest::Mcp { server, message } if server == mcp::SERVER => {
                match mcp::ask(message, &self.tools) {
                    Asked::Answer(answer) => {
                        self.answer(&id, &json!({"mcp_response": answer}));
                        return None;
                    }
                    Asked::Call { .. } => {}
                }
            }
            // Whatever the CLI would let pass is put to the permission.
            CliRequest::Hook { callback, .. } if callback == GATE => {
                let ask = json!({"hookEventName": "PreToolUse", "permissionDecision": "ask",
                    "permissionDecisionReason": "each call is put to the permission"});
                self.answer(&id, &json!({"hookSpecificOutput": ask}));
                return None;
            }
            _ => {
                self.skipped += 1;
                let response = json!({"subtype": "error", "request_id": id, "error": "not supported"});
                self.send(&json!({"type": "control_response", "response": response}));
                return None;
            }
        }
        Some(Frame::Request { id, request })
    }

    fn remember(&mut self, words: &[u8]) {
        self.words.extend_from_slice(words);
        let excess = self.words.len().saturating_sub(WORDS_LIMIT);
        self.words.drain(..excess);
    }

    /// What it said last, where it said anything.
    pub(super) fn last_words(&self) -> String {
        let words = String::from_utf8_lossy(&self.words);
        match words.trim() {
            "" => String::new(),
            words => format!("; its last words: {}", self.redact(words)),
        }
    }

    pub(super) fn redact(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| secret.redact(&text).into_owned())
    }

    fn how_it_ended(&self) -> String {
        self.exit.map(|exit| format!(" ({exit})")).unwrap_or_default()
    }

    /// The error of a process that ended too early.
    pub(super) fn gone(&self) -> agentx_core::Error {
        let message = format!("the claude CLI ended{}{}", self.how_it_ended(), self.last_words());
        match self.exit {
            Some(ExitStatus::Code(126 | 127)) => {
                failure(ErrorKind::NotFound, "start claude").with_message(message)
            }
            _ => failure(ErrorKind::Truncated, "run claude")
                .with_retry(Retry::After(None))
                .with_message(message),
        }
    }
}

/// What `work` gives, unless the time is over before.
async fn within<T>(time: &mut BoxFuture<'static, ()>, work: impl Future<Output = T>) -> Option<T> {
    match future::select(time, std::pin::pin!(work)).await {
        Either::Left(_) => None,
        Either::Right((done, _)) => Some(done),
    }
}

impl fmt::Debug for Cli {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cli").field("child", &self.child).field("exit", &self.exit).finish_non_exhaustive()
    }
}

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use agentx_resource::{
    Child, Error, ErrorKind, ExecEvent, ExecRequest, ExitStatus, LimitedOutput, OutputStream, Result, Signal,
    TerminalSize,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::lock::Mutex;
use reqwest::{Method, Response};
use tokio::{
    runtime::Handle,
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use super::{LogEvent, deadline, script};
use crate::container::{
    http::{Effect, Http, Request, fail},
    sse::Decoder,
};

/// How long a command that was killed may take to tell its end.
const END: Duration = Duration::from_secs(10);

/// How often the server is asked to end a command, which it may not know of yet, and how long it is waited in between.
const DELETES: u32 = 20;
const BETWEEN_DELETES: Duration = Duration::from_millis(250);

/// A command behind the published API.
pub(super) struct SandboxChild {
    http: Arc<Http>,
    runtime: Handle,
    id: String,
    log: Mutex<Log>,
    /// Why it is being ended: 0 for not, else a [`Verdict`].
    verdict: Arc<AtomicU8>,
    killed: Arc<Notify>,
    /// Whether the server has said that it knows the command.
    known: bool,
}

/// The log of the process, as far as it came.
struct Log {
    response: Option<Response>,
    decoder: Decoder,
    queue: VecDeque<ExecEvent>,
    stdout: LimitedOutput,
    stderr: LimitedOutput,
    /// Standard error up to the end of its first line, which the script has written.
    head: Option<String>,
    deadline: Option<Instant>,
    idle: Option<Duration>,
    idle_until: Option<Instant>,
    /// Until when a command that is ended must tell it.
    end_until: Option<Instant>,
    over: bool,
}

const KILLED: u8 = 1;
const TIMED_OUT: u8 = 2;
const OUTPUT_LIMIT: u8 = 3;

impl SandboxChild {
    pub(super) fn new(http: Arc<Http>, runtime: Handle, id: String, request: &ExecRequest) -> Self {
        let limit = request.output_limit;
        let log = Log {
            response: None,
            decoder: Decoder::default(),
            queue: VecDeque::new(),
            stdout: LimitedOutput::new(OutputStream::Stdout, limit),
            stderr: LimitedOutput::new(OutputStream::Stderr, limit),
            head: Some(String::new()),
            deadline: deadline(request.timeout),
            idle: request.idle_timeout,
            idle_until: deadline(request.idle_timeout),
            end_until: None,
            over: false,
        };
        let (verdict, killed) = (Arc::default(), Arc::default());
        Self { http, runtime, id, log: Mutex::new(log), verdict, killed, known: false }
    }

    /// Opens the log, and waits until the command runs.
    pub(super) async fn listen(&mut self) -> Result<()> {
        self.known = true;
        let request = Request::get("spawn", format!("/api/process/{}/stream", self.id));
        let response = self.http.send(request).await?;
        let log = self.log.get_mut();
        log.response = Some(response);
        let wait = self.http.options.answer;
        let started = tokio::time::timeout(wait, log.started(&self.id)).await;
        started.map_err(|_| fail(ErrorKind::Lost, "spawn").with_message("the command does not begin"))?
    }

    /// Ends it at the server, for this reason, unless there is another one.
    fn end(&self, verdict: u8) {
        let first = self.verdict.compare_exchange(0, verdict, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_ok() {
            self.delete();
            self.killed.notify_one();
        }
    }

    fn delete(&self) {
        let (http, id, known) = (Arc::clone(&self.http), self.id.clone(), self.known);
        self.runtime.spawn(async move {
            for _ in 0..DELETES {
                let path = format!("/api/process/{id}");
                match http.tell(Request::new("kill", Effect::Change, Method::DELETE, path)).await {
                    Ok(_) => return,
                    // One that has ended is not found. One that is not known to have begun may begin yet.
                    Err(failed) if failed.is_answer && (known || !is_not_found(&failed.error)) => return,
                    Err(_) => sleep(BETWEEN_DELETES).await,
                }
            }
        });
    }

    fn status(&self) -> Option<ExitStatus> {
        match self.verdict.load(Ordering::SeqCst) {
            KILLED => Some(ExitStatus::Killed),
            TIMED_OUT => Some(ExitStatus::TimedOut),
            OUTPUT_LIMIT => Some(ExitStatus::OutputLimit),
            _ => None,
        }
    }
}

impl Log {
    /// Reads the script's first line.
    async fn started(&mut self, mark: &str) -> Result<()> {
        while self.head.as_ref().is_some_and(|head| !head.contains('\n')) && !self.over {
            self.read(None).await?;
        }
        let head = self.head.take().unwrap_or_default();
        let (line, rest) = head.split_once('\n').unwrap_or((&head, ""));
        let kind = match line.strip_prefix(mark) {
            Some(script::READY) => {
                self.queue.extend(self.stderr.push(rest.as_bytes()));
                return Ok(());
            }
            Some(script::MISSING) => ErrorKind::NotFound,
            Some(script::NO_DIRECTORY) => ErrorKind::NotADirectory,
            _ => {
                return Err(
                    fail(ErrorKind::Internal, "spawn").with_message("the container's shell does not begin")
                );
            }
        };
        Err(fail(kind, "spawn").with_message("the working directory"))
    }

    /// Takes the next bytes of the log.
    async fn read(&mut self, verdict: Option<ExitStatus>) -> Result<()> {
        let Some(response) = &mut self.response else { return Ok(()) };
        let lost = |message: &'static str| fail(ErrorKind::Lost, "next_event").with_message(message);
        let bytes = match response.chunk().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(lost("the log ends before the command")),
            Err(source) => return Err(lost("the log broke off").with_source(source.without_url())),
        };
        let mut events = Vec::new();
        self.decoder.push(&bytes, |data| {
            // What is no event is skipped, as the clients of this API do.
            events.extend(serde_json::from_slice::<LogEvent>(data).ok());
            Ok(())
        })?;
        for event in events {
            self.take(&event, verdict)?;
        }
        Ok(())
    }

    fn take(&mut self, event: &LogEvent, verdict: Option<ExitStatus>) -> Result<()> {
        let data = event.data.as_str().unwrap_or_default();
        match (event.kind.as_str(), &mut self.head) {
            ("stderr", Some(head)) => head.push_str(data),
            ("stdout", _) => self.queue.extend(self.stdout.push(data.as_bytes())),
            ("stderr", None) => self.queue.extend(self.stderr.push(data.as_bytes())),
            ("exit" | "complete", _) => {
                let code = event.exit_code.map_or(ExitStatus::Lost, ExitStatus::Code);
                self.finish(verdict.unwrap_or(code));
            }
            ("error", _) => {
                return Err(fail(ErrorKind::Lost, "next_event").with_message("the server lost the command"));
            }
            _ => return Ok(()),
        }
        self.idle_until = deadline(self.idle);
        Ok(())
    }

    /// What is to be told at the end.
    fn finish(&mut self, status: ExitStatus) {
        self.over = true;
        self.response = None;
        for output in [&mut self.stdout, &mut self.stderr] {
            while let Some(event) = output.finish() {
                self.queue.push_back(event);
            }
        }
        self.queue.push_back(ExecEvent::Exited(status));
    }
}

/// That API has its own words for it, and so the status alone says so.
fn is_not_found(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported)
}

/// Completes at the moment, if there is one.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[async_trait]
impl Child for SandboxChild {
    fn id(&self) -> &str {
        &self.id
    }

    async fn write_stdin(&self, _data: Bytes) -> Result<()> {
        Err(fail(ErrorKind::Unsupported, "write_stdin").with_message("that server has no live input"))
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        let mut log = self.log.lock().await;
        loop {
            if let Some(event) = log.queue.pop_front() {
                return Ok(Some(event));
            }
            if log.over {
                return Ok(None);
            }
            if log.stdout.is_exceeded() || log.stderr.is_exceeded() {
                self.end(OUTPUT_LIMIT);
            }
            let verdict = self.status();
            if verdict.is_some() && log.end_until.is_none() {
                log.end_until = deadline(Some(END));
            }
            let (over, idle, end) = (log.deadline, log.idle_until, log.end_until);
            let running = verdict.is_none();
            let read = tokio::select! {
                biased;
                () = at(over), if running => { self.end(TIMED_OUT); continue }
                () = at(idle), if running => { self.end(TIMED_OUT); continue }
                () = self.killed.notified(), if running => continue,
                () = at(end), if !running => Err(fail(ErrorKind::Lost, "next_event").with_message("it does not end")),
                read = log.read(verdict) => read,
            };
            if let Err(error) = read {
                log.finish(ExitStatus::Lost);
                return Err::<_, Error>(error);
            }
        }
    }

    async fn signal(&self, _signal: Signal) -> Result<()> {
        Err(fail(ErrorKind::Unsupported, "signal").with_message("that server has no signals"))
    }

    async fn resize(&self, _size: TerminalSize) -> Result<()> {
        Err(fail(ErrorKind::Unsupported, "resize").with_message("that server has no terminals"))
    }

    async fn kill(&self) -> Result<()> {
        self.end(KILLED);
        Ok(())
    }
}

impl Drop for SandboxChild {
    fn drop(&mut self) {
        if !self.log.get_mut().over {
            self.delete();
        }
    }
}

/// Shows neither input nor output: they may hold secrets.
impl fmt::Debug for SandboxChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxChild").field("id", &self.id).finish_non_exhaustive()
    }
}

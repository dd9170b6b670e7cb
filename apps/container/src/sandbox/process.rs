use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use agentx::resource::{
    BackgroundId, BackgroundProcesses, BackgroundState, BackgroundStatus, ExecRequest, ExitStatus, LogCursor,
    OutputStream,
};
use axum::{
    extract::{Path, State},
    response::Response,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Failure, Sandbox, done, event, events,
    form::{exit_code, iso, now},
    parse, place,
    session::{Vars, set},
    text::Text,
};

/// The most bytes of a log in one answer: all that is kept.
const LOG_BYTES: usize = usize::MAX;

/// Processes in the background, also by the names that callers gave them.
pub(super) struct Processes {
    background: BackgroundProcesses,
    names: Mutex<BTreeMap<String, BackgroundId>>,
}

impl Processes {
    pub(super) fn new(background: BackgroundProcesses) -> Self {
        Self { background, names: Mutex::default() }
    }

    fn names(&self) -> MutexGuard<'_, BTreeMap<String, BackgroundId>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn id(&self, name: &str) -> BackgroundId {
        self.names().get(name).cloned().unwrap_or_else(|| BackgroundId::new(name))
    }

    fn status(&self, name: &str) -> Result<BackgroundStatus, Failure> {
        self.background.status(&self.id(name)).map_err(|_| Failure::no_process(name))
    }

    /// All that are kept, each with its name; names of those that are not are forgotten.
    fn all(&self) -> Vec<(String, BackgroundStatus)> {
        let all = self.background.list();
        let mut names = self.names();
        names.retain(|_, id| all.iter().any(|status| status.id == *id));
        let name = |status: &BackgroundStatus| {
            let given = names.iter().find(|(_, id)| **id == status.id);
            given.map_or_else(|| status.id.to_string(), |(name, _)| name.clone())
        };
        all.iter().map(|status| (name(status), status.clone())).collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    command: String,
    session_id: Option<String>,
    process_id: Option<String>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    env: Vars,
    cwd: Option<String>,
}

pub(super) async fn start(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let start: Start = parse(&body)?;
    let mut request = ExecRequest::shell(&*start.command);
    if let Some(session) = sandbox.sessions.find(start.session_id.as_deref())? {
        request = request.with_cwd(session.cwd()).with_envs(set(&session.env));
    }
    if let Some(cwd) = &start.cwd {
        request = request.with_cwd(place::below(&sandbox.resources.process.capabilities().root, cwd)?);
    }
    request = request.with_envs(set(&start.env));
    request.timeout = start.timeout_ms.map(Duration::from_millis);
    if let Some(name) = start.process_id.as_deref()
        && matches!(sandbox.processes.status(name), Ok(status) if status.state == BackgroundState::Running)
    {
        return Err(Failure::invalid(format!("a process {name} runs already")));
    }
    let started = sandbox.processes.background.start(request).await;
    let id = started.map_err(|error| Failure::command(&error, &start.command))?;
    let name = start.process_id.unwrap_or_else(|| id.to_string());
    if name != id.as_str() {
        sandbox.processes.names().insert(name.clone(), id);
    }
    Ok(done(json!({"processId": name, "command": start.command})))
}

pub(super) async fn list(State(sandbox): State<Arc<Sandbox>>) -> Response {
    let all = sandbox.processes.all();
    let processes: Vec<Value> = all.iter().map(|(name, status)| shown(name, status)).collect();
    done(json!({"processes": processes}))
}

pub(super) async fn status(
    State(sandbox): State<Arc<Sandbox>>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    Ok(done(json!({"process": shown(&name, &sandbox.processes.status(&name)?)})))
}

fn shown(name: &str, status: &BackgroundStatus) -> Value {
    let (word, end) = match status.state {
        BackgroundState::Ended { status, at } => (word(status), Some((exit_code(status), at))),
        _ => ("running", None),
    };
    let mut shown = json!({
        "id": name,
        "command": status.command,
        "status": word,
        "startTime": iso(status.started),
    });
    if let (Some((code, at)), Some(fields)) = (end, shown.as_object_mut()) {
        fields.insert("endTime".to_owned(), json!(iso(at)));
        if let Some(code) = code {
            fields.insert("exitCode".to_owned(), json!(code));
        }
    }
    shown
}

fn word(status: ExitStatus) -> &'static str {
    match status {
        ExitStatus::Code(0) => "completed",
        ExitStatus::Code(_) => "failed",
        ExitStatus::Lost => "error",
        _ => "killed",
    }
}

pub(super) async fn kill(
    State(sandbox): State<Arc<Sandbox>>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let status = sandbox.processes.status(&name)?;
    let killed = sandbox.processes.background.kill(&status.id).await;
    killed.map_err(|error| Failure::new("PROCESS_ERROR", 500, error.to_string()))?;
    Ok(done(json!({"processId": name})))
}

pub(super) async fn kill_all(State(sandbox): State<Arc<Sandbox>>) -> Result<Response, Failure> {
    let all = sandbox.processes.all();
    let running = all.iter().filter(|(_, status)| status.state == BackgroundState::Running);
    let mut count = 0;
    for (_, status) in running {
        let killed = sandbox.processes.background.kill(&status.id).await;
        killed.map_err(|error| Failure::new("PROCESS_ERROR", 500, error.to_string()))?;
        count += 1;
    }
    Ok(done(json!({"cleanedCount": count, "killedCount": count})))
}

pub(super) async fn logs(
    State(sandbox): State<Arc<Sandbox>>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let id = sandbox.processes.status(&name)?.id;
    let page = sandbox.processes.background.read(&id, LogCursor::START, LOG_BYTES);
    let page = page.map_err(|_| Failure::no_process(&name))?;
    let text = |stream| String::from_utf8_lossy(&page.of(stream)).into_owned();
    let (stdout, stderr) = (text(OutputStream::Stdout), text(OutputStream::Stderr));
    Ok(done(json!({"processId": name, "stdout": stdout, "stderr": stderr})))
}

/// Tells the log from its beginning, and then what comes, up to the end.
pub(super) async fn stream(
    State(sandbox): State<Arc<Sandbox>>,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let id = sandbox.processes.status(&name)?.id;
    let pages = sandbox.processes.background.follow(&id, LogCursor::START);
    let pages = pages.map_err(|_| Failure::no_process(&name))?;
    let told =
        stream::unfold((pages, Text::default(), Text::default()), move |(mut pages, mut out, mut err)| {
            let name = name.clone();
            async move {
                let page = pages.next().await?;
                let mut told = Vec::new();
                let mut tell = |kind: &str, data: String| {
                    if !data.is_empty() {
                        let value =
                            json!({"type": kind, "timestamp": now(), "data": data, "processId": name});
                        told.extend_from_slice(&event(&value));
                    }
                };
                if page.lost > 0 {
                    // Nothing in this API says so but an error, and to leave it out would be to make something up.
                    tell("error", format!("{} bytes of output are not kept any more", page.lost));
                }
                for piece in &page.pieces {
                    match piece.stream {
                        OutputStream::Stdout => tell("stdout", out.push(&piece.bytes)),
                        OutputStream::Stderr => tell("stderr", err.push(&piece.bytes)),
                    }
                }
                if let Some(status) = page.status {
                    tell("stdout", out.finish());
                    tell("stderr", err.finish());
                    let end = match exit_code(status) {
                        Some(code) => json!({"type": "exit", "exitCode": code, "data": status.to_string()}),
                        None => json!({"type": "error", "data": status.to_string()}),
                    };
                    let mut end = end;
                    if let Some(fields) = end.as_object_mut() {
                        fields.insert("timestamp".to_owned(), json!(now()));
                        fields.insert("processId".to_owned(), json!(name));
                    }
                    told.extend_from_slice(&event(&end));
                }
                Some((Ok(Bytes::from(told)), (pages, out, err)))
            }
        });
    Ok(events(told))
}

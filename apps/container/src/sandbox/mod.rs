//! `/api`: what the clients of `@cloudflare/sandbox` ask for over its HTTP transport, as their version 0.12.10 does:
//! commands, sessions, processes in the background, files. Its interpreters, backups, watches, ports and git are not
//! served, and said not to be.

mod execute;
mod failure;
mod files;
mod form;
mod place;
mod process;
mod session;
mod text;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use agentx::resource::{BackgroundLimits, BackgroundProcesses, Error};
use axum::{
    Router,
    body::Body,
    extract::DefaultBodyLimit,
    http::header,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use bytes::Bytes;
use futures::Stream;
use serde::Serialize;
use serde_json::{Value, json};

use self::{failure::Failure, form::now, process::Processes, session::Sessions};
use crate::{reply::Json, server::Resources};

/// The version of `@cloudflare/sandbox` whose API this is.
const VERSION: &str = "0.12.10";

/// The longest body: 64 MiB. A file that is written takes four thirds of its size, where it is binary.
const BODY_BYTES: usize = 64 << 20;

/// How many processes may run in the background at a time.
const RUNNING: usize = 64;

/// How many bytes of the log of each are kept: 4 MiB.
const LOG_BYTES: usize = 4 << 20;

/// How long a process waits for whoever follows its log and is slow, and for the first to do so.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all handlers share.
struct Sandbox {
    resources: Arc<Resources>,
    sessions: Sessions,
    processes: Processes,
}

pub(crate) fn router(resources: Arc<Resources>) -> Router {
    let background = BackgroundProcesses::new(
        Arc::clone(&resources.process),
        Arc::clone(&resources.clock),
        Arc::clone(&resources.spawn),
    )
    .with_limits(
        BackgroundLimits::default().with_running(RUNNING).with_log_bytes(LOG_BYTES).with_patience(PATIENCE),
    );
    let sandbox = Sandbox {
        sessions: Sessions::new(Arc::clone(&resources)),
        processes: Processes::new(background),
        resources,
    };
    Router::new()
        .route("/api/ping", get(|| async { done(json!({"message": "pong"})) }))
        .route("/api/version", get(version))
        .route("/api/commands", get(commands))
        .route("/api/execute", post(execute::run))
        .route("/api/execute/stream", post(execute::stream))
        .route("/api/session/create", post(session::create))
        .route("/api/session/delete", post(session::delete))
        .route("/api/process/start", post(process::start))
        .route("/api/process/list", get(process::list))
        .route("/api/process/kill-all", axum::routing::delete(process::kill_all))
        .route("/api/process/{id}", get(process::status).delete(process::kill))
        .route("/api/process/{id}/logs", get(process::logs))
        .route("/api/process/{id}/stream", get(process::stream))
        .route("/api/write", post(files::write))
        .route("/api/read", post(files::read))
        .route("/api/read/stream", post(files::read_stream))
        .route("/api/delete", post(files::delete))
        .route("/api/rename", post(files::rename))
        .route("/api/move", post(files::move_to))
        .route("/api/mkdir", post(files::mkdir))
        .route("/api/list-files", post(files::list))
        .route("/api/exists", post(files::exists))
        .route("/api/{*rest}", any(|| async { Failure::not_served() }))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .with_state(Arc::new(sandbox))
}

async fn version() -> Response {
    done(json!({"version": VERSION, "server": concat!("agentx-container/", env!("CARGO_PKG_VERSION"))}))
}

/// The programs that the other server tells of, as far as they are here.
async fn commands(
    axum::extract::State(sandbox): axum::extract::State<Arc<Sandbox>>,
) -> Result<Response, Failure> {
    use agentx::resource::{ExecRequest, ProcessExt};

    let script = "for p in sh bash ls cat grep find sed awk git curl node npm python3 pip; do command -v $p >/dev/null && echo $p; done; :";
    let output = sandbox.resources.process.exec(ExecRequest::shell(script)).await?;
    let found: Vec<String> = output.stdout_text().lines().map(str::to_owned).collect();
    Ok(done(json!({"count": found.len(), "availableCommands": found})))
}

/// An answer that all went well, with these fields.
fn done(fields: Value) -> Response {
    let mut answer =
        BTreeMap::from([("success".to_owned(), json!(true)), ("timestamp".to_owned(), json!(now()))]);
    if let Value::Object(fields) = fields {
        answer.extend(fields);
    }
    Json(answer).into_response()
}

/// An answer of server-sent events.
fn events(stream: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store, no-transform")];
    (headers, Body::from_stream(stream)).into_response()
}

/// One event.
fn event(value: &impl Serialize) -> Bytes {
    // A value that was made here is always JSON.
    let text = serde_json::to_string(value).unwrap_or_default();
    Bytes::from(format!("data: {text}\n\n"))
}

/// A body as this API's failure where it is none.
fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    crate::reply::parse("request", body).map_err(|error: Error| Failure::invalid(error.message()))
}

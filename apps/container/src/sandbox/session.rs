use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use agentx::resource::{ExecRequest, ResourcePath, ShellOptions, ShellSession};
use axum::{extract::State, response::Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{Failure, Sandbox, done, parse, place};
use crate::server::Resources;

/// The session that a command names which is to run without one.
const NO_SESSION: &str = "__DISABLE_SESSION__";

/// The session of a command that names none.
const DEFAULT: &str = "default";

/// How many sessions may be there at a time.
const MOST: usize = 64;

/// A shell that stays, and what its commands begin with.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) shell: ShellSession,
    pub(super) env: Vars,
    cwd: ResourcePath,
    timeout: Option<Duration>,
    /// Where the shell was after its last command.
    last_cwd: Mutex<Option<ResourcePath>>,
}

/// Variables; one without a value is not set.
pub(super) type Vars = HashMap<String, Option<String>>;

/// All sessions, by their ids.
pub(super) struct Sessions {
    resources: Arc<Resources>,
    table: Mutex<HashMap<String, Arc<Session>>>,
}

impl Sessions {
    pub(super) fn new(resources: Arc<Resources>) -> Self {
        Self { resources, table: Mutex::default() }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session that a request means, made where it is new; `None` for none.
    pub(super) fn find(&self, id: Option<&str>) -> Result<Option<Arc<Session>>, Failure> {
        let id = id.filter(|id| !id.is_empty()).unwrap_or(DEFAULT);
        if id == NO_SESSION {
            return Ok(None);
        }
        if let Some(session) = self.table().get(id) {
            return Ok(Some(Arc::clone(session)));
        }
        self.create(Creation { id: id.to_owned(), ..Creation::default() }).map(Some)
    }

    fn create(&self, creation: Creation) -> Result<Arc<Session>, Failure> {
        let cwd = match &creation.cwd {
            Some(cwd) => place::below(&self.resources.process.capabilities().root, cwd)?,
            None => ResourcePath::root(),
        };
        // bash where it is, as in the images of the other server.
        let begin = "command -v bash >/dev/null 2>&1 && exec bash; exec sh";
        let request =
            ExecRequest::program("sh", ["-c", begin]).with_cwd(cwd.clone()).with_envs(set(&creation.env));
        let shell = ShellSession::new(Arc::clone(&self.resources.process), Arc::clone(&self.resources.clock));
        let session = Arc::new(Session {
            id: creation.id.clone(),
            shell: shell.with_request(request),
            env: creation.env,
            cwd,
            timeout: creation.command_timeout_ms.map(Duration::from_millis),
            last_cwd: Mutex::default(),
        });
        let mut table = self.table();
        if table.len() >= MOST && !table.contains_key(&creation.id) {
            return Err(Failure::invalid(format!("{MOST} sessions are there, and no more are allowed")));
        }
        if table.contains_key(&creation.id) {
            let message = format!("Session '{}' already exists", creation.id);
            return Err(Failure::new("SESSION_ALREADY_EXISTS", 409, message)
                .with_context(json!({"sessionId": creation.id})));
        }
        table.insert(creation.id, Arc::clone(&session));
        Ok(session)
    }
}

impl Session {
    /// Where what is started beside the shell begins.
    pub(super) fn cwd(&self) -> ResourcePath {
        let last = self.last_cwd.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().unwrap_or_else(|| self.cwd.clone())
    }

    /// Notes where the shell is, as commands see it.
    pub(super) fn moved(&self, root: &str, cwd: Option<&str>) {
        let cwd = cwd.and_then(|cwd| place::below(root, cwd).ok());
        if let Some(cwd) = cwd {
            *self.last_cwd.lock().unwrap_or_else(PoisonError::into_inner) = Some(cwd);
        }
    }

    pub(super) fn options(&self, timeout: Option<Duration>) -> ShellOptions {
        match timeout.or(self.timeout) {
            Some(timeout) => ShellOptions::default().with_timeout(timeout),
            None => ShellOptions::default(),
        }
    }
}

/// The variables that are set.
pub(super) fn set(vars: &Vars) -> impl Iterator<Item = (String, String)> + '_ {
    vars.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Creation {
    id: String,
    #[serde(default)]
    env: Vars,
    #[serde(default)]
    cwd: Option<String>,
    #[serde(default)]
    command_timeout_ms: Option<u64>,
}

pub(super) async fn create(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let creation: Creation = parse(&body)?;
    if creation.id.is_empty() || creation.id == NO_SESSION {
        return Err(Failure::invalid("the session has no id"));
    }
    let session = sandbox.sessions.create(creation)?;
    Ok(done(json!({"id": session.id, "message": "Session created", "containerPlacementId": null})))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deletion {
    session_id: String,
}

pub(super) async fn delete(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let Deletion { session_id } = parse(&body)?;
    let session = sandbox.sessions.table().remove(&session_id);
    if let Some(session) = session {
        session.shell.restart().await;
    }
    Ok(done(json!({"sessionId": session_id})))
}

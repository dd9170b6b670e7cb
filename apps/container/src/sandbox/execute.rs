use std::{sync::Arc, time::Duration};

use agentx::resource::{
    Child, Error, ExecEvent, ExecRequest, ExitStatus, ProcessExt, ResourcePath, ShellCommand,
};
use axum::{extract::State, response::Response};
use bytes::Bytes;
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Failure, Sandbox, done, event, events,
    form::{exit_code, now},
    parse, place,
    session::{Session, Vars, set},
    text::Text,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Execution {
    command: String,
    session_id: Option<String>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    env: Vars,
    cwd: Option<String>,
}

impl Execution {
    fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }

    /// The command for a shell that stays: what is asked for this one alone is done in a shell below it.
    fn in_session(&self) -> String {
        if self.env.is_empty() && self.cwd.is_none() {
            return self.command.clone();
        }
        let mut script = String::from("( ");
        if let Some(cwd) = &self.cwd {
            script += &format!("cd -- {} || exit; ", quoted(cwd));
        }
        for (name, value) in set(&self.env) {
            script += &format!("export {}; ", quoted(&format!("{name}={value}")));
        }
        script + "eval " + &quoted(&self.command) + " )"
    }

    /// The command by itself.
    fn alone(&self, root: &str) -> Result<ExecRequest, Failure> {
        let cwd = match &self.cwd {
            Some(cwd) => place::below(root, cwd)?,
            None => ResourcePath::root(),
        };
        let mut request = ExecRequest::shell(&*self.command).with_cwd(cwd).with_envs(set(&self.env));
        request.timeout = self.timeout();
        Ok(request)
    }
}

/// A word that a shell takes as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Runs a command to its end.
pub(super) async fn run(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let execution: Execution = parse(&body)?;
    let command = &*execution.command;
    let root = sandbox.resources.process.capabilities().root;
    let failed = |error: Error| Failure::command(&error, command);
    let output = match sandbox.sessions.find(execution.session_id.as_deref())? {
        Some(session) => {
            let options = session.options(execution.timeout());
            let ran = session.shell.run(&execution.in_session(), options).await.map_err(failed)?;
            session.moved(&root, ran.cwd.as_deref());
            if ran.ended && ran.output.status != ExitStatus::TimedOut {
                return Err(terminated(&session, ran.output.status));
            }
            ran.output
        }
        None => sandbox.resources.process.exec(execution.alone(&root)?).await.map_err(failed)?,
    };
    let code = exit_code(output.status).ok_or_else(|| unknown(command))?;
    Ok(done(json!({
        "success": code == 0,
        "exitCode": code,
        "stdout": output.stdout_text(),
        "stderr": output.stderr_text(),
        "command": command,
    })))
}

/// The shell has ended with the command.
fn terminated(session: &Session, status: ExitStatus) -> Failure {
    let message = format!("Session '{}' ended because its shell exited: {status}", session.id);
    Failure::new("SESSION_TERMINATED", 410, message)
        .with_context(json!({"sessionId": session.id, "exitCode": exit_code(status)}))
}

fn unknown(command: &str) -> Failure {
    Failure::new("COMMAND_EXECUTION_ERROR", 500, "how the command ended is not known")
        .with_context(json!({"command": command}))
}

/// What tells the events of a command.
enum Source {
    Alone(Box<dyn Child>),
    Session(Box<ShellCommand>, Arc<Session>),
}

impl Source {
    async fn next(&mut self) -> agentx::resource::Result<Option<ExecEvent>> {
        match self {
            Self::Alone(child) => child.next_event().await,
            Self::Session(command, _) => command.next_event().await,
        }
    }
}

/// Runs a command and tells what it writes as it comes. Dropping the answer ends the command.
pub(super) async fn stream(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> Result<Response, Failure> {
    let execution: Execution = parse(&body)?;
    let failed = |error: Error| Failure::command(&error, &execution.command);
    let root = sandbox.resources.process.capabilities().root;
    let source = match sandbox.sessions.find(execution.session_id.as_deref())? {
        Some(session) => {
            let options = session.options(execution.timeout());
            let started = session.shell.start(&execution.in_session(), options).await.map_err(failed)?;
            Source::Session(Box::new(started), session)
        }
        None => {
            Source::Alone(sandbox.resources.process.spawn(execution.alone(&root)?).await.map_err(failed)?)
        }
    };
    let start = json!({"type": "start", "timestamp": now(), "command": execution.command});
    let telling =
        Telling { source, root, stdout: Text::default(), stderr: Text::default(), status: None, over: false };
    let rest = stream::unfold(telling, |mut telling| async move {
        let told = telling.next().await?;
        Some((Ok(told), telling))
    });
    let first = stream::iter([Ok(event(&start))]);
    Ok(events(futures::StreamExt::chain(first, rest)))
}

struct Telling {
    source: Source,
    root: String,
    stdout: Text,
    stderr: Text,
    status: Option<ExitStatus>,
    over: bool,
}

impl Telling {
    async fn next(&mut self) -> Option<Bytes> {
        while !self.over {
            let (kind, data) = match self.source.next().await {
                Ok(Some(ExecEvent::Stdout(bytes))) => ("stdout", self.stdout.push(&bytes)),
                Ok(Some(ExecEvent::Stderr(bytes))) => ("stderr", self.stderr.push(&bytes)),
                Ok(Some(ExecEvent::Exited(status))) => {
                    self.status = Some(status);
                    continue;
                }
                Ok(Some(_)) => continue,
                Ok(None) => return Some(self.end()),
                Err(error) => {
                    self.over = true;
                    let error = error.to_string();
                    return Some(event(&json!({"type": "error", "timestamp": now(), "error": error})));
                }
            };
            if !data.is_empty() {
                return Some(event(&json!({"type": kind, "timestamp": now(), "data": data})));
            }
        }
        None
    }

    /// What was left of the output, and how it ended.
    fn end(&mut self) -> Bytes {
        self.over = true;
        if let Source::Session(command, session) = &self.source {
            session.moved(&self.root, command.cwd());
        }
        let mut told = Vec::new();
        for (kind, rest) in [("stdout", self.stdout.finish()), ("stderr", self.stderr.finish())] {
            if !rest.is_empty() {
                told.extend_from_slice(&event(&json!({"type": kind, "timestamp": now(), "data": rest})));
            }
        }
        let end: Value = match self.status.and_then(exit_code) {
            Some(code) => json!({"type": "complete", "timestamp": now(), "exitCode": code}),
            None => {
                json!({"type": "error", "timestamp": now(), "error": "how the command ended is not known"})
            }
        };
        told.extend_from_slice(&event(&end));
        told.into()
    }
}

//! What answers.

use std::{
    env,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use agentx::{
    MessageBody, Reply, ScriptedModel, SystemClock, ToolLoop,
    claude::{
        code::{ClaudeCode, ClaudeCodeSettings},
        messages::{MessagesModel, ReqwestTransport},
    },
    core::Driver,
    local::{ApiKey, LocalProcess},
};
use agentx_server::llm::{LlmDriver, Llms};
use serde_json::json;

use crate::{
    Failure,
    settings::{Addresses, DriverKind, Settings},
};

/// Where the key of the model's API may be, the first that is set.
const KEYS: [&str; 2] = ["LLM_API_KEY", "ANTHROPIC_API_KEY"];

/// Where the API is for such a key, if not at its own address.
const BASE_URLS: [&str; 2] = ["LLM_BASE_URL", "ANTHROPIC_BASE_URL"];

/// The program of the full driver, where none is named.
const CLAUDE: &str = "claude";

/// What a server says of the scripted model, which answers where there is no key.
pub(crate) const NO_KEY: &str = "no LLM_API_KEY or ANTHROPIC_API_KEY is set: the scripted model answers, which repeats \
                                 what it is told, and runs a command for \"run `ls`\"";

/// What runs the turns of all agents.
pub(crate) struct Answering {
    pub(crate) driver: Arc<dyn Driver>,
    /// The claude CLI's processes, which end with the server.
    pub(crate) claude: Option<ClaudeCode>,
    /// Whether a real model is behind it.
    pub(crate) is_real: bool,
}

/// The driver that these settings ask for, which works in the data directory where it needs one.
pub(crate) async fn driver(settings: &Settings, data: &Path) -> Result<Answering, Failure> {
    let key = key().map(|variable| ApiKey::from_env(variable).with_base_url_from_env(base_url()));
    let light = |driver: Arc<dyn Driver>, is_real| Answering { driver, claude: None, is_real };
    match (settings.driver(), key) {
        (DriverKind::Light, Some(key)) => {
            let model = MessagesModel::new(Arc::new(key), ReqwestTransport::new()?, Arc::new(SystemClock));
            Ok(light(Arc::new(ToolLoop::new(model)), true))
        }
        (DriverKind::Light, None) => Ok(light(Arc::new(ToolLoop::new(scripted())), false)),
        (DriverKind::Full, None) => {
            Err(format!("--driver full asks Claude, and needs a key: set {}", KEYS.join(" or ")).into())
        }
        (DriverKind::Full, Some(key)) => {
            let program = claude(settings)?;
            let work = data.join("claude");
            std::fs::create_dir_all(&work).map_err(|error| format!("{}: {error}", work.display()))?;
            let home = work.join("home").into_os_string();
            let home =
                home.into_string().map_err(|_| "--driver full: the data directory is not named in UTF-8")?;
            let code = ClaudeCodeSettings::new(home).with_program(program.display().to_string());
            let process = Arc::new(LocalProcess::new(&work)?);
            let claude = ClaudeCode::new(process, code, Arc::new(SystemClock)).with_supply(Arc::new(key));
            let version = claude.version().await;
            let version =
                version.map_err(|error| format!("--driver full: {}: {error}", program.display()))?;
            tracing::info!(program = %program.display(), version, "the claude CLI runs the turns");
            Ok(Answering { driver: Arc::new(claude.clone()), claude: Some(claude), is_real: true })
        }
    }
}

/// The models that clients bring, where none answers that this server has.
pub(crate) fn with_brought(
    own: Arc<dyn Driver>,
    llms: Llms,
    addresses: Addresses,
) -> Result<LlmDriver, Failure> {
    let transport = match addresses {
        Addresses::Public => ReqwestTransport::public()?,
        Addresses::Any => ReqwestTransport::new()?,
    };
    Ok(LlmDriver::new(own, llms, move |supply| {
        let model = MessagesModel::new(supply, transport.clone(), Arc::new(SystemClock));
        Arc::new(ToolLoop::new(model))
    }))
}

/// The claude CLI: the program that is named, or that the PATH has.
pub(crate) fn claude(settings: &Settings) -> Result<PathBuf, Failure> {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    match &settings.claude {
        Some(named) if named.components().count() > 1 => {
            if !runs(named) {
                return Err(format!("--driver full: {} is no program", named.display()).into());
            }
            Ok(std::path::absolute(named)?)
        }
        named => {
            let name = named.as_deref().unwrap_or(Path::new(CLAUDE));
            let path = env::var_os("PATH").unwrap_or_default();
            let found = env::split_paths(&path).map(|folder| folder.join(name)).find(|path| runs(path));
            found.ok_or_else(|| {
                let name = name.display();
                format!(
                    "--driver full: there is no `{name}` on the PATH; name it with --claude or AVM_CLAUDE"
                )
                .into()
            })
        }
    }
}

/// The variable that has a key.
pub(crate) fn key() -> Option<&'static str> {
    KEYS.into_iter().find(|variable| is_set(variable))
}

/// The variable that says where the API is.
pub(crate) fn base_url() -> &'static str {
    BASE_URLS.into_iter().find(|variable| is_set(variable)).unwrap_or("ANTHROPIC_BASE_URL")
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Repeats what it is told, and runs a command that it is asked for.
fn scripted() -> ScriptedModel {
    ScriptedModel::new("scripted", |request| {
        let said = request.messages.iter().rev().find(|body| body.role() == "user").map(MessageBody::text);
        let said = said.unwrap_or_default();
        Ok(match (command(&said), request.answer("command")) {
            (Some(_), Some(output)) => Reply::text(output.to_text()),
            (Some(command), None) => Reply::thinking("I am asked to run a command.")
                .then_text("I run it.")
                .call("command", "bash", json!({"command": command})),
            (None, _) => Reply::text(format!("You said: {said}")),
        })
    })
}

/// The command that somebody asks for: behind a `$ `, or between backticks behind the word `run`.
fn command(said: &str) -> Option<&str> {
    if let Some(command) = said.strip_prefix("$ ") {
        return Some(command);
    }
    let (before, rest) = said.split_once('`')?;
    let (command, _) = rest.split_once('`')?;
    let is_asked = before.split_whitespace().any(|word| word.eq_ignore_ascii_case("run"));
    (is_asked && !command.trim().is_empty()).then_some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_asked_for_in_plain_words() {
        for said in ["$ ls -l", "Run `ls -l` and tell me what it prints.", "please run `ls -l`"] {
            assert_eq!(command(said), Some("ls -l"), "{said}");
        }
        for said in ["run", "run ``", "run `ls", "what is `ls -l`?", "I prune `ls -l`", "ls -l"] {
            assert_eq!(command(said), None, "{said}");
        }
    }
}

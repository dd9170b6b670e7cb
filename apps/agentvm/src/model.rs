//! The model that answers.

use agentx::{
    Reply, ScriptedModel, ToolLoop,
    claude::messages::{MessagesModel, ReqwestTransport},
    core::Driver,
    local::ApiKey,
};
use std::sync::Arc;

use crate::Failure;

/// Where the key of the model's API may be, the first that is set.
const KEYS: [&str; 2] = ["LLM_API_KEY", "ANTHROPIC_API_KEY"];

/// Where the API is for such a key, if not at its own address.
const BASE_URLS: [&str; 2] = ["LLM_BASE_URL", "ANTHROPIC_BASE_URL"];

/// What a server says of the scripted model, which answers where there is no key.
pub(crate) const NO_KEY: &str =
    "no LLM_API_KEY or ANTHROPIC_API_KEY is set: the scripted model answers, which repeats what it is told";

/// The driver of all agents, and whether a real model is behind it.
pub(crate) fn driver() -> Result<(Arc<dyn Driver>, bool), Failure> {
    match key() {
        Some(variable) => {
            let key = ApiKey::from_env(variable).with_base_url_from_env(base_url());
            let model =
                MessagesModel::new(Arc::new(key), ReqwestTransport::new()?, Arc::new(agentx::SystemClock));
            Ok((Arc::new(ToolLoop::new(model)), true))
        }
        None => Ok((Arc::new(ToolLoop::new(scripted())), false)),
    }
}

/// The variable that has a key.
pub(crate) fn key() -> Option<&'static str> {
    KEYS.into_iter().find(|variable| std::env::var_os(variable).is_some_and(|key| !key.is_empty()))
}

/// The variable that says where the API is.
fn base_url() -> &'static str {
    let set = |variable: &&str| std::env::var_os(variable).is_some_and(|url| !url.is_empty());
    BASE_URLS.into_iter().find(set).unwrap_or("ANTHROPIC_BASE_URL")
}

/// Repeats what it is told; runs a command that is behind a `$ `.
fn scripted() -> ScriptedModel {
    ScriptedModel::new("scripted", |request| {
        let said =
            request.messages.iter().rev().find(|body| body.role() == "user").map(agentx::MessageBody::text);
        let said = said.unwrap_or_default();
        Ok(match (said.strip_prefix("$ "), request.answer("command")) {
            (Some(_), Some(output)) => Reply::text(output.to_text()),
            (Some(command), None) => {
                Reply::text("I run it.").call("command", "bash", serde_json::json!({"command": command}))
            }
            (None, _) => Reply::text(format!("You said: {said}")),
        })
    })
}

//! From a request of the domain to the body that the API reads.

mod content;
mod replay;
mod wire;

use agentx_core::{ErrorKind, MessageBody, ModelRequest, Result};
use bytes::Bytes;

use self::{
    replay::Replay,
    wire::{Block, Body, CacheControl, Message, Role, Thinking, Tool},
};
use super::{MessagesSettings, error::failure};

/// The JSON body of a streaming call.
///
/// The same history gives the same bytes each time, apart from the marks of the cache, which move with the end: what
/// the API has cached of a conversation is found again by the next call.
///
/// # Errors
/// `InvalidInput` where there is nothing to answer; `Corrupt` for a block of the history that is no JSON.
pub(super) fn body(request: &ModelRequest, settings: &MessagesSettings) -> Result<Bytes> {
    let chosen = &request.settings;
    let model = chosen.model.as_deref().unwrap_or(&settings.model);
    let budget = match chosen.thinking {
        Some(agentx_core::Thinking::Budget(budget)) => Some(budget),
        _ => None,
    };
    let mut body = Body {
        model,
        // The API counts thinking as a part of the answer.
        max_tokens: chosen
            .max_tokens
            .unwrap_or_else(|| settings.max_tokens.saturating_add(budget.unwrap_or_default())),
        stream: true,
        thinking: budget.map(|budget_tokens| Thinking::Enabled { budget_tokens }),
        tools: request
            .tools
            .iter()
            .map(|tool| Tool {
                name: &tool.name,
                description: &tool.description,
                input_schema: &tool.input_schema,
                cache_control: None,
            })
            .collect(),
        system: request
            .system
            .as_deref()
            .filter(|system| !system.trim().is_empty())
            .map(Block::text)
            .into_iter()
            .collect(),
        messages: messages(&request.messages, model)?,
    };
    // An answer that the model paused ends with its own words; a user who said nothing leaves nothing to answer.
    let user_spoke_last = matches!(request.messages.last(), Some(MessageBody::User { .. }));
    if body.messages.last().is_none_or(|last| last.role == Role::Assistant && user_spoke_last) {
        return Err(failure(
            ErrorKind::InvalidInput,
            "there is nothing to answer: the last message is empty",
        ));
    }
    if let Some(mark) = CacheControl::of(settings.cache) {
        mark_cache(&mut body, mark);
    }
    let json = serde_json::to_vec(&body).map_err(|error| {
        failure(ErrorKind::Internal, "the request can't be written as JSON").with_source(error)
    })?;
    Ok(json.into())
}

/// The messages, each role's in a row as one: so all results of an answer stand together, first in what the user says.
fn messages<'a>(history: &'a [MessageBody], model: &'a str) -> Result<Vec<Message<'a>>> {
    let replay = Replay::new(history, model);
    let mut messages: Vec<Message<'a>> = Vec::new();
    for (index, message) in history.iter().enumerate() {
        let (role, blocks) = match message {
            MessageBody::User { content } => {
                (Role::User, content.iter().filter_map(content::block).collect())
            }
            MessageBody::Tool(result) => (Role::User, vec![content::tool_result(result)]),
            MessageBody::Assistant(message) => (Role::Assistant, replay.blocks(index, message)?),
            // Errors are for people.
            _ => continue,
        };
        match messages.last_mut() {
            Some(last) if last.role == role => last.content.extend(blocks),
            _ if blocks.is_empty() => {}
            _ => messages.push(Message { role, content: blocks }),
        }
    }
    Ok(messages)
}

/// Marks where the cache ends: behind the tools, the system prompt, the end of what the call before this one sent,
/// and the end of this one. The last but one is there since the API looks back no further than about 20 blocks.
fn mark_cache(body: &mut Body<'_>, mark: CacheControl) {
    if let Some(tool) = body.tools.last_mut() {
        tool.cache_control = Some(mark);
    }
    let users = body.messages.iter_mut().rev().filter(|message| message.role == Role::User).take(2);
    let ends = users.filter_map(|message| message.content.iter_mut().rev().find_map(Block::cache_control));
    let system = body.system.last_mut().and_then(Block::cache_control);
    for place in system.into_iter().chain(ends) {
        *place = Some(mark);
    }
}

#[cfg(test)]
mod tests;

//! From a request of the domain to the body that the API reads.

mod cache;
mod content;
mod refused;
mod replay;
mod wire;

use agentx_core::{
    Effort, ErrorKind, MessageBody, ModelRequest, ModelSettings, Result, Thinking, ThinkingDisplay,
    ToolChoice,
};
use bytes::Bytes;

pub(super) use self::refused::Refused;
use self::{
    replay::Replay,
    wire::{Block, Body, CacheControl, Extra, Format, HostTool, Message, OutputConfig, Role, Tool},
};
use super::{MessagesSettings, error::ApiFailure, error::failure};

/// What the body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An answer as a stream.
    Answer,
    /// The count of the tokens that the request has.
    Count,
}

/// The JSON body of a call.
///
/// The same history gives the same bytes each time, apart from the marks of the cache, which move with the end: what
/// the API has cached of a conversation is found again by the next call.
///
/// # Errors
/// `InvalidInput` where there is nothing to answer, or for an extra field that is the body's own; `Corrupt` for a
/// block of the history that is no JSON.
pub(super) fn body(
    request: &ModelRequest,
    settings: &MessagesSettings,
    refused: &Refused,
    purpose: Purpose,
) -> Result<Bytes> {
    let mut body = compose(request, settings, refused, purpose)?;
    if let Some(mark) = CacheControl::of(settings.cache) {
        cache::mark(&mut body, mark);
    }
    let json = serde_json::to_vec(&body).map_err(|error| {
        failure(ErrorKind::Internal, "the request can't be written as JSON").with_source(error)
    })?;
    Ok(json.into())
}

/// What the API refused of this request, as media type and reason; nothing where the failure is about anything else than
/// an image or a document, or about one that was left out already. The next body leaves it out.
pub(super) fn learn(
    request: &ModelRequest,
    settings: &MessagesSettings,
    refused: &mut Refused,
    failed: &ApiFailure,
) -> Vec<(String, String)> {
    if failed.status != Some(400) {
        return Vec::new();
    }
    let known = refused.clone();
    match compose(request, settings, &known, Purpose::Answer) {
        Ok(body) => refused.learn(failed, &body),
        Err(_) => Vec::new(),
    }
}

fn compose<'a>(
    request: &'a ModelRequest,
    settings: &'a MessagesSettings,
    refused: &Refused,
    purpose: Purpose,
) -> Result<Body<'a>> {
    let chosen = &request.settings;
    let model = chosen.model.as_deref().unwrap_or(&settings.model);
    let answer = purpose == Purpose::Answer;
    if let Some(field) = wire::FIELDS.iter().find(|field| settings.extra.contains_key(**field)) {
        return Err(failure(
            ErrorKind::InvalidInput,
            format!("the extra field {field:?} is one that the client writes itself"),
        ));
    }
    for tool in request.tools.iter() {
        if let Some(field) = wire::TOOL_FIELDS.iter().find(|field| tool.options.contains_key(**field)) {
            let problem = format!(
                "the option {field:?} of the tool {:?} is one that the client writes itself",
                tool.name
            );
            return Err(failure(ErrorKind::InvalidInput, problem));
        }
    }
    let replay = Replay::new(&request.messages, model);
    let body = Body {
        model,
        max_tokens: answer.then(|| max_tokens(chosen, settings)),
        stream: answer,
        stop_sequences: if answer { &chosen.stop_sequences } else { &[] },
        thinking: thinking(chosen),
        output_config: output_config(chosen),
        tool_choice: tool_choice(chosen),
        container: if answer { replay.container() } else { None },
        tools: tools(request),
        system: request
            .system
            .as_deref()
            .filter(|system| !system.trim().is_empty())
            .map(Block::text)
            .into_iter()
            .collect(),
        messages: messages(&request.messages, &replay, refused)?,
        extra: Extra(answer.then_some(&settings.extra)),
    };
    // An answer that the model paused ends with its own words; a user who said nothing leaves nothing to answer.
    let user_spoke_last = matches!(request.messages.last(), Some(MessageBody::User { .. }));
    if body.messages.last().is_none_or(|last| last.role == Role::Assistant && user_spoke_last) {
        return Err(failure(
            ErrorKind::InvalidInput,
            "there is nothing to answer: the last message is empty",
        ));
    }
    Ok(body)
}

/// The API counts thinking as a part of the answer.
fn max_tokens(chosen: &ModelSettings, settings: &MessagesSettings) -> u32 {
    chosen.max_tokens.unwrap_or_else(|| match chosen.thinking {
        Some(Thinking::Budget(budget)) => settings.max_tokens.saturating_add(budget),
        _ => settings.max_tokens,
    })
}

fn thinking(chosen: &ModelSettings) -> Option<wire::Thinking> {
    let display = chosen.thinking_display.and_then(|display| match display {
        ThinkingDisplay::Summarized => Some("summarized"),
        ThinkingDisplay::Omitted => Some("omitted"),
        _ => None,
    });
    match chosen.thinking? {
        Thinking::Budget(budget_tokens) => Some(wire::Thinking::Enabled { budget_tokens, display }),
        Thinking::Adaptive => Some(wire::Thinking::Adaptive { display }),
        Thinking::BetweenTools => Some(wire::Thinking::BetweenTools { display }),
        Thinking::Off => Some(wire::Thinking::Disabled),
        // A kind of a later version of the domain.
        _ => None,
    }
}

fn output_config(chosen: &ModelSettings) -> Option<OutputConfig<'_>> {
    let effort = chosen.effort.and_then(|effort| match effort {
        Effort::Low => Some("low"),
        Effort::Medium => Some("medium"),
        Effort::High => Some("high"),
        Effort::XHigh => Some("xhigh"),
        Effort::Max => Some("max"),
        _ => None,
    });
    let format = chosen.output_schema.as_deref().map(|schema| Format::JsonSchema { schema });
    (effort.is_some() || format.is_some()).then_some(OutputConfig { effort, format })
}

fn tool_choice(chosen: &ModelSettings) -> Option<wire::ToolChoice<'_>> {
    let disable_parallel_tool_use = chosen.parallel_tool_calls.map(|allowed| !allowed);
    match &chosen.tool_choice {
        None if disable_parallel_tool_use.is_none() => None,
        None | Some(ToolChoice::Auto) => Some(wire::ToolChoice::Auto { disable_parallel_tool_use }),
        Some(ToolChoice::Any) => Some(wire::ToolChoice::Any { disable_parallel_tool_use }),
        Some(ToolChoice::Tool(name)) => Some(wire::ToolChoice::Tool { name, disable_parallel_tool_use }),
        Some(ToolChoice::None) => Some(wire::ToolChoice::None),
        // A choice of a later version of the domain.
        Some(_) => None,
    }
}

/// The provider's tools first: they change least.
fn tools(request: &ModelRequest) -> Vec<Tool<'_>> {
    let server = request.settings.server_tools.iter().map(Tool::Server);
    let host = request.tools.iter().map(|tool| {
        Tool::Host(HostTool {
            name: &tool.name,
            description: &tool.description,
            input_schema: &tool.input_schema,
            cache_control: None,
            options: Extra(Some(&tool.options)),
        })
    });
    server.chain(host).collect()
}

/// The messages, each role's in a row as one: so all results of an answer stand together, first in what the user says.
fn messages<'a>(
    history: &'a [MessageBody],
    replay: &Replay<'a>,
    refused: &Refused,
) -> Result<Vec<Message<'a>>> {
    let mut messages: Vec<Message<'a>> = Vec::new();
    for (index, message) in history.iter().enumerate() {
        let (role, blocks) = match message {
            MessageBody::User { content } => {
                (Role::User, content.iter().filter_map(|part| content::block(part, refused)).collect())
            }
            MessageBody::Tool(result) => (Role::User, vec![content::tool_result(result, refused)]),
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

/// The messages of a history, as values: for whoever else speaks this form.
///
/// # Errors
/// `Corrupt` for a block of the history that is no JSON.
#[cfg(feature = "code")]
pub(crate) fn history(history: &[MessageBody], model: &str) -> Result<Vec<serde_json::Value>> {
    let replay = Replay::new(history, model);
    let messages = messages(history, &replay, &Refused::default())?;
    let values = messages.iter().map(serde_json::to_value);
    values.collect::<std::result::Result<_, _>>().map_err(|error| {
        failure(ErrorKind::Internal, "the history can't be written as JSON").with_source(error)
    })
}

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::HashSet};

use agentx_core::{AssistantMessage, AssistantPart, ErrorKind, MessageBody, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{Block, Typed};
use crate::messages::{
    decoder::companion::{CALLER, CITATIONS, CONTAINER},
    error::{PROVIDER, failure},
};

/// Sends the model's own words back to it, without what the API would refuse.
pub(super) struct Replay<'a> {
    model: &'a str,
    history: &'a [MessageBody],
    /// Where the user last spoke: what the model said since belongs to the turn under way.
    turn: usize,
    /// The server tools' calls that have a result somewhere.
    answered: HashSet<Cow<'a, str>>,
}

/// What of a provider's block decides whether it can go back.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_use_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    citations: Option<&'a RawValue>,
    #[serde(borrow)]
    caller: Option<&'a RawValue>,
    #[serde(borrow)]
    container: Option<&'a RawValue>,
}

/// The container in which the provider's tools run.
#[derive(Deserialize)]
struct Container<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// What called a tool, where it was not the model.
#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    tool_id: Option<Cow<'a, str>>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(history: &'a [MessageBody], model: &'a str) -> Self {
        let turn = history.iter().rposition(|message| message.role() == "user").unwrap_or(0);
        let answered = history
            .iter()
            .filter_map(|message| match message {
                MessageBody::Assistant(message) => Some(&message.content),
                _ => None,
            })
            .flatten()
            .filter_map(|part| opaque(part).and_then(|json| header(json).ok()?.tool_use_id))
            .collect();
        Self { model, history, turn, answered }
    }

    /// The container that the turn under way was given. An older one may be gone.
    pub(super) fn container(&self) -> Option<Cow<'a, str>> {
        let said = self.history.get(self.turn..).unwrap_or_default().iter().rev();
        said.filter_map(|message| match message {
            MessageBody::Assistant(message) => Some(message.content.iter().rev()),
            _ => None,
        })
        .flatten()
        .find_map(|part| {
            let container = header(opaque(part)?).ok().filter(|header| header.kind == CONTAINER)?.container?;
            Some(serde_json::from_str::<Container<'a>>(container.get()).ok()?.id)
        })
    }

    /// The blocks of the message at `index`.
    ///
    /// # Errors
    /// `Corrupt` for a stored block of the API that is no JSON.
    pub(super) fn blocks(&self, index: usize, message: &'a AssistantMessage) -> Result<Vec<Block<'a>>> {
        let current = index > self.turn;
        let thinks = current || self.same_model(message);
        let mut blocks = Vec::with_capacity(message.content.len());
        // Thinking that led to nothing, as after an interrupt, is refused as the end of a message.
        let mut end = 0;
        let mut whole = false;
        for part in &message.content {
            let before_is_whole = std::mem::replace(&mut whole, false);
            if let Some(header) = opaque(part).and_then(|json| header(json).ok())
                && is_companion(&header.kind)
            {
                if let Some(block) = blocks.last_mut().filter(|_| before_is_whole) {
                    self.complete(block, &header, current);
                }
                continue;
            }
            let block = match part {
                AssistantPart::Text { text } if text.trim().is_empty() => continue,
                AssistantPart::Text { text } => Block::text(text.as_str()),
                AssistantPart::Thinking { reasoning, signature: Some(signature) } if thinks => {
                    Block::Typed(Typed::Thinking { thinking: reasoning, signature })
                }
                AssistantPart::ToolCall(call) => Block::Typed(Typed::ToolUse {
                    id: &call.id,
                    name: &call.name,
                    input: &call.input,
                    caller: None,
                    cache_control: None,
                }),
                _ => match opaque(part) {
                    Some(json) if self.keeps(&header(json)?, current, thinks) => Block::Raw(raw(json)?),
                    _ => continue,
                },
            };
            let thinks = matches!(block, Block::Typed(Typed::Thinking { .. })) || is_redacted(part);
            blocks.push(block);
            whole = true;
            if !thinks {
                end = blocks.len();
            }
        }
        blocks.truncate(end);
        Ok(blocks)
    }

    fn keeps(&self, header: &Header<'_>, current: bool, thinks: bool) -> bool {
        match header.kind.as_ref() {
            "redacted_thinking" => thinks,
            // A server tool that was cut off before its result: the API goes on with it within the turn, and refuses
            // it ever after.
            "server_tool_use" | "mcp_tool_use" => {
                current || header.id.as_ref().is_some_and(|id| self.answered.contains(id))
            }
            _ => true,
        }
    }

    /// Gives the block before it what belongs to it.
    fn complete(&self, block: &mut Block<'a>, header: &Header<'a>, current: bool) {
        match block {
            Block::Typed(Typed::Text { citations, .. }) if header.kind == CITATIONS => {
                *citations = header.citations;
            }
            Block::Typed(Typed::ToolUse { id, caller, .. })
                if header.kind == CALLER && header.tool_use_id.as_deref() == Some(id) =>
            {
                // A caller that is no longer sent can't be named.
                let source = header.caller.and_then(|caller| serde_json::from_str(caller.get()).ok());
                let source = source.and_then(|Source { tool_id }| tool_id);
                if current || source.is_none_or(|source| self.answered.contains(&source)) {
                    *caller = header.caller;
                }
            }
            // What it belongs to was left out, or it belongs to no block.
            _ => {}
        }
    }

    /// Another model can't read the thinking of this one. An alias and the version that it stands for are one model.
    fn same_model(&self, message: &AssistantMessage) -> bool {
        message
            .model
            .as_deref()
            .is_none_or(|model| model.starts_with(self.model) || self.model.starts_with(model))
    }
}

fn is_companion(kind: &str) -> bool {
    matches!(kind, CITATIONS | CALLER | CONTAINER)
}

fn opaque(part: &AssistantPart) -> Option<&str> {
    match part {
        AssistantPart::Opaque { provider, json } if provider == PROVIDER => Some(json),
        _ => None,
    }
}

fn is_redacted(part: &AssistantPart) -> bool {
    opaque(part).and_then(|json| header(json).ok()).is_some_and(|header| header.kind == "redacted_thinking")
}

fn header(json: &str) -> Result<Header<'_>> {
    serde_json::from_str(json).map_err(|error| corrupt(&error))
}

fn raw(json: &str) -> Result<&RawValue> {
    serde_json::from_str(json).map_err(|error| corrupt(&error))
}

fn corrupt(error: &serde_json::Error) -> agentx_core::Error {
    failure(ErrorKind::Corrupt, format!("a block of the history can't be read: {error}"))
}

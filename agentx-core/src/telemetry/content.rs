//! What is said and done, as attributes have it: JSON in the form of the conventions, bounded, without known secrets.

use serde_json::{Value, json};

use super::Telemetry;
use crate::{AssistantMessage, AssistantPart, ContentPart, MessageBody, StopReason};

/// The longest text, in bytes.
const MAX_TEXT: usize = 16 << 10;
/// The most of a conversation, in bytes of JSON.
const MAX_MESSAGES: usize = 64 << 10;

/// A text, without secrets, and cut.
pub(super) fn text(telemetry: &Telemetry, text: &str) -> String {
    let mut shown = text.to_owned();
    for secret in &telemetry.0.secrets {
        shown = secret.redact(&shown).into_owned();
    }
    if shown.len() > MAX_TEXT {
        let end = shown.floor_char_boundary(MAX_TEXT);
        let missing = shown.len() - end;
        shown.truncate(end);
        shown.push_str(&format!("[{missing} more bytes are left out]"));
    }
    shown
}

/// The system prompt.
pub(super) fn system(telemetry: &Telemetry, prompt: &str) -> String {
    json!([{"type": "text", "content": text(telemetry, prompt)}]).to_string()
}

/// The latest messages of a conversation, as many as there is room for.
pub(super) fn messages(telemetry: &Telemetry, messages: &[MessageBody]) -> String {
    let mut shown = Vec::new();
    let mut room = MAX_MESSAGES;
    for message in messages.iter().rev().filter_map(|message| self::message(telemetry, message)) {
        let message = message.to_string();
        let Some(left) = room.checked_sub(message.len() + 1) else { break };
        room = left;
        shown.push(message);
    }
    shown.reverse();
    format!("[{}]", shown.join(","))
}

/// What a model has said.
pub(super) fn answer(telemetry: &Telemetry, message: &AssistantMessage, reason: &StopReason) -> String {
    let answer = json!([{
        "role": "assistant",
        "parts": assistant(telemetry, message),
        "finish_reason": reason.as_str(),
    }]);
    let answer = answer.to_string();
    if answer.len() <= MAX_MESSAGES {
        answer
    } else {
        json!([{"role": "assistant", "parts": []}]).to_string()
    }
}

fn message(telemetry: &Telemetry, message: &MessageBody) -> Option<Value> {
    match message {
        MessageBody::User { content } | MessageBody::Summary { content, .. } => {
            let parts: Vec<_> = content.iter().map(|part| content_part(telemetry, part)).collect();
            Some(json!({"role": "user", "parts": parts}))
        }
        MessageBody::Assistant(message) => {
            Some(json!({"role": "assistant", "parts": assistant(telemetry, message)}))
        }
        MessageBody::Tool(result) => Some(json!({"role": "tool", "parts": [{
            "type": "tool_call_response",
            "id": result.tool_call_id,
            "response": text(telemetry, &result.output.to_text()),
        }]})),
        MessageBody::Error { .. }
        | MessageBody::Offload { .. }
        | MessageBody::Rewind { .. }
        | MessageBody::Other(_) => None,
    }
}

fn content_part(telemetry: &Telemetry, part: &ContentPart) -> Value {
    match part {
        ContentPart::Text { text } => json!({"type": "text", "content": self::text(telemetry, text)}),
        ContentPart::Image { media_type, .. } | ContentPart::File { media_type, .. } => {
            json!({"type": "blob", "mime_type": media_type})
        }
        ContentPart::Other(_) => json!({"type": "other"}),
    }
}

fn assistant(telemetry: &Telemetry, message: &AssistantMessage) -> Vec<Value> {
    let part = |part: &AssistantPart| match part {
        AssistantPart::Text { text } => json!({"type": "text", "content": self::text(telemetry, text)}),
        AssistantPart::Thinking { reasoning, .. } => {
            json!({"type": "reasoning", "content": text(telemetry, reasoning)})
        }
        AssistantPart::ToolCall(call) => json!({
            "type": "tool_call",
            "id": call.id,
            "name": call.name,
            "arguments": text(telemetry, &call.input.to_string()),
        }),
        AssistantPart::Opaque { .. } | AssistantPart::Other(_) => json!({"type": "other"}),
    };
    message.content.iter().map(part).collect()
}

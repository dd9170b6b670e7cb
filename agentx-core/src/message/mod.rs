//! Messages: what is stored of a conversation, and what a model is shown.

mod part;
mod shown;
mod size;
mod stop_reason;
mod tool;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{
    part::{AssistantPart, ContentPart},
    stop_reason::{StopDetails, StopReason},
    tool::{ToolCall, ToolOutput, ToolResult},
};
pub(crate) use self::{shown::place_of_result, size::json_size};
use crate::{MessageId, Timestamp, Usage};

/// One message of a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// When it was made.
    pub timestamp: Timestamp,
    /// Who said what.
    #[serde(flatten)]
    pub body: MessageBody,
}

impl Message {
    /// A message.
    pub fn new(id: MessageId, timestamp: Timestamp, body: MessageBody) -> Self {
        Self { id, timestamp, body }
    }
}

/// Who said what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "camelCase")]
#[non_exhaustive]
pub enum MessageBody {
    /// The user.
    User {
        /// What the user said; never empty.
        content: Vec<ContentPart>,
    },
    /// The model.
    Assistant(AssistantMessage),
    /// A tool's answer to one call of the model.
    Tool(ToolResult),
    /// A failure that ended a turn. Users see it; a model never does.
    Error {
        /// What happened, for people.
        content: String,
        /// The kind of failure.
        #[serde(default, rename = "errorCode", skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// A summary in place of all messages up to and with `through`. They stay stored; a model is shown this, and then
    /// what came behind them.
    Summary {
        /// What the model is told of them.
        content: Vec<ContentPart>,
        /// The last message that this stands for.
        through: MessageId,
    },
    /// The outputs of these tool calls, which came before this, are shown to a model with only their beginning and end from
    /// here on. They stay stored in full.
    Offload {
        /// The calls.
        calls: Vec<String>,
    },
    /// The session went back: `before`, and what came behind it up to here, is no longer part of what a model is shown.
    /// It stays stored.
    Rewind {
        /// A message of the user's.
        before: MessageId,
        /// The last message that is kept; none where that was not noted, or where nothing is kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept: Option<MessageId>,
        /// How many messages are kept no longer, marks not counted; 0 where that was not noted.
        #[serde(default)]
        removed: u64,
    },
    /// A message of a role that this version does not know, kept as it is. No model sees it.
    #[serde(untagged)]
    Other(Value),
}

impl MessageBody {
    /// A user's text.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User { content: vec![ContentPart::text(text)] }
    }

    /// The role's name, as it is stored: `user`, `assistant`, `tool`, `error`, `summary`, `offload` or `rewind`; `other` for one that
    /// has none.
    pub fn role(&self) -> &str {
        match self {
            Self::User { .. } => "user",
            Self::Assistant(_) => "assistant",
            Self::Tool(_) => "tool",
            Self::Error { .. } => "error",
            Self::Summary { .. } => "summary",
            Self::Offload { .. } => "offload",
            Self::Rewind { .. } => "rewind",
            Self::Other(value) => value.get("role").and_then(Value::as_str).unwrap_or("other"),
        }
    }

    /// Whether a model is shown it. Failures and marks are for people and for the store.
    pub fn is_shown(&self) -> bool {
        matches!(self, Self::User { .. } | Self::Assistant(_) | Self::Tool(_) | Self::Summary { .. })
    }

    /// Whether it is part of the conversation as people see it: what somebody said or did, or what failed, and no mark.
    pub fn is_said(&self) -> bool {
        matches!(self, Self::User { .. } | Self::Assistant(_) | Self::Tool(_) | Self::Error { .. })
    }

    /// All text in it, thinking and tool results left out.
    pub fn text(&self) -> String {
        match self {
            Self::User { content } | Self::Summary { content, .. } => {
                content.iter().filter_map(ContentPart::as_text).collect()
            }
            Self::Assistant(message) => message.text(),
            Self::Tool(_) | Self::Offload { .. } | Self::Rewind { .. } | Self::Other(_) => String::new(),
            Self::Error { content, .. } => content.clone(),
        }
    }

    /// The bytes of its content.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::User { content } | Self::Summary { content, .. } => {
                content.iter().map(ContentPart::size).sum()
            }
            Self::Assistant(message) => message.content.iter().map(AssistantPart::size).sum(),
            Self::Tool(result) => result.output.size(),
            Self::Error { content, .. } => content.len(),
            Self::Offload { calls } => calls.iter().map(String::len).sum(),
            Self::Rewind { before, .. } => before.as_str().len(),
            Self::Other(value) => json_size(value),
        }
    }
}

/// What the model said in one call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AssistantMessage {
    /// Its parts, in the model's order.
    pub content: Vec<AssistantPart>,
    /// The model that answered, as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What the call used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Why the model stopped; none where it was cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// What the provider said of that beyond the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_details: Option<StopDetails>,
}

impl AssistantMessage {
    /// A message of these parts.
    pub fn new(content: Vec<AssistantPart>) -> Self {
        Self { content, ..Self::default() }
    }

    /// All text in it.
    pub fn text(&self) -> String {
        self.content
            .iter()
            .filter_map(|part| match part {
                AssistantPart::Text { text } => Some(text.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The tools that it calls.
    pub fn tool_calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.content.iter().filter_map(|part| match part {
            AssistantPart::ToolCall(call) => Some(call),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn round_trip(body: MessageBody) -> Value {
        let message = Message::new(MessageId::new("msg_1").unwrap(), Timestamp::from_millis(5), body);
        let json = serde_json::to_value(&message).unwrap();
        assert_eq!(serde_json::from_value::<Message>(json.clone()).unwrap(), message);
        json
    }

    #[test]
    fn the_stored_form_has_the_names_of_the_protocol() {
        assert_eq!(
            round_trip(MessageBody::user("hi")),
            json!({"id": "msg_1", "timestamp": 5, "role": "user", "content": [{"type": "text", "text": "hi"}]})
        );
        let call = ToolCall::new("call_1", "bash", json!({"command": "ls"}));
        assert_eq!(
            round_trip(MessageBody::Assistant(AssistantMessage::new(vec![AssistantPart::ToolCall(call)]))),
            json!({"id": "msg_1", "timestamp": 5, "role": "assistant", "content": [
                {"type": "tool-call", "id": "call_1", "name": "bash", "input": {"command": "ls"}}]})
        );
        assert_eq!(
            round_trip(MessageBody::Tool(ToolResult::new("call_1", "bash", ToolOutput::text("a\n")))),
            json!({"id": "msg_1", "timestamp": 5, "role": "tool", "toolCallId": "call_1", "toolName": "bash",
                   "output": {"type": "text", "value": "a\n"}})
        );
    }

    #[test]
    fn what_stands_for_others_and_what_a_later_version_says_survive() {
        let through = MessageId::new("msg_0").unwrap();
        assert_eq!(
            round_trip(MessageBody::Summary { content: vec![ContentPart::text("so far")], through }),
            json!({"id": "msg_1", "timestamp": 5, "role": "summary", "through": "msg_0",
                   "content": [{"type": "text", "text": "so far"}]})
        );
        assert_eq!(
            round_trip(MessageBody::Offload { calls: vec!["call_1".into()] }),
            json!({"id": "msg_1", "timestamp": 5, "role": "offload", "calls": ["call_1"]})
        );
        let before = MessageId::new("msg_0").unwrap();
        let kept = Some(MessageId::new("msg_9").unwrap());
        assert_eq!(
            round_trip(MessageBody::Rewind { before: before.clone(), kept, removed: 3 }),
            json!({"id": "msg_1", "timestamp": 5, "role": "rewind", "before": "msg_0", "kept": "msg_9", "removed": 3})
        );
        // As it was written before these were noted.
        let json = json!({"id": "msg_1", "timestamp": 5, "role": "rewind", "before": "msg_0"});
        let message: Message = serde_json::from_value(json).unwrap();
        assert_eq!(message.body, MessageBody::Rewind { before, kept: None, removed: 0 });
        let json = json!({"id": "msg_1", "timestamp": 5, "role": "oracle", "content": "?", "n": [1]});
        let message: Message = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(message.body.role(), "oracle");
        assert_eq!(serde_json::to_value(message).unwrap(), json);
    }

    #[test]
    fn a_part_of_a_later_version_survives() {
        let json = json!({"id": "msg_1", "timestamp": 5, "role": "assistant",
                          "content": [{"type": "hologram", "beam": [1, 2]}]});
        let message: Message = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(message).unwrap(), json);

        let json = json!({"id": "msg_1", "timestamp": 5, "role": "tool", "toolCallId": "call_1", "toolName": "t",
                          "output": {"type": "hologram", "value": [1, 2]}});
        let message: Message = serde_json::from_value(json.clone()).unwrap();
        match &message.body {
            MessageBody::Tool(result) => assert_eq!(result.output.to_text(), json["output"].to_string()),
            other => panic!("{other:?}"),
        }
        assert_eq!(serde_json::to_value(message).unwrap(), json);
    }
}

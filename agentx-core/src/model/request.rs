use std::sync::Arc;

use super::ModelSettings;
use crate::{MessageBody, ToolDefinition, ToolResult};

/// One question to a model.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ModelRequest {
    /// The system prompt.
    pub system: Option<String>,
    /// The conversation. Each tool call has its result right behind the message that called; the last is what the
    /// model is to answer.
    pub messages: Arc<Vec<MessageBody>>,
    /// The tools that it may call.
    pub tools: Arc<[ToolDefinition]>,
    /// The rest.
    pub settings: ModelSettings,
}

impl ModelRequest {
    /// A question.
    pub fn new(messages: Vec<MessageBody>) -> Self {
        Self { messages: Arc::new(messages), ..Self::default() }
    }

    /// The last thing that the user said.
    pub fn last_user_text(&self) -> Option<String> {
        self.messages.iter().rev().find(|message| message.role() == "user").map(MessageBody::text)
    }

    /// The tool results since the user last spoke, oldest first.
    pub fn tool_results(&self) -> impl Iterator<Item = &ToolResult> {
        self.since_user().filter_map(|message| match message {
            MessageBody::Tool(result) => Some(result),
            _ => None,
        })
    }

    /// How often the model has answered since the user last spoke.
    pub fn steps(&self) -> usize {
        self.since_user().filter(|message| matches!(message, MessageBody::Assistant(_))).count()
    }

    fn since_user(&self) -> impl Iterator<Item = &MessageBody> {
        let start = self.messages.iter().rposition(|message| message.role() == "user").unwrap_or(0);
        self.messages.iter().skip(start)
    }
}

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventCategory, EventIntent, EventLayer, EventSource};
use crate::{
    AgentId, ApprovalId, ContentPart, Decision, ImageId, Message, MessageBody, MessageId, OutcomeKind,
    SessionId, Spent, StopDetails, StopReason, Timestamp, ToolOutput, TurnId, Usage,
};

/// What happened: names and fields of the AgentX protocol.
///
/// Four layers lie one above the other, each derived from the one below: the *stream* as the model speaks, the
/// *state* of the agent, whole *messages*, and whole *turns*.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum EventData {
    // The stream.
    /// The model begins to answer.
    MessageStart {
        /// The message that it makes.
        message_id: MessageId,
        /// The model.
        model: String,
    },
    /// What the answer has used so far.
    MessageDelta {
        /// All counts from the answer's beginning.
        usage: Usage,
    },
    /// The answer is complete.
    MessageStop {
        /// Why the model stopped.
        stop_reason: StopReason,
    },
    /// Why the model stops, beyond the reason's name.
    MessageStopDetails(StopDetails),
    /// The provider refused a part of the conversation, which was left out: the answer is to the rest.
    ContentOmitted {
        /// What it was, such as `image/png`.
        media_type: String,
        /// Why, for people.
        reason: String,
    },
    /// The model's answer is void so far, and begins anew.
    MessageRestarted {
        /// Why.
        reason: String,
    },
    /// A piece of text.
    TextDelta {
        /// The text.
        text: String,
    },
    /// A piece of thinking.
    ThinkingDelta {
        /// The thinking.
        text: String,
    },
    /// The model begins to write a tool call.
    ToolUseStart {
        /// The call.
        tool_call_id: String,
        /// The tool.
        tool_name: String,
    },
    /// A piece of a tool call's input.
    InputJsonDelta {
        /// The call.
        tool_call_id: String,
        /// JSON text, not complete by itself.
        partial_json: String,
    },
    /// A tool call is written.
    ToolUseStop {
        /// The call.
        tool_call_id: String,
        /// The tool.
        tool_name: String,
        /// Its input.
        input: Value,
    },
    /// A tool call is answered.
    ToolResult {
        /// The call.
        tool_call_id: String,
        /// The answer.
        result: ToolOutput,
        /// Whether it failed or was denied.
        is_error: bool,
    },
    /// The driver failed.
    ErrorReceived {
        /// What happened, for people.
        message: String,
        /// The kind of failure.
        #[serde(skip_serializing_if = "Option::is_none")]
        error_code: Option<String>,
    },
    /// The turn was interrupted.
    Interrupted {
        /// By what: `user`, `timeout`, `error`.
        reason: String,
    },

    // The state.
    /// A user's message is stored, and waits for the turns before it.
    ConversationQueued {
        /// The user's message.
        message_id: MessageId,
    },
    /// A user's message is taken up.
    ConversationStart {
        /// The user's message.
        message_id: MessageId,
    },
    /// The model thinks.
    ConversationThinking {},
    /// The model answers.
    ConversationResponding {},
    /// The agent is at rest again.
    ConversationEnd {
        /// `completed`, `interrupted` or `error`.
        reason: String,
    },
    /// The agent was interrupted.
    ConversationInterrupted {
        /// By what.
        reason: String,
    },
    /// The model is going to call a tool.
    ToolPlanned {
        /// The call.
        tool_id: String,
        /// The tool.
        tool_name: String,
    },
    /// A tool call waits for an approval.
    ApprovalRequested {
        /// The approval.
        approval_id: ApprovalId,
        /// The call.
        tool_id: String,
        /// The tool.
        tool_name: String,
        /// The input with which it would run.
        input: Value,
        /// Why it is asked for.
        reason: String,
    },
    /// An approval was given or denied.
    ApprovalAnswered {
        /// The approval.
        approval_id: ApprovalId,
        /// The answer.
        decision: Decision,
    },
    /// A tool runs.
    ToolExecuting {
        /// The call.
        tool_id: String,
        /// The tool.
        tool_name: String,
        /// Its input.
        input: Value,
    },
    /// A tool answered.
    ToolCompleted {
        /// The call.
        tool_id: String,
        /// The tool.
        tool_name: String,
        /// The answer.
        result: ToolOutput,
    },
    /// A tool failed or was not allowed to run.
    ToolFailed {
        /// The call.
        tool_id: String,
        /// The tool.
        tool_name: String,
        /// What the model is told.
        error: String,
    },
    /// Something happened in a sub-agent that runs within a tool call.
    Nested {
        /// The call.
        tool_id: String,
        /// The sub-agent.
        agent: String,
        /// What happened there. Its messages are the sub-agent's own, and no part of this session.
        event: Box<EventData>,
    },
    /// A hook failed after a tool or a turn. The turn goes on.
    HookFailed {
        /// What happened, for people.
        message: String,
        /// The kind of failure.
        error_code: String,
    },
    /// Something went wrong.
    ErrorOccurred {
        /// The kind of failure.
        code: String,
        /// What happened, for people.
        message: String,
        /// Whether sending again may help.
        recoverable: bool,
    },

    // Messages.
    /// The user's message, as it is stored.
    UserMessage(Message),
    /// The model's message, as it is stored.
    AssistantMessage(Message),
    /// A tool's answer, as it is stored.
    ToolResultMessage(Message),
    /// A failure, as it is stored.
    ErrorMessage(Message),
    /// A summary in place of older messages, as it is stored.
    SummaryMessage(Message),
    /// Outputs of tools that are no longer shown in full, as it is stored.
    OffloadMessage(Message),
    /// The session went back, as it is stored.
    RewindMessage(Message),

    // Turns.
    /// A turn begins.
    TurnRequest {
        /// The turn.
        turn_id: TurnId,
        /// The user's message.
        message_id: MessageId,
        /// What the user said.
        content: Vec<ContentPart>,
        /// When.
        timestamp: Timestamp,
        /// What was [sent with](crate::Agent::send_with) the message, for the driver.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        options: Option<Value>,
    },
    /// A turn is over.
    TurnResponse {
        /// The turn.
        turn_id: TurnId,
        /// The last message that the model made in it; the user's where it made none.
        message_id: MessageId,
        /// How long it took, in milliseconds.
        duration: u64,
        /// All that it used.
        usage: Usage,
        /// What it spent of its budget, money included, where its driver counts that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spent: Option<Spent>,
        /// The model that answered last.
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<String>,
        /// Why the model stopped last.
        #[serde(skip_serializing_if = "Option::is_none")]
        stop_reason: Option<StopReason>,
        /// How the turn ended.
        outcome: OutcomeKind,
        /// When.
        timestamp: Timestamp,
    },

    // The life of a session and of its agent.
    /// The session began as a copy of another.
    SessionForked {
        /// The other session.
        original_session_id: SessionId,
        /// This one.
        new_session_id: SessionId,
        /// This one's image.
        new_image_id: ImageId,
        /// When.
        forked_at: Timestamp,
    },
    /// The agent is gone, and this is the last that a subscriber is told.
    AgentStopped {
        /// The agent.
        agent_id: AgentId,
        /// `stopped`, `deleted`, or `runtime_dropped`.
        reason: String,
    },

    /// This subscriber was too slow: so many events that are not stored were dropped before this. Those that are stored
    /// follow.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// What is stored can't be read, and this is the last that this subscriber is told. It may resume from its cursor.
    SubscriptionFailed {
        /// What happened, for people.
        message: String,
        /// The kind of failure.
        error_code: String,
    },
    /// An event that this version does not know, kept as it is.
    #[serde(untagged)]
    Other(Value),
}

impl EventData {
    /// Which layer the event belongs to.
    pub fn layer(&self) -> EventLayer {
        use EventData as E;
        match self {
            E::Nested { event, .. } => event.layer(),
            E::SessionForked { .. }
            | E::AgentStopped { .. }
            | E::ConversationQueued { .. }
            | E::ConversationStart { .. }
            | E::ConversationThinking {}
            | E::ConversationResponding {}
            | E::ConversationEnd { .. }
            | E::ConversationInterrupted { .. }
            | E::ToolPlanned { .. }
            | E::ApprovalRequested { .. }
            | E::ApprovalAnswered { .. }
            | E::ToolExecuting { .. }
            | E::ToolCompleted { .. }
            | E::ToolFailed { .. }
            | E::HookFailed { .. }
            | E::ErrorOccurred { .. } => EventLayer::State,
            E::UserMessage(_)
            | E::AssistantMessage(_)
            | E::ToolResultMessage(_)
            | E::ErrorMessage(_)
            | E::SummaryMessage(_)
            | E::OffloadMessage(_)
            | E::RewindMessage(_) => EventLayer::Message,
            E::TurnRequest { .. } | E::TurnResponse { .. } => EventLayer::Turn,
            _ => EventLayer::Stream,
        }
    }

    /// Whether the event is stored, has a number of its own, and is told again to whoever resumes. Stored are messages,
    /// turns, and what the agent does. What only tells how a model is speaking (the stream, and that the agent thinks,
    /// responds or plans a call) is told once: the message in which it ends is stored.
    pub fn is_stored(&self) -> bool {
        use EventData as E;
        match self {
            E::ConversationThinking {}
            | E::ConversationResponding {}
            | E::ToolPlanned { .. }
            | E::AgentStopped { .. } => false,
            E::Nested { event, .. } => event.is_stored(),
            // Only what is stored is ever read back.
            E::Other(_) => true,
            _ => self.layer() != EventLayer::Stream,
        }
    }

    /// The event's name on the wire, such as `text_delta`; `other` for one that has none.
    pub fn name(&self) -> &str {
        macro_rules! names {
            ($($variant:ident => $name:literal,)*) => {
                match self {
                    $(Self::$variant { .. } => $name,)*
                    Self::Other(value) => value.get("type").and_then(Value::as_str).unwrap_or("other"),
                }
            };
        }
        names! {
            MessageStart => "message_start",
            MessageDelta => "message_delta",
            MessageStop => "message_stop",
            MessageStopDetails => "message_stop_details",
            ContentOmitted => "content_omitted",
            MessageRestarted => "message_restarted",
            TextDelta => "text_delta",
            ThinkingDelta => "thinking_delta",
            ToolUseStart => "tool_use_start",
            InputJsonDelta => "input_json_delta",
            ToolUseStop => "tool_use_stop",
            ToolResult => "tool_result",
            ErrorReceived => "error_received",
            Interrupted => "interrupted",
            ConversationQueued => "conversation_queued",
            ConversationStart => "conversation_start",
            ConversationThinking => "conversation_thinking",
            ConversationResponding => "conversation_responding",
            ConversationEnd => "conversation_end",
            ConversationInterrupted => "conversation_interrupted",
            ToolPlanned => "tool_planned",
            ApprovalRequested => "approval_requested",
            ApprovalAnswered => "approval_answered",
            ToolExecuting => "tool_executing",
            ToolCompleted => "tool_completed",
            ToolFailed => "tool_failed",
            Nested => "nested",
            HookFailed => "hook_failed",
            ErrorOccurred => "error_occurred",
            UserMessage => "user_message",
            AssistantMessage => "assistant_message",
            ToolResultMessage => "tool_result_message",
            ErrorMessage => "error_message",
            SummaryMessage => "summary_message",
            OffloadMessage => "offload_message",
            RewindMessage => "rewind_message",
            TurnRequest => "turn_request",
            TurnResponse => "turn_response",
            SessionForked => "session_forked",
            AgentStopped => "agent_stopped",
            Lagged => "lagged",
            SubscriptionFailed => "subscription_failed",
        }
    }

    /// Who tells of it, in the protocol's words.
    pub fn source(&self) -> EventSource {
        match self {
            Self::UserMessage(_) => EventSource::Command,
            _ => EventSource::Agent,
        }
    }

    /// The protocol's category.
    pub fn category(&self) -> EventCategory {
        match self.layer() {
            EventLayer::Stream => EventCategory::Stream,
            EventLayer::State => match self {
                Self::ErrorOccurred { .. } => EventCategory::Error,
                Self::SessionForked { .. } | Self::AgentStopped { .. } => EventCategory::Lifecycle,
                _ => EventCategory::State,
            },
            EventLayer::Message => EventCategory::Message,
            EventLayer::Turn => EventCategory::Turn,
        }
    }

    /// The protocol's intent. All events of an agent are notifications.
    pub fn intent(&self) -> EventIntent {
        EventIntent::Notification
    }

    /// The event that tells of a message; none for a message of a role that this version does not know.
    pub fn of_message(message: Message) -> Option<Self> {
        Some(match &message.body {
            MessageBody::User { .. } => Self::UserMessage(message),
            MessageBody::Assistant(_) => Self::AssistantMessage(message),
            MessageBody::Tool(_) => Self::ToolResultMessage(message),
            MessageBody::Error { .. } => Self::ErrorMessage(message),
            MessageBody::Summary { .. } => Self::SummaryMessage(message),
            MessageBody::Offload { .. } => Self::OffloadMessage(message),
            MessageBody::Rewind { .. } => Self::RewindMessage(message),
            MessageBody::Other(_) => return None,
        })
    }

    /// [`EventData::message`], taken out.
    pub(crate) fn into_message(self) -> Option<Message> {
        match self {
            Self::UserMessage(message)
            | Self::AssistantMessage(message)
            | Self::ToolResultMessage(message)
            | Self::ErrorMessage(message)
            | Self::SummaryMessage(message)
            | Self::OffloadMessage(message)
            | Self::RewindMessage(message) => Some(message),
            _ => None,
        }
    }

    /// The message that must be stored before this is told.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::UserMessage(message)
            | Self::AssistantMessage(message)
            | Self::ToolResultMessage(message)
            | Self::ErrorMessage(message)
            | Self::SummaryMessage(message)
            | Self::OffloadMessage(message)
            | Self::RewindMessage(message) => Some(message),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_wire_has_the_name_and_what_is_not_known_survives() {
        for event in [
            EventData::ConversationThinking {},
            EventData::Lagged { missed: 3 },
            EventData::ApprovalAnswered {
                approval_id: ApprovalId::new("appr_1").unwrap(),
                decision: Decision::AllowWith(json!({"x": 1})),
            },
        ] {
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["type"], event.name());
            assert_eq!(serde_json::from_value::<EventData>(json).unwrap(), event);
        }
        for json in [
            json!({"type": "hologram", "data": {"beam": [1, 2]}}),
            json!({"type": "tool_completed", "data": {"shape": "of a later version"}}),
        ] {
            let event: EventData = serde_json::from_value(json.clone()).unwrap();
            assert_eq!((event.name(), event.is_stored()), (json["type"].as_str().unwrap(), true));
            assert_eq!(serde_json::to_value(event).unwrap(), json);
        }
        let outcome: OutcomeKind = serde_json::from_value(json!("evaporated")).unwrap();
        assert_eq!(outcome, OutcomeKind::Other("evaporated".to_owned()));
        assert_eq!(serde_json::to_value(outcome).unwrap(), "evaporated");
    }
}

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    ApprovalId, ContentPart, Message, MessageId, OutcomeKind, StopDetails, StopReason, Timestamp, ToolOutput,
    TurnId, Usage,
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

    /// This subscriber was too slow: so many events before this are gone from memory.
    Lagged {
        /// How many.
        missed: u64,
    },
}

impl EventData {
    /// Which layer the event belongs to.
    pub fn layer(&self) -> EventLayer {
        use EventData as E;
        match self {
            E::ConversationStart { .. }
            | E::ConversationThinking {}
            | E::ConversationResponding {}
            | E::ConversationEnd { .. }
            | E::ConversationInterrupted { .. }
            | E::ToolPlanned { .. }
            | E::ApprovalRequested { .. }
            | E::ToolExecuting { .. }
            | E::ToolCompleted { .. }
            | E::ToolFailed { .. }
            | E::ErrorOccurred { .. } => EventLayer::State,
            E::UserMessage(_) | E::AssistantMessage(_) | E::ToolResultMessage(_) | E::ErrorMessage(_) => {
                EventLayer::Message
            }
            E::TurnRequest { .. } | E::TurnResponse { .. } => EventLayer::Turn,
            _ => EventLayer::Stream,
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
            EventLayer::State if matches!(self, Self::ErrorOccurred { .. }) => EventCategory::Error,
            EventLayer::State => EventCategory::State,
            EventLayer::Message => EventCategory::Message,
            EventLayer::Turn => EventCategory::Turn,
        }
    }

    /// The protocol's intent. All events of an agent are notifications.
    pub fn intent(&self) -> EventIntent {
        EventIntent::Notification
    }

    /// The message that must be stored before this is told.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::UserMessage(message)
            | Self::AssistantMessage(message)
            | Self::ToolResultMessage(message)
            | Self::ErrorMessage(message) => Some(message),
            _ => None,
        }
    }
}

macro_rules! wire_words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }
    )*};
}

wire_words! {
    /// A layer of events.
    EventLayer {
        /// As the model speaks.
        Stream,
        /// What the agent does.
        State,
        /// Whole messages.
        Message,
        /// Whole turns.
        Turn,
    }

    /// Who tells of an event.
    EventSource {
        /// The agent.
        Agent,
        /// A user's command.
        Command,
    }

    /// What an event is about.
    EventCategory {
        /// The stream.
        Stream,
        /// The agent's state.
        State,
        /// A message.
        Message,
        /// A turn.
        Turn,
        /// A failure.
        Error,
    }

    /// What an event wants.
    EventIntent {
        /// An answer.
        Request,
        /// To answer.
        Result,
        /// To tell.
        Notification,
    }
}

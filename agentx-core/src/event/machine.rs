//! The pure state machine that derives events from what a driver does.

use std::{collections::HashSet, mem};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventData, nested::NestedTurns, open_message::OpenMessage};
use crate::{
    AssistantMessage, Compaction, DriverEvent, Error, IdSource, Message, MessageBody, MessageId, ModelEvent,
    Outcome, Retry, StopDetails, StopReason, Timestamp, ToolCall, ToolOutput, ToolResult, TurnEnd, TurnId,
    Usage,
};

/// What an agent is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AgentState {
    /// Nothing: it waits for a user.
    #[default]
    Idle,
    /// It waits for the model's first words, or the model thinks.
    Thinking,
    /// The model answers.
    Responding,
    /// The model writes a tool call.
    PlanningTool,
    /// Tools run.
    AwaitingToolResult,
    /// It waits for somebody to approve a tool call, and for nothing else.
    AwaitingApproval,
    /// Another process has the session, or had it and died. This one takes it over when the lease of the other ends, by
    /// itself; whoever sends meanwhile is told `Busy`, by whom and until when.
    Elsewhere,
    /// Its last turn failed.
    Error,
    /// A state that this version does not know, by its name.
    #[serde(untagged)]
    Other(String),
}

/// When something happened, and the ids that it may need.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The time.
    pub at: Timestamp,
    /// Where ids come from.
    pub ids: &'a dyn IdSource,
}

/// What happens to a turn.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TurnInput {
    /// The driver tells something.
    Driver(DriverEvent),
    /// The turn is interrupted. The driver is not asked any more.
    Interrupted,
}

/// One turn, from the user's message to its end, as a fold over what happens.
///
/// `step` changes the machine, gives the events that follow, and does nothing else: the same inputs with the same
/// moments give the same events. Each step costs what its input carries. After the end every input is
/// without effect.
///
/// However the turn ends, each tool call of a message has a result among the events: the stored history is valid.
#[derive(Clone, Debug)]
pub struct TurnMachine {
    turn_id: TurnId,
    started: Timestamp,
    state: AgentState,
    open: Option<OpenMessage>,
    /// Calls of complete messages that have no result yet, in the model's order.
    unanswered: Vec<ToolCall>,
    /// Those of them that began.
    begun: HashSet<String>,
    nested: NestedTurns,
    /// What the turn's own model calls used.
    usage: Usage,
    model: Option<String>,
    stop_reason: Option<StopReason>,
    stop_details: Option<StopDetails>,
    last_message: MessageId,
    /// What a model sees of the history, so that a summary can name what it stands for.
    shown: Vec<MessageId>,
    over: bool,
}

impl TurnMachine {
    /// Begins the turn that answers `user`, a message of role `user`.
    pub fn start(turn_id: TurnId, user: Message) -> (Self, Vec<EventData>) {
        Self::start_with(turn_id, user, None)
    }

    /// Begins the turn that answers `user`, a message of role `user` that was sent with these options.
    pub fn start_with(turn_id: TurnId, user: Message, options: Option<Value>) -> (Self, Vec<EventData>) {
        let content = match &user.body {
            MessageBody::User { content } => content.clone(),
            _ => Vec::new(),
        };
        let machine = Self {
            turn_id: turn_id.clone(),
            started: user.timestamp,
            state: AgentState::Thinking,
            open: None,
            unanswered: Vec::new(),
            begun: HashSet::new(),
            nested: NestedTurns::default(),
            usage: Usage::default(),
            model: None,
            stop_reason: None,
            stop_details: None,
            last_message: user.id.clone(),
            shown: vec![user.id.clone()],
            over: false,
        };
        let (message_id, timestamp) = (user.id.clone(), user.timestamp);
        let events = vec![
            EventData::UserMessage(user),
            EventData::TurnRequest { turn_id, message_id: message_id.clone(), content, timestamp, options },
            EventData::ConversationStart { message_id },
        ];
        (machine, events)
    }

    /// Takes up a turn that stopped while these calls of the message `last_message` had no result.
    pub fn resume(
        turn_id: TurnId,
        started: Timestamp,
        last_message: MessageId,
        unanswered: Vec<ToolCall>,
    ) -> Self {
        Self {
            turn_id,
            started,
            state: AgentState::AwaitingApproval,
            open: None,
            unanswered,
            begun: HashSet::new(),
            nested: NestedTurns::default(),
            usage: Usage::default(),
            model: None,
            stop_reason: None,
            stop_details: None,
            last_message,
            shown: Vec::new(),
            over: false,
        }
    }

    /// Behind these messages, which a model sees before the turn's own.
    pub fn with_history(mut self, shown: impl IntoIterator<Item = MessageId>) -> Self {
        self.shown.splice(0..0, shown);
        self
    }

    /// What the agent is doing.
    pub fn state(&self) -> AgentState {
        self.state.clone()
    }

    /// Whether the turn has ended.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// All that the turn has used so far, its sub-agents included.
    pub fn usage(&self) -> Usage {
        let mut used = self.usage;
        used += self.nested.usage();
        used
    }

    /// What the model said of its last stop beyond the reason, if anything.
    pub fn stop_details(&self) -> Option<&StopDetails> {
        self.stop_details.as_ref()
    }

    /// Takes one input, and gives the events that follow.
    pub fn step(&mut self, moment: Moment<'_>, input: TurnInput) -> Vec<EventData> {
        let mut events = Vec::new();
        self.step_into(moment, input, &mut events);
        events
    }

    /// [`TurnMachine::step`], adding to `events`.
    pub(crate) fn step_into(&mut self, moment: Moment<'_>, input: TurnInput, events: &mut Vec<EventData>) {
        if self.over {
            return;
        }
        match input {
            TurnInput::Driver(DriverEvent::Together(inputs)) => {
                for event in inputs {
                    self.step_into(moment, TurnInput::Driver(event), events);
                }
            }
            TurnInput::Driver(DriverEvent::Model(event)) => self.model_event(moment, event, events),
            TurnInput::Driver(DriverEvent::ApprovalRequested(request)) => {
                let crate::ApprovalRequest { approval, call, reason } = request;
                let ToolCall { id: tool_id, name: tool_name, input, .. } = call;
                self.state = AgentState::AwaitingApproval;
                events.push(EventData::ApprovalRequested {
                    approval_id: approval,
                    tool_id,
                    tool_name,
                    input,
                    reason,
                });
            }
            TurnInput::Driver(DriverEvent::Offloaded(calls)) => {
                let (id, body) = (MessageId::fresh(moment.ids), MessageBody::Offload { calls });
                events.push(EventData::OffloadMessage(Message::new(id, moment.at, body)));
            }
            TurnInput::Driver(DriverEvent::Compacted(compaction)) => {
                self.compacted(moment, compaction, events);
            }
            TurnInput::Driver(DriverEvent::ToolStart(call)) => self.tool_start(call, events),
            TurnInput::Driver(DriverEvent::ToolEnd(result)) => self.tool_end(moment, result, events),
            TurnInput::Driver(DriverEvent::Nested(event)) => self.nested.step(moment, event, events),
            TurnInput::Driver(DriverEvent::HookFailed(error)) => {
                let error_code = error.kind().as_str().replace(' ', "_");
                events.push(EventData::HookFailed { message: error.to_string(), error_code });
            }
            TurnInput::Driver(DriverEvent::End(end)) => self.end(moment, end, events),
            TurnInput::Interrupted => self.end(moment, TurnEnd::new(Outcome::Interrupted), events),
        }
    }

    /// The end of a turn that fails for a reason of its host's; after the end, what tells of that failure.
    pub(crate) fn give_up(&mut self, moment: Moment<'_>, error: &Error) -> Vec<EventData> {
        let mut events = Vec::new();
        if self.over {
            fail(moment, error, &mut events);
        } else {
            self.end(moment, TurnEnd::new(Outcome::Failed(error.clone())), &mut events);
        }
        events
    }

    fn model_event(&mut self, moment: Moment<'_>, event: ModelEvent, events: &mut Vec<EventData>) {
        if matches!(event, ModelEvent::Start { .. })
            && self.open.as_ref().is_some_and(|open| open.assembler.has_begun())
        {
            // Whoever begins a message has ended the one before: what was told of it stays.
            self.end_message(moment, events);
        }
        let open = self.open.get_or_insert_with(|| OpenMessage::new(moment));
        // Counts are from the message's beginning, so the last of each message is what counts.
        if let (ModelEvent::Restarted { .. }, Some(used)) = (&event, open.assembler.usage()) {
            self.usage += used;
        }
        open.assembler.push(&event);
        match event {
            ModelEvent::Start { model } => {
                self.model = Some(model.clone());
                self.stop_details = None;
                self.state = AgentState::Thinking;
                events.push(EventData::MessageStart { message_id: open.id.clone(), model });
            }
            ModelEvent::Block { index, change } => {
                if let Some(state) = open.block(index, change, events) {
                    self.state = state;
                }
            }
            ModelEvent::Usage(usage) => events.push(EventData::MessageDelta { usage }),
            ModelEvent::StopDetails(details) => {
                self.stop_details = Some(details.clone());
                events.push(EventData::MessageStopDetails(details));
            }
            ModelEvent::Omitted { media_type, reason } => {
                events.push(EventData::ContentOmitted { media_type, reason });
            }
            ModelEvent::Stop(stop_reason) => {
                self.stop_reason = Some(stop_reason.clone());
                events.push(EventData::MessageStop { stop_reason });
                self.end_message(moment, events);
            }
            ModelEvent::Restarted { reason } => {
                open.restart();
                self.state = AgentState::Thinking;
                events.push(EventData::MessageRestarted { reason });
            }
        }
    }

    fn end_message(&mut self, moment: Moment<'_>, events: &mut Vec<EventData>) {
        let Some(OpenMessage { id, assembler, results, .. }) = self.open.take() else { return };
        self.usage += assembler.usage().unwrap_or_default();
        let message: AssistantMessage = assembler.finish();
        // No model takes an empty message back.
        if message.content.is_empty() {
            return;
        }
        // A model that speaks again takes no results for what it said before.
        for call in mem::take(&mut self.unanswered) {
            let result = without_result(&call, self.begun.contains(&call.id));
            self.answer(moment, result, events);
        }
        self.unanswered.extend(message.tool_calls().cloned());
        self.last_message = id.clone();
        self.shown.push(id.clone());
        events.push(EventData::AssistantMessage(Message::new(
            id,
            moment.at,
            MessageBody::Assistant(message),
        )));
        for result in results {
            self.tool_end(moment, result, events);
        }
    }

    /// Stores a summary, unless there is nothing that it could stand for.
    fn compacted(&mut self, moment: Moment<'_>, compaction: Compaction, events: &mut Vec<EventData>) {
        self.usage += compaction.usage;
        let Some(behind) = self.shown.len().checked_sub(compaction.kept) else { return };
        let Some(through) = behind.checked_sub(1).and_then(|last| self.shown.get(last)).cloned() else {
            return;
        };
        let id = MessageId::fresh(moment.ids);
        self.shown.splice(..behind, [id.clone()]);
        let body = MessageBody::Summary { content: compaction.summary, through };
        events.push(EventData::SummaryMessage(Message::new(id, moment.at, body)));
    }

    fn tool_start(&mut self, call: ToolCall, events: &mut Vec<EventData>) {
        self.state = AgentState::AwaitingToolResult;
        self.begun.insert(call.id.clone());
        events.push(EventData::ToolExecuting { tool_id: call.id, tool_name: call.name, input: call.input });
    }

    /// Takes the result of a call that has none. One for any other call has no place in a history, and is of no effect.
    fn tool_end(&mut self, moment: Moment<'_>, result: ToolResult, events: &mut Vec<EventData>) {
        let waiting = self.unanswered.len();
        self.unanswered.retain(|call| call.id != result.tool_call_id);
        if self.unanswered.len() < waiting {
            self.answer(moment, result, events);
        } else if let Some(open) = &mut self.open {
            open.take(result);
        }
    }

    fn answer(&mut self, moment: Moment<'_>, result: ToolResult, events: &mut Vec<EventData>) {
        let ToolResult { tool_call_id, tool_name, output, .. } = result.clone();
        self.begun.remove(&tool_call_id);
        self.nested.close(moment, &tool_call_id, events);
        let is_error = output.is_error();
        self.state =
            if self.unanswered.is_empty() { AgentState::Responding } else { AgentState::AwaitingToolResult };
        events.push(EventData::ToolResult {
            tool_call_id: tool_call_id.clone(),
            result: output.clone(),
            is_error,
        });
        events.push(if is_error {
            EventData::ToolFailed { tool_id: tool_call_id, tool_name, error: output.to_text() }
        } else {
            EventData::ToolCompleted { tool_id: tool_call_id, tool_name, result: output }
        });
        let id = MessageId::fresh(moment.ids);
        self.shown.push(id.clone());
        events.push(EventData::ToolResultMessage(Message::new(id, moment.at, MessageBody::Tool(result))));
    }

    fn end(&mut self, moment: Moment<'_>, end: TurnEnd, events: &mut Vec<EventData>) {
        let TurnEnd { outcome, spent } = end;
        self.end_message(moment, events);
        self.nested.close_all(moment, events);
        for call in mem::take(&mut self.unanswered) {
            let result = cut_short(&call, &outcome, self.begun.contains(&call.id));
            self.answer(moment, result, events);
        }
        self.over = true;
        self.state = AgentState::Idle;
        let reason = match &outcome {
            Outcome::Interrupted => {
                events.push(EventData::Interrupted { reason: "user".to_owned() });
                events.push(EventData::ConversationInterrupted { reason: "user".to_owned() });
                "interrupted"
            }
            Outcome::Failed(error) => {
                self.state = AgentState::Error;
                fail(moment, error, events);
                "error"
            }
            _ => "completed",
        };
        events.push(EventData::ConversationEnd { reason: reason.to_owned() });
        events.push(EventData::TurnResponse {
            turn_id: self.turn_id.clone(),
            message_id: self.last_message.clone(),
            duration: u64::try_from(moment.at.since(self.started).as_millis()).unwrap_or(u64::MAX),
            usage: self.usage(),
            spent,
            model: self.model.clone(),
            stop_reason: self.stop_reason.clone(),
            outcome: outcome.kind(),
            timestamp: moment.at,
        });
    }
}

fn fail(moment: Moment<'_>, error: &Error, events: &mut Vec<EventData>) {
    let (code, message) = (error.kind().as_str().replace(' ', "_"), error.to_string());
    events.push(EventData::ErrorReceived { message: message.clone(), error_code: Some(code.clone()) });
    let recoverable = !matches!(error.retry(), Retry::Never);
    events.push(EventData::ErrorOccurred { code: code.clone(), message: message.clone(), recoverable });
    let body = MessageBody::Error { content: message, code: Some(code) };
    events.push(EventData::ErrorMessage(Message::new(MessageId::fresh(moment.ids), moment.at, body)));
}

/// What a model is told of a call whose driver went on without a result.
fn without_result(call: &ToolCall, begun: bool) -> ToolResult {
    let why = format!("The call was left without a result. {}", effect(begun));
    ToolResult::new(&call.id, &call.name, ToolOutput::ErrorText(why))
}

/// What a model is told of a call that the end of its turn left without a result.
fn cut_short(call: &ToolCall, outcome: &Outcome, begun: bool) -> ToolResult {
    let why = match outcome {
        Outcome::Interrupted => format!("The user interrupted the turn. {}", effect(begun)),
        other => format!("The turn ended before this call did ({}). {}", other.as_str(), effect(begun)),
    };
    ToolResult::new(&call.id, &call.name, ToolOutput::ErrorText(why))
}

fn effect(begun: bool) -> &'static str {
    if begun { "The call may have run in part." } else { "The call was not run." }
}

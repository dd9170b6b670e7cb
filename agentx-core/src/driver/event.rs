use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    ApprovalRequest, ContentPart, Error, ModelEvent, NestedEvent, NestedStep, Spent, ToolCall, ToolResult,
    Usage,
};

/// A step of a turn.
///
/// A call runs behind the [`ModelEvent::Stop`] of the message that asks for it, under an id that no other call of the
/// session has: a result that is told before that stop is stored behind it, and one of a call that no message has, or that
/// has a result, is of no effect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DriverEvent {
    /// The model says something.
    Model(ModelEvent),
    /// A tool call waits for an approval. It has not begun, and others run meanwhile.
    ApprovalRequested(ApprovalRequest),
    /// A tool is about to run, with this input (which a permission may have changed).
    ToolStart(ToolCall),
    /// A tool call is answered; it ran, failed, or was not allowed to run.
    ToolEnd(ToolResult),
    /// The outputs of these tool calls were cut to their beginning and end. From here on a model sees them so, also in
    /// later turns.
    Offloaded(Vec<String>),
    /// The history was summarised. From here on, the summary stands for what it replaces, also in later turns.
    Compacted(Compaction),
    /// Something happens in a turn that runs within a tool call of this one.
    Nested(NestedEvent),
    /// Several steps that are told at once, and stored at once: what they announce begins together, with the next poll.
    /// None of them is a [`DriverEvent::Together`] or the end.
    Together(Vec<DriverEvent>),
    /// A hook failed behind what it was asked about. That stands, and the turn goes on.
    HookFailed(Error),
    /// The turn is over.
    End(TurnEnd),
}

impl DriverEvent {
    /// These steps at once; none where there are none.
    pub(crate) fn together(mut events: Vec<Self>) -> Option<Self> {
        match events.len() {
            0 | 1 => events.pop(),
            _ => Some(Self::Together(events)),
        }
    }

    /// The steps one by one, also those within the turn of a tool call.
    pub(crate) fn one_by_one(self) -> Vec<Self> {
        match self {
            Self::Together(events) => events.into_iter().flat_map(Self::one_by_one).collect(),
            Self::Nested(NestedEvent { call_id, agent, step: NestedStep::Driver(event) }) => {
                let nested = |event| NestedStep::Driver(Box::new(event));
                let within = |event| NestedEvent::new(&call_id, &agent, nested(event));
                event.one_by_one().into_iter().map(within).map(Self::Nested).collect()
            }
            event => vec![event],
        }
    }
}

/// A summary in place of the older part of a history.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Compaction {
    /// What a model is told in place of the messages that this stands for.
    pub summary: Vec<ContentPart>,
    /// How many of the latest messages stay as they are, counted over what a model sees: the turn's history (without
    /// errors) and what was told since. A tool result never stays without its call.
    pub kept: usize,
    /// What the summary itself used.
    pub usage: Usage,
}

impl Compaction {
    /// A summary of all but the latest `kept` messages.
    pub fn new(summary: Vec<ContentPart>, kept: usize) -> Self {
        Self { summary, kept, usage: Usage::default() }
    }
}

/// How a turn ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TurnEnd {
    /// Why it ended.
    pub outcome: Outcome,
    /// What the turn used, its sub-agents included, where the driver counts it.
    pub spent: Option<Spent>,
}

impl TurnEnd {
    /// An end.
    pub fn new(outcome: Outcome) -> Self {
        Self { outcome, spent: None }
    }

    /// Of a turn that used so much.
    pub fn with_spent(mut self, spent: Spent) -> Self {
        self.spent = Some(spent);
        self
    }
}

impl From<Outcome> for DriverEvent {
    fn from(outcome: Outcome) -> Self {
        Self::End(TurnEnd::new(outcome))
    }
}

/// Why a turn ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The model said all that it wanted to say.
    Completed,
    /// The model's answer was cut off by the limit of its output or of the conversation.
    Truncated,
    /// The model declined to answer. [`TurnReport::stop_details`](crate::TurnReport::stop_details) says what it said of that.
    Refused,
    /// The driver stopped before the model was done, and goes on with the next message. A turn that waits for an approval
    /// has not ended.
    Paused,
    /// It was interrupted.
    Interrupted,
    /// It reached a bound of its own.
    Budget(BudgetKind),
    /// It reached a bound that it shares with other turns: its session's, or that of the turn that it is part of.
    SharedBudget(BudgetKind),
    /// It failed.
    Failed(Error),
}

impl Outcome {
    /// The outcome without its details.
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Self::Completed => OutcomeKind::Completed,
            Self::Truncated => OutcomeKind::Truncated,
            Self::Refused => OutcomeKind::Refused,
            Self::Paused => OutcomeKind::Paused,
            Self::Interrupted => OutcomeKind::Interrupted,
            Self::Budget(_) | Self::SharedBudget(_) => OutcomeKind::Budget,
            Self::Failed(_) => OutcomeKind::Failed,
        }
    }

    /// The outcome's name: `completed`, `truncated`, `refused`, `paused`, `interrupted`, `budget` or `failed`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Truncated => "truncated",
            Self::Refused => "refused",
            Self::Paused => "paused",
            Self::Interrupted => "interrupted",
            Self::Budget(_) | Self::SharedBudget(_) => "budget",
            Self::Failed(_) => "failed",
        }
    }
}

/// An [`Outcome`] without its details. An open list: one that this version does not know is kept by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[non_exhaustive]
pub enum OutcomeKind {
    /// See [`Outcome::Completed`].
    Completed,
    /// See [`Outcome::Truncated`].
    Truncated,
    /// See [`Outcome::Refused`].
    Refused,
    /// See [`Outcome::Paused`].
    Paused,
    /// See [`Outcome::Interrupted`].
    Interrupted,
    /// See [`Outcome::Budget`] and [`Outcome::SharedBudget`].
    Budget,
    /// See [`Outcome::Failed`].
    Failed,
    /// One that this version does not know, by its name.
    Other(String),
}

impl OutcomeKind {
    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Completed => "completed",
            Self::Truncated => "truncated",
            Self::Refused => "refused",
            Self::Paused => "paused",
            Self::Interrupted => "interrupted",
            Self::Budget => "budget",
            Self::Failed => "failed",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for OutcomeKind {
    fn from(name: String) -> Self {
        match name.as_str() {
            "completed" => Self::Completed,
            "truncated" => Self::Truncated,
            "refused" => Self::Refused,
            "paused" => Self::Paused,
            "interrupted" => Self::Interrupted,
            "budget" => Self::Budget,
            "failed" => Self::Failed,
            _ => Self::Other(name),
        }
    }
}

impl From<OutcomeKind> for String {
    fn from(kind: OutcomeKind) -> Self {
        match kind {
            OutcomeKind::Other(name) => name,
            known => known.as_str().to_owned(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Budget(kind) => write!(f, "the budget of {kind} is used up"),
            Self::SharedBudget(kind) => write!(f, "the shared budget of {kind} is used up"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            other => f.write_str(other.as_str()),
        }
    }
}

/// Which bound of a [`Budget`](crate::Budget) was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BudgetKind {
    /// Turns.
    Turns,
    /// Model calls.
    Steps,
    /// Tool calls.
    ToolCalls,
    /// Output tokens.
    OutputTokens,
    /// Tokens, input and output.
    Tokens,
    /// Money.
    Cost,
    /// Time.
    Duration,
}

impl fmt::Display for BudgetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turns => "turns",
            Self::Steps => "model calls",
            Self::ToolCalls => "tool calls",
            Self::OutputTokens => "output tokens",
            Self::Tokens => "tokens",
            Self::Cost => "money",
            Self::Duration => "time",
        })
    }
}

//! Drivers: what runs a whole turn.

mod event;

use std::{fmt, sync::Arc, time::Duration};

use agentx_resource::Clock;
use futures::stream::BoxStream;

pub use self::event::{BudgetKind, Compaction, DriverEvent, Outcome, OutcomeKind, TurnEnd};
use crate::{AllowAll, Approvals, Message, ModelSettings, Permission, ResumedCall, ToolSet};

/// A turn as it happens: it ends after exactly one [`DriverEvent::End`].
pub type DriverStream = BoxStream<'static, DriverEvent>;

/// Runs whole turns: the model's calls, and the tools between them.
///
/// 1. The last event is [`DriverEvent::End`], and only the last. Errors come in it.
/// 2. **An event is told before its effect.** Work that an event announces (a tool, the next model call) begins no
///    earlier than the next poll of the stream. Whoever consumes the stream can therefore store each event before it
///    asks for the next, and nothing ever happened that is not stored.
/// 3. Dropping the stream interrupts the turn: the model call and running tools end.
pub trait Driver: fmt::Debug + Send + Sync + 'static {
    /// The driver's name, for people.
    fn name(&self) -> &str;

    /// Begins a turn.
    fn start(&self, turn: Turn) -> DriverStream;
}

impl<T: Driver + ?Sized> Driver for Arc<T> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn start(&self, turn: Turn) -> DriverStream {
        (**self).start(turn)
    }
}

/// What a driver needs for one turn.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Turn {
    /// The system prompt.
    pub system: Option<String>,
    /// The session so far. It is valid (each tool call has its result), and its last message is the user's. In a turn
    /// that resumes, the calls without a result are those in `resume`, and they belong to the last assistant message.
    pub history: Vec<Message>,
    /// Calls of the last assistant message that are to be dealt with first.
    pub resume: Vec<ResumedCall>,
    /// The tools that the model may call.
    pub tools: ToolSet,
    /// Who decides which calls may run.
    pub permission: Arc<dyn Permission>,
    /// Who answers what the permission leaves open; where there is nobody, such calls are denied.
    pub approvals: Option<Arc<dyn Approvals>>,
    /// The turn's bounds.
    pub budget: Budget,
    /// Settings of the model calls.
    pub settings: ModelSettings,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Turn {
    /// A turn that answers `history`, without tools.
    pub fn new(history: Vec<Message>, clock: Arc<dyn Clock>) -> Self {
        Self {
            system: None,
            history,
            resume: Vec::new(),
            tools: ToolSet::new(),
            permission: Arc::new(AllowAll),
            approvals: None,
            budget: Budget::default(),
            settings: ModelSettings::default(),
            clock,
        }
    }

    /// With these tools.
    pub fn with_tools(mut self, tools: ToolSet) -> Self {
        self.tools = tools;
        self
    }

    /// With this system prompt.
    pub fn with_system(mut self, system: impl Into<String>) -> Self {
        self.system = Some(system.into());
        self
    }

    /// With this judge of tool calls.
    pub fn with_permission(mut self, permission: Arc<dyn Permission>) -> Self {
        self.permission = permission;
        self
    }

    /// With somebody who answers approvals.
    pub fn with_approvals(mut self, approvals: Arc<dyn Approvals>) -> Self {
        self.approvals = Some(approvals);
        self
    }

    /// Deals with these calls first.
    pub fn with_resume(mut self, calls: Vec<ResumedCall>) -> Self {
        self.resume = calls;
        self
    }

    /// With these bounds.
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }
}

/// The bounds of a turn. A turn that reaches one ends with [`Outcome::Budget`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// The most model calls.
    pub steps: u32,
    /// The most tool calls.
    pub tool_calls: u32,
    /// The most output tokens.
    pub output_tokens: Option<u64>,
    /// The longest time.
    pub duration: Option<Duration>,
}

impl Budget {
    /// With at most so many model calls.
    pub fn with_steps(mut self, steps: u32) -> Self {
        self.steps = steps;
        self
    }

    /// With at most so many tool calls.
    pub fn with_tool_calls(mut self, tool_calls: u32) -> Self {
        self.tool_calls = tool_calls;
        self
    }

    /// With at most so many output tokens.
    pub fn with_output_tokens(mut self, tokens: u64) -> Self {
        self.output_tokens = Some(tokens);
        self
    }

    /// For at most this long.
    pub fn with_duration(mut self, duration: Duration) -> Self {
        self.duration = Some(duration);
        self
    }
}

/// 100 model calls, 1,000 tool calls; no bound on tokens and time.
impl Default for Budget {
    fn default() -> Self {
        Self { steps: 100, tool_calls: 1000, output_tokens: None, duration: None }
    }
}

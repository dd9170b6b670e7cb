//! Drivers: what runs a whole turn.

mod event;

use std::{fmt, sync::Arc};

use agentx_resource::Clock;
use futures::stream::BoxStream;
use serde_json::Value;

pub use self::event::{BudgetKind, Compaction, DriverEvent, Outcome, OutcomeKind, TurnEnd};
use crate::{
    AllowAll, Approvals, Budget, Hook, ImageRecord, Ledger, Message, MessageBody, ModelSettings, Permission,
    ResumedCall, SessionId, Thinking, ToolSet, compaction::History,
};

/// A turn as it happens: it ends after exactly one [`DriverEvent::End`].
pub type DriverStream = BoxStream<'static, DriverEvent>;

/// Runs whole turns: the model's calls, and the tools between them.
///
/// 1. The last event is [`DriverEvent::End`], and only the last. Errors come in it.
/// 2. **An event is told before its effect.** Work that an event announces begins no earlier than the next poll of the
///    stream. What does something to the world is announced by [`DriverEvent::ToolStart`] and
///    [`DriverEvent::ApprovalRequested`], or several of these [together](DriverEvent::Together): a runtime stores these, and all before them, before it polls again. Behind other
///    events it may poll once more, so that what is ready at once is stored at once; it tells nobody before it is stored.
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
    /// The agent's name, where it has one: for people, and for telemetry.
    pub agent_name: Option<String>,
    /// The session, where there is one.
    pub session: Option<SessionId>,
    /// The image whose turn it is, where there is one: a driver that serves several may look whose it is.
    pub image: Option<Arc<ImageRecord>>,
    /// What was [sent with](crate::Agent::send_with) the message.
    pub options: Option<Arc<Value>>,
    /// The system prompt.
    pub system: Option<String>,
    /// The session so far. It is valid (each tool call has its result), and its last message is the user's. In a turn
    /// that resumes, the calls without a result are those in `resume`, and they belong to the last assistant message.
    /// Results stand in the order in which they ended; [`Turn::shown_history`] puts them in that of their calls.
    pub history: Vec<Message>,
    /// Calls of the last assistant message that are to be dealt with first.
    pub resume: Vec<ResumedCall>,
    /// The tools that the model may call.
    pub tools: ToolSet,
    /// Who decides which calls may run.
    pub permission: Arc<dyn Permission>,
    /// Who answers what the permission leaves open; where there is nobody, such calls are denied.
    pub approvals: Option<Arc<dyn Approvals>>,
    /// Who is asked before and after the turn and its tool calls.
    pub hooks: Vec<Arc<dyn Hook>>,
    /// How many turns this one is part of: 0, or more in a sub-agent.
    pub depth: u32,
    /// The turn's bounds.
    pub budget: Budget,
    /// Where what the turn uses is counted too, and bounded too: its session's, or the turn's that it is part of.
    pub within: Option<Ledger>,
    /// Settings of the model calls.
    pub settings: ModelSettings,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Turn {
    /// A turn that answers `history`, without tools.
    pub fn new(history: Vec<Message>, clock: Arc<dyn Clock>) -> Self {
        Self {
            agent_name: None,
            session: None,
            image: None,
            options: None,
            system: None,
            history,
            resume: Vec::new(),
            tools: ToolSet::new(),
            permission: Arc::new(AllowAll),
            approvals: None,
            hooks: Vec::new(),
            depth: 0,
            budget: Budget::default(),
            within: None,
            settings: ModelSettings::default(),
            clock,
        }
    }

    /// The history as a model is shown it: without errors and marks, a summary in place of what it stands for, long
    /// outputs cut where a model saw them so.
    pub fn shown_history(&self) -> Vec<MessageBody> {
        let keep_thinking = matches!(self.settings.thinking, Some(Thinking::Budget(_)));
        let mut shown = History::new(keep_thinking);
        for message in &self.history {
            shown.push(message.clone());
        }
        shown.into_shown().0
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

    /// With one more hook, behind the others.
    pub fn with_hook(mut self, hook: Arc<dyn Hook>) -> Self {
        self.hooks.push(hook);
        self
    }

    /// With these bounds.
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// As a part of what this ledger bounds and counts.
    pub fn with_ledger(mut self, within: Ledger) -> Self {
        self.within = Some(within);
        self
    }
}

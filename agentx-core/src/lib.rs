//! The domain of AgentX, without I/O.
//!
//! A **container** is an isolation unit that a user names. It holds **images**, persistent definitions of a
//! conversation; each has one **session** (its messages) and, while it runs, one **agent**. An agent does **turns**:
//! a [`Driver`] takes the history and runs one whole turn, tools included, as a stream of [`DriverEvent`]s. A pure
//! state machine ([`TurnMachine`]) derives from them the events that users see, and the messages that are stored.
//!
//! ```text
//! user ─▶ Runtime ─▶ Driver (ToolLoop ─▶ Model, Tools) ─▶ TurnMachine ─▶ SessionRepository, then subscribers
//! ```
//!
//! Storage, models, tools, time and tasks are ports; this crate depends on no async runtime and no HTTP.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod budget;
mod compaction;
mod driver;
mod event;
mod hook;
mod host;
mod id;
mod message;
mod model;
mod record;
#[cfg(feature = "record")]
pub mod recorded;
mod repository;
mod runtime;
mod subagent;
#[cfg(feature = "tracing")]
pub mod telemetry;
mod tool;
mod tool_loop;
mod usage;

pub use agentx_resource::{Error, ErrorKind, Result, Retry};
pub use budget::{Budget, Ledger, MicroDollars, OverBudget, Spent};
pub use compaction::{CompactionOptions, CompactionRequest, CompactionStep, Compactor, SummaryCompactor};
pub use driver::{
    BudgetKind, Compaction, Driver, DriverEvent, DriverStream, Outcome, OutcomeKind, Turn, TurnEnd,
};
pub use event::{
    AgentState, Cursor, Event, EventCategory, EventContext, EventData, EventIntent, EventLayer, EventSource,
    Moment, TurnInput, TurnMachine,
};
pub use hook::{Hook, HookAction, HookPoint};
pub use host::{Host, IdSource, SequentialIds, Timestamp};
pub use id::{AgentId, ApprovalId, ContainerId, ImageId, MessageId, SessionId, TurnId};
pub use message::{
    AssistantMessage, AssistantPart, ContentPart, Message, MessageBody, StopDetails, StopReason, ToolCall,
    ToolOutput, ToolResult,
};
pub use model::{
    BlockChange, BlockKind, ContextOverflow, Effort, LongPrompt, MessageAssembler, Model, ModelCapabilities,
    ModelEvent, ModelInfo, ModelRequest, ModelSettings, ModelStream, ModelTable, Prices, Reply,
    ScriptedModel, Thinking, ThinkingDisplay, ToolChoice,
};
pub use record::{ContainerRecord, ImageRecord, ImageSpec, SessionRecord};
pub use repository::{
    Append, Appended, ApprovalPage, ApprovalRecord, ContainerRepository, Enqueued, EventPage, Fence,
    ImageRepository, InboxRepository, Lease, LeaseRepository, LeaseRequest, MemoryRepositories, MessagePage,
    NewEvent, PendingApproval, QueuedMessage, Repositories, Repository, Rewound, SessionRepository,
    SessionRepositoryExt, StoredEvent, StoredMessage,
};
pub use runtime::{Agent, Runtime, RuntimeBuilder, Subscription, TurnEvents, TurnReport, WorkspaceProvider};
pub use subagent::{AgentTool, NestedEvent, NestedStep};
pub use tool::{
    AllowAll, ApprovalRequest, Approvals, Decision, Permission, PermissionRequest, Resumed, ResumedCall,
    Tool, ToolContext, ToolDefinition, ToolFn, ToolSet, tool_fn,
};
pub use tool_loop::{CallStream, ToolLoop, TurnFrame};
pub use usage::Usage;

//! Sub-agents: a whole turn of another driver, as a tool.

mod tool;

pub use self::tool::AgentTool;
use crate::DriverEvent;

/// A step of a turn that runs within a tool call of another turn.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NestedEvent {
    /// The tool call that it runs within.
    pub call_id: String,
    /// The sub-agent: the tool's name.
    pub agent: String,
    /// What happens.
    pub step: NestedStep,
}

impl NestedEvent {
    /// A step of `agent` within a call.
    pub fn new(call_id: impl Into<String>, agent: impl Into<String>, step: NestedStep) -> Self {
        Self { call_id: call_id.into(), agent: agent.into(), step }
    }
}

/// What happens to a turn within a tool call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NestedStep {
    /// It begins.
    Start {
        /// What the sub-agent is asked.
        prompt: String,
    },
    /// Its driver tells something. The driver's end is the last.
    Driver(Box<DriverEvent>),
}

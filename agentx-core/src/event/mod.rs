//! Events: what users see of an agent.

mod data;
mod kind;
mod machine;
mod nested;

use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use self::{
    data::EventData,
    kind::{EventCategory, EventIntent, EventLayer, EventSource},
    machine::{AgentState, Moment, TurnInput, TurnMachine},
};
use crate::{AgentId, ContainerId, ImageId, SessionId, Timestamp, TurnId};

/// Something that happened to an agent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Event {
    /// The event's place among all events of its agent, from 1 on; a subscriber resumes behind the last that it saw. An
    /// agent that is run anew, with another id, counts anew.
    pub seq: u64,
    /// When it happened.
    pub timestamp: Timestamp,
    /// Whom it concerns.
    #[serde(serialize_with = "shared")]
    pub context: Arc<EventContext>,
    /// What happened.
    #[serde(flatten)]
    pub data: EventData,
}

impl Event {
    /// An event.
    pub fn new(seq: u64, timestamp: Timestamp, context: Arc<EventContext>, data: EventData) -> Self {
        Self { seq, timestamp, context, data }
    }
}

fn shared<S: Serializer>(context: &Arc<EventContext>, serializer: S) -> Result<S::Ok, S::Error> {
    context.as_ref().serialize(serializer)
}

/// Whom an event concerns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct EventContext {
    /// The container.
    pub container_id: ContainerId,
    /// The image.
    pub image_id: ImageId,
    /// The agent.
    pub agent_id: AgentId,
    /// The session.
    pub session_id: SessionId,
    /// The turn, where it belongs to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
}

impl EventContext {
    /// An agent, at no turn.
    pub fn new(
        container_id: ContainerId,
        image_id: ImageId,
        agent_id: AgentId,
        session_id: SessionId,
    ) -> Self {
        Self { container_id, image_id, agent_id, session_id, turn_id: None }
    }

    /// At this turn.
    pub fn with_turn(mut self, turn_id: TurnId) -> Self {
        self.turn_id = Some(turn_id);
        self
    }
}

//! Events: what users see of an agent.

mod data;
mod kind;
mod machine;
mod nested;
mod open_message;

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

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
    /// The number of the event in its session, 1, 2, 3, …, where it is stored ([`EventData::is_stored`]); that of the last
    /// stored one before it where it is not.
    pub seq: u64,
    /// How many events that are not stored came since that one, with this; 0 for one that is stored.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delta: u64,
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
    /// An event at this place.
    pub fn new(
        cursor: impl Into<Cursor>,
        timestamp: Timestamp,
        context: Arc<EventContext>,
        data: EventData,
    ) -> Self {
        let Cursor { seq, delta } = cursor.into();
        Self { seq, delta, timestamp, context, data }
    }

    /// The event's place: a subscriber resumes behind the last that it saw.
    pub fn cursor(&self) -> Cursor {
        Cursor { seq: self.seq, delta: self.delta }
    }
}

/// A place among the events of a session.
///
/// `seq` lasts as long as the session. `delta` counts what is told once, and holds while the agent runs: whoever resumes
/// later goes on with what is stored behind `seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cursor {
    /// The number of a stored event; 0 for the beginning.
    pub seq: u64,
    /// How many events that are not stored lie between that one and this place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delta: u64,
}

/// Right behind a stored event.
impl From<u64> for Cursor {
    fn from(seq: u64) -> Self {
        Self { seq, delta: 0 }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
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

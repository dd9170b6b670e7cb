//! The ports of an agent on a [`Cassette`](agentx_resource::cassette::Cassette): recorded once, replayed for ever.
//!
//! A run is replayed to the byte, ids and times included, where all that comes from outside is on the cassette: the model
//! ([`RecordedModel`]), the time and the ids ([`host`]), and the resources that the tools use
//! ([`Recorded`](agentx_resource::layer::Recorded)) or the tools themselves ([`RecordedTool`]). What a user says is not
//! recorded: the program says it again, and a model's question proves that it was the same. Hooks and compactors run again.

mod host;
mod model;
mod permission;
mod tool;

use agentx_resource::cassette::Recordable;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::{
    host::{RecordedClock, RecordedIds, host},
    model::RecordedModel,
    permission::RecordedPermission,
    tool::RecordedTool,
};
use crate::{Decision, Error, ErrorKind, ModelEvent, Result, ToolDefinition, ToolOutput};

/// Answers that have a JSON form already.
macro_rules! recordable {
    ($($name:ty),*) => {$(
        impl Recordable for $name {
            fn to_record(&self) -> Value {
                to_value(self)
            }

            fn from_record(record: Value) -> Result<Self> {
                from_value(record)
            }
        }
    )*};
}

recordable!(Decision, ModelEvent, ToolDefinition, ToolOutput);

/// None of these types can fail to be JSON: each has text for its keys, and no number that JSON lacks.
fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn from_value<T: DeserializeOwned>(record: Value) -> Result<T> {
    serde_json::from_value(record)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "replay").with_message(error.to_string()))
}

fn not_live() -> Error {
    Error::new(ErrorKind::Internal, "replay").with_message("nothing goes through in a replay")
}

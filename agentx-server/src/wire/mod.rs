//! What goes over the socket: frames in, frames out, in all generations of the protocol.
//!
//! The first generation writes events and asks by events; the later ones are JSON-RPC 2.0. A frame tells which it is:
//! JSON-RPC has a `jsonrpc` key. Where the generations name a thing differently (`agentId`, `instanceId`), what is sent
//! has both names.

mod event;
mod frame;
mod frames_of;
mod message;
mod reply;

use agentx_core::ImageRecord;
use serde_json::{Value, json};

use self::event::notification;
pub(crate) use self::{
    event::{cursor, event, parse_cursor},
    frame::{Control, Frame, Request, check_values, frames},
    frames_of::FramesOf,
    message::message,
    reply::{Asked, Wire, acknowledged, failure, reply},
};
use crate::{
    Owner,
    llm::{CHOICE, PROVIDER_OPTIONS, THINKING},
    service::{CUSTOM_DATA, IDENTITY, Object, ROLE_ID},
};

/// The name that an agent has since the third generation.
const INSTANCE: &str = "instanceId";

/// An image as its owner sees it.
pub(crate) fn image(owner: &Owner, image: &ImageRecord) -> Object {
    let Ok(Value::Object(mut record)) = serde_json::to_value(image) else { return Object::new() };
    record.insert("containerId".to_owned(), json!(owner.name_of(&image.container_id)));
    // The application's own.
    record.remove("key");
    let Some(Value::Object(mut metadata)) = record.remove("metadata") else { return record };
    // The server's own.
    metadata.remove(IDENTITY);
    for key in [CUSTOM_DATA, THINKING, PROVIDER_OPTIONS, ROLE_ID] {
        if let Some(said) = metadata.remove(key) {
            record.insert(key.to_owned(), said);
        }
    }
    if let Some(Value::Object(mut choice)) = metadata.remove(CHOICE) {
        // Which definition that is is found again by its owner alone.
        record.insert("model".to_owned(), choice.remove("model").unwrap_or_default());
    }
    record.insert("metadata".to_owned(), Value::Object(metadata));
    record
}

/// Gives agents their newer name as well, in a result and one level below.
fn with_instance_ids(result: &mut Object) {
    let name = |object: &mut Object| {
        if let Some(id) = object.get("agentId").cloned() {
            object.insert(INSTANCE.to_owned(), id);
        }
    };
    name(result);
    for value in result.values_mut() {
        match value {
            Value::Object(object) => name(object),
            Value::Array(list) => list.iter_mut().filter_map(Value::as_object_mut).for_each(name),
            _ => {}
        }
    }
}

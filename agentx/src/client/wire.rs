//! Events and messages as they come over the wire.

use std::sync::Arc;

use agentx_core::{
    AgentId, Cursor, Event, EventContext, EventData, ImageId, Message, SessionId, Timestamp, TurnId,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::ContainerId;

/// One frame of a server: an answer or an event. What has neither is nothing for us.
#[derive(Deserialize)]
pub(super) struct Frame {
    #[serde(default)]
    pub(super) id: Option<u64>,
    #[serde(default)]
    pub(super) result: Option<Value>,
    #[serde(default)]
    pub(super) error: Option<Value>,
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    pub(super) params: Option<Params>,
}

#[derive(Deserialize)]
pub(super) struct Params {
    #[serde(default)]
    pub(super) event: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "they are the protocol's")]
struct Context {
    container_id: ContainerId,
    image_id: ImageId,
    agent_id: AgentId,
    session_id: SessionId,
    #[serde(default)]
    turn_id: Option<TurnId>,
}

/// An event; none where it lacks what every event has.
pub(super) fn event(mut event: Map<String, Value>) -> Option<Event> {
    let cursor = parse_cursor(event.get("cursor")?.as_str()?)?;
    let timestamp = Timestamp::from_millis(event.get("timestamp")?.as_u64()?);
    let Context { container_id, image_id, agent_id, session_id, turn_id } =
        serde_json::from_value(event.remove("context")?).ok()?;
    let mut context = EventContext::new(container_id, image_id, agent_id, session_id);
    context.turn_id = turn_id;
    let (name, body) = (event.remove("type")?, event.remove("data").unwrap_or_default());
    let data = data(name.as_str()?, body)?;
    Some(Event::new(cursor, timestamp, Arc::new(context), data))
}

fn data(name: &str, body: Value) -> Option<EventData> {
    let (name, body) = match name {
        // By its name among drivers.
        "error" => ("error_received", body),
        "user_message" | "assistant_message" | "tool_result_message" | "error_message" => {
            (name, as_stored(body))
        }
        _ => (name, body),
    };
    serde_json::from_value(json!({"type": name, "data": body})).ok()
}

/// A message of a session; none for what is none.
pub(super) fn message(shown: Value) -> Option<Message> {
    serde_json::from_value(as_stored(shown)).ok()
}

/// A message in the form in which it is stored: the protocol writes plain text as a string, and a tool's result as a part.
fn as_stored(mut message: Value) -> Value {
    let Value::Object(fields) = &mut message else { return message };
    if fields.get("role").and_then(Value::as_str) == Some("user")
        && let Some(content) = fields.get_mut("content")
        && content.is_string()
    {
        *content = json!([{"type": "text", "text": content.take()}]);
    }
    if let Some(Value::Object(mut result)) = fields.remove("toolResult") {
        fields.insert("toolName".to_owned(), result.remove("name").unwrap_or_default());
        fields.insert("output".to_owned(), result.remove("output").unwrap_or_default());
    }
    message
}

/// A place among the events of a session: `12`, or `12.3` between two stored events.
pub(super) fn parse_cursor(text: &str) -> Option<Cursor> {
    let (seq, delta) = text.split_once('.').unwrap_or((text, "0"));
    let mut cursor = Cursor::from(seq.parse::<u64>().ok()?);
    cursor.delta = delta.parse().ok()?;
    Some(cursor)
}

/// The same, as text.
pub(super) fn cursor(cursor: Cursor) -> String {
    match cursor.delta {
        0 => cursor.seq.to_string(),
        delta => format!("{}.{delta}", cursor.seq),
    }
}

#[cfg(test)]
mod tests {
    use agentx_core::MessageBody;

    use super::*;

    fn told(name: &str, data: &Value) -> Option<Event> {
        let event = json!({
            "type": name, "data": data, "timestamp": 7, "cursor": "3.4", "source": "agent",
            "context": {"containerId": "c", "imageId": "i", "agentId": "a", "instanceId": "a",
                "sessionId": "s", "turnId": null},
        });
        let Value::Object(event) = event else { unreachable!() };
        super::event(event)
    }

    #[test]
    fn events_come_back_as_they_were_told() {
        let event = told("text_delta", &json!({"text": "a"})).unwrap();
        assert_eq!((event.seq, event.delta, event.timestamp.as_millis()), (3, 4, 7));
        assert_eq!(event.data, EventData::TextDelta { text: "a".to_owned() });
        let failed = told("error", &json!({"message": "m", "errorCode": "busy"})).unwrap().data;
        assert!(matches!(failed, EventData::ErrorReceived { .. }), "{failed:?}");
    }

    #[test]
    fn messages_of_the_protocol_become_those_of_the_store() {
        let user = json!({"id": "m", "role": "user", "subtype": "user", "content": "hi", "timestamp": 5});
        let data = told("user_message", &user).unwrap().data;
        assert_eq!(data.message().unwrap().body, MessageBody::user("hi"));
        let result = json!({"type": "tool-result", "id": "c", "name": "add", "output": {"type": "text", "value": "3"}});
        let tool = json!({"id": "m", "role": "tool", "subtype": "tool-result", "timestamp": 5,
            "toolCallId": "c", "toolResult": result});
        let MessageBody::Tool(result) = message(tool).unwrap().body else { panic!() };
        assert_eq!((result.tool_name.as_str(), result.output.to_text().as_str()), ("add", "3"));
    }

    #[test]
    fn what_is_not_known_is_kept_and_what_is_no_event_is_none() {
        assert_eq!(told("hologram", &json!({"beam": 1})).unwrap().data.name(), "hologram");
        assert!(event(Map::new()).is_none());
        for cursor in ["", ".", "-1", "1.", "1.2.3", "x"] {
            assert_eq!(parse_cursor(cursor), None, "{cursor}");
        }
        assert_eq!(parse_cursor("12.3").map(cursor).as_deref(), Some("12.3"));
    }
}

use agentx_core::{
    AgentId, Cursor, Event, EventCategory, EventData, EventIntent, EventSource, ImageId, Message,
    MessageBody, SessionId, Timestamp, TurnId,
};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{INSTANCE, Wire, message};
use crate::Owner;

/// Room for most events, in bytes: a piece of text in its frame.
const USUAL: usize = 640;

/// An event as its owner sees it. It is written in one go: this is done for each piece of a text.
#[derive(Serialize)]
struct Told<'event> {
    #[serde(flatten)]
    body: Body<'event>,
    timestamp: Timestamp,
    source: EventSource,
    category: EventCategory,
    intent: EventIntent,
    context: Context<'event>,
    #[serde(serialize_with = "place")]
    cursor: Cursor,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'event> {
    Own(&'event EventData),
    As {
        #[serde(rename = "type")]
        name: &'event str,
        data: Value,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "they are the protocol's")]
struct Context<'event> {
    container_id: Option<&'event str>,
    image_id: &'event ImageId,
    agent_id: &'event AgentId,
    /// The name that an agent has since the third generation.
    instance_id: &'event AgentId,
    session_id: &'event SessionId,
    turn_id: Option<&'event TurnId>,
}

/// An event on its way to a client that speaks JSON-RPC.
#[derive(Serialize)]
struct Notification<'event> {
    jsonrpc: &'static str,
    method: &'static str,
    params: Params<'event>,
}

#[derive(Serialize)]
struct Params<'event> {
    topic: &'event SessionId,
    event: Told<'event>,
}

/// An event as its owner sees it: JSON text of one object.
pub(crate) fn event(owner: &Owner, event: &Event, wire: Wire) -> String {
    written(event, |body| told(owner, event, body), Body::of(event, wire))
}

/// The frame in which an event goes to clients that speak JSON-RPC.
pub(crate) fn notification(owner: &Owner, event: &Event) -> String {
    let topic = &event.context.session_id;
    let notification = |body| Notification {
        jsonrpc: "2.0",
        method: "stream.event",
        params: Params { topic, event: told(owner, event, body) },
    };
    written(event, notification, Body::of(event, Wire::Rpc))
}

/// JSON text. What can't be written, such as an event of a later version that is no object, is told as what it is, and the
/// stream goes on.
fn written<'event, T: Serialize>(
    event: &'event Event,
    told: impl Fn(Body<'event>) -> T,
    body: Body<'event>,
) -> String {
    let mut text = Vec::with_capacity(USUAL);
    if let Err(error) = serde_json::to_writer(&mut text, &told(body)) {
        let problem = format!("{}: {error}", event.data.name());
        let body = Body::As { name: "system_error", data: json!({"message": problem}) };
        return json!(told(body)).to_string();
    }
    // JSON is UTF-8.
    String::from_utf8(text).unwrap_or_default()
}

impl<'event> Body<'event> {
    fn of(event: &'event Event, wire: Wire) -> Self {
        match (event.data.message(), &event.data, wire) {
            (Some(Message { body: MessageBody::Rewind { before, kept, removed }, .. }), ..) => {
                let mut data = json!({INSTANCE: event.context.agent_id, "before": before});
                if let (Value::Object(data), 1..) = (&mut data, *removed) {
                    data.insert("messageId".to_owned(), json!(kept));
                    data.insert("truncatedCount".to_owned(), json!(removed));
                }
                Self::As { name: "rewind", data }
            }
            // What was sent with the message is for its driver, and in the server's own words.
            (_, EventData::TurnRequest { options: Some(_), .. }, _) => {
                let mut told = json!(event.data);
                let mut data = told.get_mut("data").map(Value::take).unwrap_or_default();
                if let Value::Object(data) = &mut data {
                    data.remove("options");
                }
                Self::As { name: event.data.name(), data }
            }
            (Some(stored), ..) => {
                Self::As { name: event.data.name(), data: message(stored).unwrap_or_else(|| json!(stored)) }
            }
            // The clients of the later generations know it by its driver's name.
            (_, EventData::ErrorReceived { message, error_code }, Wire::Rpc) => {
                Self::As { name: "error", data: json!({"message": message, "errorCode": error_code}) }
            }
            (_, data, _) => Self::Own(data),
        }
    }
}

fn told<'event>(owner: &Owner, event: &'event Event, body: Body<'event>) -> Told<'event> {
    let context = &event.context;
    Told {
        body,
        timestamp: event.timestamp,
        source: event.data.source(),
        category: event.data.category(),
        intent: event.data.intent(),
        context: Context {
            container_id: owner.name_of(&context.container_id),
            image_id: &context.image_id,
            agent_id: &context.agent_id,
            instance_id: &context.agent_id,
            session_id: &context.session_id,
            turn_id: context.turn_id.as_ref(),
        },
        cursor: event.cursor(),
    }
}

fn place<S: Serializer>(cursor: &Cursor, to: S) -> Result<S::Ok, S::Error> {
    match cursor.delta {
        0 => to.collect_str(&cursor.seq),
        delta => to.collect_str(&format_args!("{}.{delta}", cursor.seq)),
    }
}

/// A place among the events of a session, as clients name it: `12`, or `12.3` between two stored events.
pub(crate) fn cursor(cursor: Cursor) -> String {
    match cursor.delta {
        0 => cursor.seq.to_string(),
        delta => format!("{}.{delta}", cursor.seq),
    }
}

/// The place that a client names.
pub(crate) fn parse_cursor(text: &str) -> Option<Cursor> {
    let (seq, delta) = text.split_once('.').unwrap_or((text, "0"));
    let mut cursor = Cursor::from(seq.parse::<u64>().ok()?);
    cursor.delta = delta.parse().ok()?;
    Some(cursor)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentx_core::{EventContext, MessageId};

    use super::*;

    fn told(data: EventData) -> Value {
        let owner = Owner::new("ann").unwrap();
        let context = EventContext::new(
            owner.container("work").unwrap(),
            ImageId::new("img_1").unwrap(),
            AgentId::new("agent_1").unwrap(),
            SessionId::new("sess_1").unwrap(),
        );
        let place = parse_cursor("3.4").unwrap();
        let told = Event::new(place, Timestamp::from_millis(7), Arc::new(context), data);
        let event: Value = serde_json::from_str(&event(&owner, &told, Wire::Rpc)).unwrap();
        let notification: Value = serde_json::from_str(&notification(&owner, &told)).unwrap();
        let params = json!({"topic": "sess_1", "event": event});
        assert_eq!(notification, json!({"jsonrpc": "2.0", "method": "stream.event", "params": params}));
        event
    }

    #[test]
    fn what_is_of_a_later_version_is_carried_and_what_is_no_event_is_told_as_such() {
        let later = json!({"type": "hologram", "data": {"beam": [1, 2]}});
        let carried = told(EventData::Other(later));
        assert_eq!((&carried["type"], &carried["data"]), (&json!("hologram"), &json!({"beam": [1, 2]})));
        let told = told(EventData::Other(json!("no object")));
        assert_eq!((&told["type"], &told["cursor"]), (&json!("system_error"), &json!("3.4")));
    }

    #[test]
    fn an_event_has_the_protocols_envelope_and_both_names_of_its_agent() {
        let expected = json!({
            "type": "text_delta", "data": {"text": "a \"}\""}, "timestamp": 7,
            "source": "agent", "category": "stream", "intent": "notification", "cursor": "3.4",
            "context": {
                "containerId": "work", "imageId": "img_1", "agentId": "agent_1", "instanceId": "agent_1",
                "sessionId": "sess_1", "turnId": null,
            },
        });
        assert_eq!(told(EventData::TextDelta { text: "a \"}\"".to_owned() }), expected);
    }

    #[test]
    fn a_message_is_told_as_lists_have_it() {
        let body = MessageBody::user("hi");
        let stored = Message::new(MessageId::new("msg_1").unwrap(), Timestamp::from_millis(5), body);
        let told = told(EventData::UserMessage(stored));
        assert_eq!((&told["type"], &told["data"]["content"]), (&json!("user_message"), &json!("hi")));
    }

    #[test]
    fn cursors_come_back_as_they_went() {
        for text in ["0", "12", "12.3", "18446744073709551615.1"] {
            assert_eq!(parse_cursor(text).map(cursor).as_deref(), Some(text));
        }
        for text in ["", ".", "-1", "1.", "1.2.3", "x", "18446744073709551616"] {
            assert_eq!(parse_cursor(text), None, "{text}");
        }
    }
}

use agentx_core::{
    AgentId, Cursor, Event, EventCategory, EventData, EventIntent, EventSource, ImageId, Message,
    MessageBody, SessionId, Timestamp, TurnId,
};
use serde::Serialize;
use serde_json::json;

use super::{INSTANCE, Wire, message};
use crate::Owner;

/// What every event has beside its own. Written as it stands: this is done for each piece of a text.
#[derive(Serialize)]
struct Envelope<'event> {
    timestamp: Timestamp,
    source: EventSource,
    category: EventCategory,
    intent: EventIntent,
    context: Context<'event>,
    cursor: String,
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

/// An event as its owner sees it: JSON text of one object.
pub(crate) fn event(owner: &Owner, event: &Event, wire: Wire) -> String {
    let data = match (event.data.message(), &event.data, wire) {
        (Some(Message { body: MessageBody::Rewind { before }, .. }), ..) => {
            let data = json!({INSTANCE: event.context.agent_id, "before": before});
            json!({"type": "rewind", "data": data}).to_string()
        }
        (Some(stored), ..) => {
            let data = message(stored).unwrap_or_else(|| json!(stored));
            json!({"type": event.data.name(), "data": data}).to_string()
        }
        // The clients of the later generations know it by its driver's name.
        (_, EventData::ErrorReceived { message, error_code }, Wire::Rpc) => {
            json!({"type": "error", "data": {"message": message, "errorCode": error_code}}).to_string()
        }
        // What can't be written would be a fault of ours; it is told as what it is, and the stream goes on.
        _ => serde_json::to_string(&event.data).unwrap_or_else(|error| {
            json!({"type": "system_error", "data": {"message": error.to_string()}}).to_string()
        }),
    };
    let context = &event.context;
    let envelope = Envelope {
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
        cursor: cursor(event.cursor()),
    };
    joined(data, &envelope)
}

/// One object of the members of two.
fn joined(data: String, envelope: &Envelope<'_>) -> String {
    // Names and numbers alone: they can be written.
    let envelope = serde_json::to_string(envelope).unwrap_or_default();
    match (data.strip_suffix('}'), envelope.strip_prefix('{')) {
        (Some(data), Some(rest)) => format!("{data},{rest}"),
        _ => data,
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
    use serde_json::Value;

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
        serde_json::from_str(&event(&owner, &told, Wire::Rpc)).unwrap()
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

//! How events become rows, and back. What a message says already is not stored a second time with its event.

use agentx_core::{
    EventData, Message, MessageBody, MessageId, NewEvent, Result, SessionId, StoredEvent, TurnId,
};
use serde_json::json;

use super::{Guard, column, message};
use crate::{Row, Statement, rows::corrupt};

/// The next number of the session, whoever gave the one before.
macro_rules! insert {
    ($from:literal) => {
        concat!(
            "INSERT INTO events (session_id, seq, type, turn_id, message_id, data, created_at) \
            SELECT ?1, coalesce((SELECT max(seq) FROM events WHERE session_id = ?1), 0) + 1, ?2, ?3, ?4, ?5, ?6 ",
            $from
        )
    };
}

const INSERT: &str = insert!("FROM sessions WHERE session_id = ?1");
const INSERT_HELD: &str =
    insert!("FROM leases WHERE session_id = ?1 AND token = ?7 AND holder = ?8 AND held = 1");

macro_rules! list {
    ($order:literal) => {
        concat!(
            "SELECT e.seq AS seq, e.type AS type, e.turn_id AS turn_id, e.data AS data, \
            e.created_at AS told_at, m.message_id AS message_id, m.role AS role, m.content AS content, \
            m.created_at AS created_at \
            FROM events e LEFT JOIN messages m ON m.session_id = e.session_id AND m.message_id = e.message_id \
            WHERE e.session_id = ?1 AND e.seq > ?2 ORDER BY e.seq ",
            $order,
            " LIMIT ?3"
        )
    };
}

pub(super) const LIST: &str = list!("ASC");
/// The last ones, the very last first.
pub(super) const LAST: &str = list!("DESC");

/// Adds an event, with `messages` stored before it in the same batch.
pub(super) fn insert(
    operation: &'static str,
    session: &SessionId,
    event: &NewEvent,
    messages: &[&Message],
    guard: Option<&Guard<'_>>,
) -> Result<Statement> {
    let name = event.data.name();
    let told_by = messages.iter().find(|message| is_told_by(event, name, message));
    let data = match told_by {
        Some(_) => None,
        None => Some(column::from_json(operation, &event.data)?),
    };
    let statement = Statement::new(if guard.is_some() { INSERT_HELD } else { INSERT })
        .bind(session.as_str())
        .bind(name)
        .bind(event.turn_id.as_ref().map(TurnId::as_str))
        .bind(told_by.map(|message| message.id.as_str()))
        .bind(data)
        .bind(column::from_moment(operation, event.timestamp)?);
    Ok(match guard {
        Some(guard) => guard.bind(statement),
        None => statement,
    })
}

fn is_told_by(event: &NewEvent, name: &str, message: &Message) -> bool {
    match event.data.message() {
        Some(own) => own.id == message.id,
        None => {
            matches!(name, "tool_completed" | "tool_failed" | "turn_request")
                && rebuilt(name, event.turn_id.as_ref(), message).as_ref() == Some(&event.data)
        }
    }
}

/// The event of this name that is told by a message.
fn rebuilt(name: &str, turn_id: Option<&TurnId>, message: &Message) -> Option<EventData> {
    match (name, &message.body) {
        ("tool_completed", MessageBody::Tool(result)) => Some(EventData::ToolCompleted {
            tool_id: result.tool_call_id.clone(),
            tool_name: result.tool_name.clone(),
            result: result.output.clone(),
        }),
        ("tool_failed", MessageBody::Tool(result)) => Some(EventData::ToolFailed {
            tool_id: result.tool_call_id.clone(),
            tool_name: result.tool_name.clone(),
            error: result.output.to_text(),
        }),
        ("turn_request", MessageBody::User { content }) => Some(EventData::TurnRequest {
            turn_id: turn_id?.clone(),
            message_id: message.id.clone(),
            content: content.clone(),
            timestamp: message.timestamp,
            options: None,
        }),
        _ => EventData::of_message(message.clone()).filter(|data| data.name() == name),
    }
}

pub(super) fn stored(row: Row<'_>) -> Result<StoredEvent> {
    let seq = column::natural(row, "seq")?;
    let place = |error: agentx_core::Error| error.with_path(format!("event {seq}"));
    let name = row.text("type")?;
    let turn_id = row.optional_text("turn_id")?.map(str::parse).transpose();
    let turn_id: Option<TurnId> = turn_id.map_err(place)?;
    let data = match column::optional_json(row, "data").map_err(place)? {
        Some(data) => data,
        None if row.optional_text("message_id")?.is_none() => {
            return Err(place(corrupt("message_id", "neither data nor a message")));
        }
        None => {
            let message = message::record(row).map_err(place)?;
            rebuilt(name, turn_id.as_ref(), &message)
                .unwrap_or_else(|| EventData::Other(json!({"type": name, "data": message})))
        }
    };
    Ok(StoredEvent::new(seq, NewEvent::new(column::moment(row, "told_at")?, turn_id, data)))
}

/// Which event tells that a message is queued.
pub(super) fn queued(message: &MessageId) -> EventData {
    EventData::ConversationQueued { message_id: message.clone() }
}

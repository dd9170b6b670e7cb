//! How messages become rows, and back.

use agentx_core::{Error, Message, MessageBody, MessageId, Result, SessionId, StoredMessage};

use super::{Guard, column};
use crate::{Row, Statement, rows::corrupt};

/// Adds nothing where the session is missing.
const INSERT: &str = "INSERT INTO messages (session_id, message_id, role, content, created_at) \
    SELECT ?1, ?2, ?3, ?4, ?5 FROM sessions WHERE session_id = ?1";

/// Adds nothing where the lease is not current.
const INSERT_HELD: &str = "INSERT INTO messages (session_id, message_id, role, content, created_at) \
    SELECT ?1, ?2, ?3, ?4, ?5 FROM leases WHERE session_id = ?1 AND token = ?6 AND holder = ?7 AND held = 1";

pub(super) const LIST: &str = "SELECT id, message_id, role, content, created_at FROM messages \
    WHERE session_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

pub(super) const FIND: &str = "SELECT id, message_id, role, content, created_at FROM messages \
    WHERE session_id = ?1 AND message_id = ?2";

pub(super) const MARK: &str = "SELECT id, message_id, role, content, created_at FROM messages \
    INDEXED BY idx_messages_mark \
    WHERE session_id = ?1 AND id < ?2 AND role IN ('summary', 'rewind') ORDER BY id DESC LIMIT 1";

pub(super) fn insert(
    operation: &'static str,
    session: &SessionId,
    message: &Message,
    guard: Option<&Guard<'_>>,
) -> Result<Statement> {
    let statement = Statement::new(if guard.is_some() { INSERT_HELD } else { INSERT })
        .bind(session.as_str())
        .bind(message.id.as_str())
        .bind(message.body.role())
        .bind(column::from_json(operation, &message.body)?)
        .bind(column::from_moment(operation, message.timestamp)?);
    Ok(match guard {
        Some(guard) => guard.bind(statement),
        None => statement,
    })
}

pub(super) fn stored(row: Row<'_>) -> Result<StoredMessage> {
    let message = record(row)?;
    Ok(StoredMessage::new(column::natural(row, "id")?, message))
}

pub(super) fn record(row: Row<'_>) -> Result<Message> {
    let id: MessageId = column::id(row, "message_id")?;
    let body: MessageBody = column::json(row, "content")
        .map_err(|error: Error| error.with_path(format!("content of message {id}")))?;
    if row.text("role")? != body.role() {
        let problem = format!("the content is of the role {}", body.role());
        return Err(corrupt("role", problem).with_path(format!("role of message {id}")));
    }
    Ok(Message::new(id, column::moment(row, "created_at")?, body))
}

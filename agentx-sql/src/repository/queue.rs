//! Messages that wait for their turn.

use std::sync::Arc;

use agentx_core::{
    Enqueued, Error, ErrorKind, MessageId, NewEvent, QueuedMessage, Result, SessionId, Timestamp,
};

use super::{Guard, column, event, session::missing};
use crate::{Row, Rows, Statement};

/// Adds nothing to a full queue, and none where the session is missing.
const ADD: &str = "INSERT INTO queue (session_id, message_id, content, created_at, options) \
    SELECT ?1, ?2, ?3, ?4, ?6 FROM sessions WHERE session_id = ?1 \
    AND (SELECT count(*) FROM queue WHERE session_id = ?1) < ?5 RETURNING id";

/// Tells of the message that was added, if one was.
const TELL: &str = "INSERT INTO events (session_id, seq, type, data, created_at) \
    SELECT ?1, coalesce((SELECT max(seq) FROM events WHERE session_id = ?1), 0) + 1, ?2, ?3, ?4 \
    FROM queue WHERE session_id = ?1 AND message_id = ?5 RETURNING seq";

const COUNT: &str = "SELECT (SELECT count(*) FROM queue WHERE session_id = ?1) AS waiting \
    FROM sessions WHERE session_id = ?1";

pub(super) const LIST: &str = "SELECT message_id, content, created_at, options FROM queue \
    WHERE session_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

const TAKE: &str = "DELETE FROM queue WHERE session_id = ?1 AND message_id = ?2";
const TAKE_HELD: &str = "DELETE FROM queue WHERE session_id = ?1 AND message_id = ?2 AND EXISTS \
    (SELECT 1 FROM leases WHERE session_id = ?1 AND token = ?3 AND holder = ?4 AND held = 1)";

pub(super) fn add(
    operation: &'static str,
    session: &SessionId,
    message: &QueuedMessage,
    limit: usize,
) -> Result<Vec<Statement>> {
    let moment = column::from_moment(operation, message.timestamp)?;
    let event = NewEvent::new(message.timestamp, None, event::queued(&message.id));
    let options =
        message.options.as_deref().map(|options| column::from_json(operation, options)).transpose()?;
    Ok(vec![
        Statement::new(ADD)
            .bind(session.as_str())
            .bind(message.id.as_str())
            .bind(column::from_json(operation, &message.content)?)
            .bind(moment.clone())
            .bind(column::clamped(limit as u64))
            .bind(options),
        Statement::new(TELL)
            .bind(session.as_str())
            .bind(event.data.name())
            .bind(column::from_json(operation, &event.data)?)
            .bind(moment)
            .bind(message.id.as_str()),
        Statement::new(COUNT).bind(session.as_str()),
    ])
}

pub(super) fn added(
    operation: &'static str,
    session: &SessionId,
    results: &[Rows],
    limit: usize,
) -> Result<Enqueued> {
    let row = |index: usize| results.get(index).and_then(Rows::first);
    let waiting = column::natural(row(2).ok_or_else(|| missing(operation, session))?, "waiting")?;
    let waiting = usize::try_from(waiting).unwrap_or(usize::MAX);
    let (Some(_), Some(event)) = (row(0), row(1)) else {
        return Err(Error::new(ErrorKind::LimitExceeded, operation)
            .with_path(session)
            .with_message(format!("{waiting} messages wait, and no more than {limit} may")));
    };
    Ok(Enqueued::new(waiting.saturating_sub(1), column::natural(event, "seq")?))
}

pub(super) fn take(session: &SessionId, message: &MessageId, guard: Option<&Guard<'_>>) -> Statement {
    let statement = Statement::new(if guard.is_some() { TAKE_HELD } else { TAKE })
        .bind(session.as_str())
        .bind(message.as_str());
    match guard {
        Some(guard) => guard.bind(statement),
        None => statement,
    }
}

pub(super) fn stored(row: Row<'_>) -> Result<QueuedMessage> {
    let timestamp: Timestamp = column::moment(row, "created_at")?;
    let options = column::optional_json(row, "options")?;
    let message =
        QueuedMessage::new(column::id(row, "message_id")?, column::json(row, "content")?, timestamp);
    Ok(message.with_options(options.map(Arc::new)))
}

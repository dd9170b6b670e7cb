use agentx_core::{
    Error, ErrorKind, Message, MessageBody, MessageId, MessagePage, Result, SessionId, SessionRecord,
    SessionRepository, StoredMessage,
};
use async_trait::async_trait;

use super::{SqlRepositories, column, told};
use crate::{Row, Rows, Statement, rows::corrupt};

const FIND: &str =
    "SELECT session_id, image_id, container_id, created_at, updated_at FROM sessions WHERE session_id = ?1";

/// Adds nothing and gives no row where the session is missing.
const APPEND: &str = "INSERT INTO messages (session_id, message_id, role, content, created_at) \
    SELECT ?1, ?2, ?3, ?4, ?5 FROM sessions WHERE session_id = ?1 RETURNING id";

/// The place of the last message, 0 before the first; no row where the session is missing.
const LAST: &str = "SELECT coalesce((SELECT max(id) FROM messages WHERE session_id = ?1), 0) AS id \
    FROM sessions WHERE session_id = ?1";

const LIST: &str = "SELECT id, message_id, role, content, created_at FROM messages \
    WHERE session_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3";

#[async_trait]
impl SessionRepository for SqlRepositories {
    async fn find_session(&self, id: &SessionId) -> Result<Option<SessionRecord>> {
        let statement = Statement::new(FIND).bind(id.as_str());
        self.run("find session", id.as_str(), vec![statement]).await?.first().map(record).transpose()
    }

    async fn append_messages(&self, session: &SessionId, messages: &[Message]) -> Result<u64> {
        let operation = "append messages";
        let batch = match messages {
            [] => vec![Statement::new(LAST).bind(session.as_str())],
            _ => messages.iter().map(|message| append(operation, session, message)).collect::<Result<_>>()?,
        };
        let subject = match messages {
            [message] => message.id.as_str(),
            _ => session.as_str(),
        };
        match self.run(operation, subject, batch).await?.first() {
            Some(row) => column::natural(row, "id"),
            None => Err(missing(operation, session)),
        }
    }

    async fn list_messages(&self, session: &SessionId, page: MessagePage) -> Result<Vec<StoredMessage>> {
        let operation = "list messages";
        let batch = vec![
            Statement::new(LAST).bind(session.as_str()),
            Statement::new(LIST)
                .bind(session.as_str())
                .bind(column::clamped(page.after.unwrap_or(0)))
                .bind(column::clamped(page.limit as u64)),
        ];
        let results = self.executor.execute(batch).await;
        let results = results.map_err(|error| told(&error, operation, session.as_str()))?;
        if results.first().and_then(Rows::first).is_none() {
            return Err(missing(operation, session));
        }
        let page = results.get(1).map(|rows| rows.iter().map(stored).collect());
        page.unwrap_or_else(|| Ok(Vec::new()))
    }
}

fn missing(operation: &'static str, session: &SessionId) -> Error {
    Error::new(ErrorKind::NotFound, operation).with_path(session).with_message("no such session")
}

fn append(operation: &'static str, session: &SessionId, message: &Message) -> Result<Statement> {
    Ok(Statement::new(APPEND)
        .bind(session.as_str())
        .bind(message.id.as_str())
        .bind(message.body.role())
        .bind(column::from_json(operation, &message.body)?)
        .bind(column::from_moment(operation, message.timestamp)?))
}

fn record(row: Row<'_>) -> Result<SessionRecord> {
    let mut record = SessionRecord::new(
        column::id(row, "session_id")?,
        column::id(row, "image_id")?,
        column::id(row, "container_id")?,
        column::moment(row, "created_at")?,
    );
    record.updated_at = column::moment(row, "updated_at")?;
    Ok(record)
}

fn stored(row: Row<'_>) -> Result<StoredMessage> {
    let id: MessageId = column::id(row, "message_id")?;
    let body: MessageBody = column::json(row, "content")
        .map_err(|error: Error| error.with_path(format!("content of message {id}")))?;
    if row.text("role")? != body.role() {
        let problem = format!("the content is of the role {}", body.role());
        return Err(corrupt("role", problem).with_path(format!("role of message {id}")));
    }
    let message = Message::new(id, column::moment(row, "created_at")?, body);
    Ok(StoredMessage::new(column::natural(row, "id")?, message))
}

use agentx_core::{
    Append, Appended, Error, ErrorKind, EventData, EventPage, ImageRecord, Message, MessageId, MessagePage,
    NewEvent, Result, SessionId, SessionRecord, SessionRepository, StoredEvent, StoredMessage,
};
use async_trait::async_trait;

use super::{Guard, SqlRepositories, approval, column, event, image, lease, message, queue, told};
use crate::{Row, Rows, Statement};

const FIND: &str =
    "SELECT session_id, image_id, container_id, created_at, updated_at FROM sessions WHERE session_id = ?1";

/// The place of the last message and the number of the last event, 0 before the first; no row where the session is
/// missing.
const LAST: &str = "SELECT coalesce((SELECT max(id) FROM messages WHERE session_id = ?1), 0) AS id, \
    coalesce((SELECT max(seq) FROM events WHERE session_id = ?1), 0) AS seq \
    FROM sessions WHERE session_id = ?1";

const COPY: &str = "INSERT INTO messages (session_id, message_id, role, content, created_at) \
    SELECT ?1, message_id, role, content, created_at FROM messages WHERE session_id = ?2 AND id < ?3 ORDER BY id";

const COPY_EVENTS: &str = "INSERT INTO events (session_id, seq, type, message_id, created_at) \
    SELECT session_id, row_number() OVER (ORDER BY id), \
    CASE role WHEN 'tool' THEN 'tool_result_message' ELSE role || '_message' END, message_id, created_at \
    FROM messages WHERE session_id = ?1";

#[async_trait]
impl SessionRepository for SqlRepositories {
    async fn find_session(&self, id: &SessionId) -> Result<Option<SessionRecord>> {
        let statement = Statement::new(FIND).bind(id.as_str());
        self.run("find session", id.as_str(), vec![statement]).await?.first().map(record).transpose()
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended> {
        let operation = "append";
        let messages: Vec<&Message> = append.messages().collect();
        let guard = append.fence.lease().map(Guard);
        let mut batch = Vec::new();
        batch.extend(lease::before(operation, session, &append.fence)?);
        for message in &messages {
            batch.push(message::insert(operation, session, message, guard.as_ref())?);
        }
        for event in &append.events {
            batch.push(event::insert(operation, session, event, &messages, guard.as_ref())?);
        }
        for approval in &append.approvals {
            batch.push(approval::insert(operation, session, approval, guard.as_ref())?);
        }
        batch.extend(append.taken.iter().map(|taken| queue::take(session, taken, guard.as_ref())));
        if append.closes_approvals {
            batch.push(approval::close(session, guard.as_ref()));
        }
        batch.extend(lease::behind(operation, session, &append.fence)?);
        batch.push(Statement::new(LAST).bind(session.as_str()));

        let subject = match &messages[..] {
            [message] => message.id.as_str(),
            _ => session.as_str(),
        };
        let results = match self.executor.execute(batch).await {
            Err(error) if self.has_begun(session, append, &error).await? => {
                return Err(lease::stale(session));
            }
            results => results.map_err(|error| told(&error, operation, subject))?,
        };
        let last = results.last().and_then(Rows::first).ok_or_else(|| missing(operation, session))?;
        let released = lease::settled(session, &append.fence, &results)?;
        Ok(Appended::new(column::natural(last, "id")?, column::natural(last, "seq")?, released))
    }

    async fn list_messages(&self, session: &SessionId, page: MessagePage) -> Result<Vec<StoredMessage>> {
        let after = page.after.unwrap_or(0);
        self.page("list messages", session, message::LIST, after, page.limit, message::stored).await
    }

    async fn find_message(&self, session: &SessionId, id: &MessageId) -> Result<Option<StoredMessage>> {
        let statement = Statement::new(message::FIND).bind(session.as_str()).bind(id.as_str());
        let rows = self.run("find message", id.as_str(), vec![statement]).await?;
        rows.first().map(message::stored).transpose()
    }

    async fn find_mark(&self, session: &SessionId, before: Option<u64>) -> Result<Option<StoredMessage>> {
        let before = column::clamped(before.unwrap_or(u64::MAX));
        let statement = Statement::new(message::MARK).bind(session.as_str()).bind(before);
        let rows = self.run("find mark", session.as_str(), vec![statement]).await?;
        rows.first().map(message::stored).transpose()
    }

    async fn list_events(&self, session: &SessionId, page: EventPage) -> Result<Vec<StoredEvent>> {
        let sql = if page.from_end { event::LAST } else { event::LIST };
        let mut events =
            self.page("list events", session, sql, page.after, page.limit, event::stored).await?;
        if page.from_end {
            events.reverse();
        }
        Ok(events)
    }

    async fn last_event(&self, session: &SessionId) -> Result<u64> {
        let operation = "find last event";
        let statement = Statement::new(LAST).bind(session.as_str());
        let rows = self.run(operation, session.as_str(), vec![statement]).await?;
        column::natural(rows.first().ok_or_else(|| missing(operation, session))?, "seq")
    }

    async fn fork_session(
        &self,
        source: &SessionId,
        before: Option<u64>,
        image: &ImageRecord,
        session: &SessionRecord,
    ) -> Result<()> {
        let operation = "fork session";
        let new = session.session_id.as_str();
        let forked = EventData::SessionForked {
            original_session_id: source.clone(),
            new_session_id: session.session_id.clone(),
            new_image_id: image.image_id.clone(),
            forked_at: session.created_at,
        };
        let forked = NewEvent::new(session.created_at, None, forked);
        let mut batch = image::create(operation, image, session, Some(source))?;
        batch.push(
            Statement::new(COPY)
                .bind(new)
                .bind(source.as_str())
                .bind(column::clamped(before.unwrap_or(u64::MAX))),
        );
        batch.push(Statement::new(COPY_EVENTS).bind(new));
        batch.push(event::insert(operation, &session.session_id, &forked, &[], None)?);
        batch.push(Statement::new(FIND).bind(new));
        let made = self.run(operation, image.image_id.as_str(), batch).await?;
        if made.first().is_some() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NotFound, operation)
            .with_path(source)
            .with_message(format!("no such session, or no container {}", image.container_id)))
    }
}

impl SqlRepositories {
    /// A page of what belongs to a session.
    pub(super) async fn page<T>(
        &self,
        operation: &'static str,
        session: &SessionId,
        sql: &'static str,
        after: u64,
        limit: usize,
        read: fn(Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let batch = vec![
            Statement::new(FIND).bind(session.as_str()),
            Statement::new(sql)
                .bind(session.as_str())
                .bind(column::clamped(after))
                .bind(column::clamped(limit as u64)),
        ];
        let results = self.executor.execute(batch).await;
        let results = results.map_err(|error| told(&error, operation, session.as_str()))?;
        if results.first().and_then(Rows::first).is_none() {
            return Err(missing(operation, session));
        }
        results.get(1).map_or_else(|| Ok(Vec::new()), |rows| rows.iter().map(read).collect())
    }
}

pub(super) fn missing(operation: &'static str, session: &SessionId) -> Error {
    Error::new(ErrorKind::NotFound, operation).with_path(session).with_message("no such session")
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

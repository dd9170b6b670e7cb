use std::collections::HashSet;

use async_trait::async_trait;

use super::{MemoryRepositories, Session, error};
use crate::{
    Append, Appended, ApprovalRecord, ErrorKind, EventData, EventPage, ImageRecord, Message, MessageBody,
    MessageId, MessagePage, NewEvent, Result, SessionId, SessionRecord, SessionRepository, StoredEvent,
    StoredMessage,
};

impl Session {
    /// Its approvals have the places from `places` on.
    fn append(&mut self, id: &SessionId, append: &Append, places: u64) -> Result<Appended> {
        self.check(id, &append.fence)?;
        let mut given = HashSet::new();
        for message in append.messages() {
            if self.message_ids.contains(&message.id) || !given.insert(&message.id) {
                return Err(error(ErrorKind::AlreadyExists, "append", &message.id));
            }
        }
        self.message_ids.extend(given.into_iter().cloned());
        self.messages.extend(append.messages().cloned());
        self.events.extend(append.events.iter().cloned());
        self.queue.retain(|queued| !append.taken.contains(&queued.id));
        self.approvals.extend((places..).zip(append.approvals.iter().cloned()));
        if append.closes_approvals {
            self.approvals.iter_mut().for_each(|(_, approval)| approval.closed = true);
        }
        let released = self.settle(&append.fence);
        Ok(Appended::new(self.messages.len() as u64, self.events.len() as u64, released))
    }

    fn stored(&self, index: usize) -> Option<StoredMessage> {
        let message = self.messages.get(index)?.clone();
        Some(StoredMessage::new(index as u64 + 1, message))
    }
}

fn is_mark(message: &Message) -> bool {
    matches!(message.body, MessageBody::Summary { .. } | MessageBody::Rewind { .. })
}

/// How many entries lie up to this place.
fn count(place: u64) -> usize {
    usize::try_from(place).unwrap_or(usize::MAX)
}

#[async_trait]
impl SessionRepository for MemoryRepositories {
    async fn find_session(&self, id: &SessionId) -> Result<Option<SessionRecord>> {
        Ok(self.lock().sessions.get(id).map(|session| session.record.clone()))
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended> {
        let mut store = self.lock();
        for ApprovalRecord { approval_id: id, .. } in &append.approvals {
            let mut approvals = store.sessions.values().flat_map(|session| &session.approvals);
            if approvals.any(|(_, other)| other.approval_id == *id) {
                return Err(error(ErrorKind::AlreadyExists, "append", id));
            }
        }
        let places = store.approvals + 1;
        let appended = store.session("append", session)?.append(session, append, places)?;
        store.approvals += append.approvals.len() as u64;
        Ok(appended)
    }

    async fn list_messages(&self, session: &SessionId, page: MessagePage) -> Result<Vec<StoredMessage>> {
        let mut store = self.lock();
        let stored = store.session("list messages", session)?;
        let after = count(page.after.unwrap_or(0));
        Ok((after..stored.messages.len()).take(page.limit).filter_map(|index| stored.stored(index)).collect())
    }

    async fn find_message(&self, session: &SessionId, id: &MessageId) -> Result<Option<StoredMessage>> {
        let store = self.lock();
        let Some(stored) = store.sessions.get(session) else { return Ok(None) };
        let index = stored.messages.iter().position(|message| message.id == *id);
        Ok(index.and_then(|index| stored.stored(index)))
    }

    async fn find_mark(&self, session: &SessionId, before: Option<u64>) -> Result<Option<StoredMessage>> {
        let store = self.lock();
        let Some(stored) = store.sessions.get(session) else { return Ok(None) };
        let before = count(before.unwrap_or(u64::MAX).saturating_sub(1)).min(stored.messages.len());
        let index = stored.messages.iter().take(before).rposition(is_mark);
        Ok(index.and_then(|index| stored.stored(index)))
    }

    async fn list_events(&self, session: &SessionId, page: EventPage) -> Result<Vec<StoredEvent>> {
        let mut store = self.lock();
        let events = &store.session("list events", session)?.events;
        let from_end = if page.from_end { events.len().saturating_sub(page.limit) } else { 0 };
        let skipped = count(page.after).max(from_end);
        let page = (1..).zip(events).skip(skipped).take(page.limit);
        Ok(page.map(|(seq, event)| StoredEvent::new(seq, event.clone())).collect())
    }

    async fn last_event(&self, session: &SessionId) -> Result<u64> {
        Ok(self.lock().session("find last event", session)?.events.len() as u64)
    }

    async fn fork_session(
        &self,
        source: &SessionId,
        before: Option<u64>,
        image: &ImageRecord,
        session: &SessionRecord,
    ) -> Result<()> {
        let mut store = self.lock();
        let operation = "fork session";
        let before = count(before.unwrap_or(u64::MAX).saturating_sub(1));
        let copied = store.session(operation, source)?.messages.iter().take(before).cloned();
        let copied: Vec<_> = copied.collect();
        store.create_image(operation, image, session)?;
        let events = copied.into_iter().filter_map(|message| {
            Some(NewEvent::new(message.timestamp, None, EventData::of_message(message)?))
        });
        let forked = EventData::SessionForked {
            original_session_id: source.clone(),
            new_session_id: session.session_id.clone(),
            new_image_id: image.image_id.clone(),
            forked_at: session.created_at,
        };
        let events = events.chain([NewEvent::new(session.created_at, None, forked)]).collect();
        let forked = store.session(operation, &session.session_id)?;
        forked.append(&session.session_id, &Append::new(events), 0).map(drop)
    }
}

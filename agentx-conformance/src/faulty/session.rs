use std::sync::PoisonError;

use agentx_core::{
    Append, Appended, AssistantPart, Error, ErrorKind, EventData, EventPage, Fence, ImageRecord,
    ImageRepository as _, Message, MessageBody, MessageId, MessagePage, NewEvent, Result, SessionId,
    SessionRecord, SessionRepository, StoredEvent, StoredMessage,
};
use async_trait::async_trait;

use super::{RepositoryFault as Fault, dawdle, repository::FaultyRepositories};

impl FaultyRepositories {
    /// Notes the ids of these messages; refuses one that is noted.
    fn give(&self, append: &Append) -> Result<()> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = append.messages().find(|message| given.contains(&message.id)) {
            return Err(Error::new(ErrorKind::AlreadyExists, "append").with_path(&taken.id));
        }
        given.extend(append.messages().map(|message| message.id.clone()));
        Ok(())
    }

    /// One by one; a refusal ends it, or is passed over.
    async fn append_each(&self, session: &SessionId, append: &Append) -> Result<Appended> {
        let mut rest = append.clone();
        rest.events = Vec::new();
        for event in &append.events {
            let one = Append::new(vec![event.clone()]).with_fence(held(&append.fence));
            match self.inner.append(session, &one).await {
                Err(error)
                    if error.kind() == ErrorKind::AlreadyExists && self.has(Fault::IgnoresDuplicates) => {}
                appended => drop(appended?),
            }
            if self.has(Fault::TearsEvents) {
                dawdle().await;
            }
        }
        self.inner.append(session, &rest).await
    }

    /// What is stored in place of an append.
    fn changed(&self, append: &Append) -> Append {
        let mut append = append.clone();
        match self.fault {
            Fault::LosesLast if append.messages().count() > 1 => drop(append.events.pop()),
            Fault::DropsUnknownEvents => {
                append.events.retain(|event| !matches!(event.data, EventData::Other(_)));
            }
            Fault::TrustsMessages => trust(&mut append.events),
            Fault::IgnoresFence => append.fence = Fence::None,
            Fault::NeverCloses => append.closes_approvals = false,
            _ => {}
        }
        append
    }
}

/// The fence of an append that is one of several.
fn held(fence: &Fence) -> Fence {
    match fence {
        Fence::Release(lease) => Fence::Hold(lease.clone()),
        other => other.clone(),
    }
}

/// Tells of a tool what its first answer in the batch says.
fn trust(events: &mut [NewEvent]) {
    let output = events.iter().find_map(|event| match &event.data {
        EventData::ToolResultMessage(Message { body: MessageBody::Tool(result), .. }) => {
            Some(result.output.clone())
        }
        _ => None,
    });
    let Some(output) = output else { return };
    for event in events {
        if let EventData::ToolCompleted { result, .. } = &mut event.data {
            result.clone_from(&output);
        }
    }
}

/// As JavaScript reads it.
fn rounded(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Number(number) => {
            let float = number.as_f64().filter(|float| float.abs() > 9e15);
            if let Some(float) = float.and_then(serde_json::Number::from_f64) {
                *number = float;
            }
        }
        serde_json::Value::Array(values) => values.iter_mut().for_each(rounded),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(rounded),
        _ => {}
    }
}

#[async_trait]
impl SessionRepository for FaultyRepositories {
    async fn find_session(&self, id: &SessionId) -> Result<Option<SessionRecord>> {
        let found = self.inner.find_session(id).await?;
        if self.has(Fault::HidesEmptySessions) && found.is_some() {
            let stored = self.inner.list_messages(id, MessagePage::first(1)).await?;
            return Ok(found.filter(|_| !stored.is_empty()));
        }
        Ok(found)
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended> {
        match self.fault {
            Fault::IgnoresDuplicates | Fault::TearsBatches | Fault::TearsEvents => {
                self.append_each(session, append).await
            }
            Fault::RefusesNothing if *append == Append::default() => {
                self.inner.last_event(session).await?;
                Err(Error::new(ErrorKind::InvalidInput, "append").with_path(session))
            }
            Fault::SharesMessageIds => {
                self.inner.last_event(session).await?;
                self.give(append)?;
                self.inner.append(session, append).await
            }
            Fault::StoresEventsFirst => {
                let mut early = append.clone();
                early.events.retain(|event| event.data.message().is_none());
                early.fence = held(&append.fence);
                self.inner.append(session, &early).await?;
                let mut late = append.clone();
                late.events.retain(|event| event.data.message().is_some());
                self.inner.append(session, &late).await
            }
            _ => {
                let append = self.changed(append);
                self.under_lease(session, append).await
            }
        }
    }

    async fn list_messages(&self, session: &SessionId, mut page: MessagePage) -> Result<Vec<StoredMessage>> {
        match (self.fault, page.after) {
            (Fault::PageOverlaps, Some(after)) => page.after = after.checked_sub(1),
            (Fault::PageSkips, Some(after)) => page.after = Some(after.saturating_add(1)),
            _ => {}
        }
        let mut stored = match self.inner.list_messages(session, page).await {
            Err(error) if error.kind() == ErrorKind::NotFound && self.has(Fault::MissingIsEmpty) => {
                Vec::new()
            }
            stored => stored?,
        };
        if self.has(Fault::SortsByTime) {
            let places: Vec<u64> = stored.iter().map(|stored| stored.seq).collect();
            stored.sort_by_key(|stored| stored.message.timestamp);
            for (stored, place) in stored.iter_mut().zip(places) {
                stored.seq = place;
            }
        }
        if self.has(Fault::RoundsNumbers) {
            for body in stored.iter_mut().map(|stored| &mut stored.message.body) {
                let MessageBody::Assistant(message) = body else { continue };
                for part in &mut message.content {
                    if let AssistantPart::ToolCall(call) = part {
                        rounded(&mut call.input);
                    }
                }
            }
        }
        Ok(stored)
    }

    async fn find_message(&self, session: &SessionId, id: &MessageId) -> Result<Option<StoredMessage>> {
        if self.has(Fault::FindsAnywhere) {
            for session in ["of-i", "of-j"] {
                let found = self.inner.find_message(&SessionId::new(session)?, id).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        self.inner.find_message(session, id).await
    }

    async fn find_mark(&self, session: &SessionId, before: Option<u64>) -> Result<Option<StoredMessage>> {
        let mut found = self.inner.find_mark(session, before).await?;
        while let Some(mark) = &found
            && self.has(Fault::ForgetsRewinds)
            && matches!(mark.message.body, MessageBody::Rewind { .. })
        {
            found = self.inner.find_mark(session, Some(mark.seq)).await?;
        }
        Ok(found)
    }

    async fn list_events(&self, session: &SessionId, page: EventPage) -> Result<Vec<StoredEvent>> {
        let mut events = self.inner.list_events(session, page).await?;
        if self.has(Fault::LastEventsReversed) && page.from_end {
            events.reverse();
        }
        if self.has(Fault::NumbersFromZero) {
            for stored in &mut events {
                stored.seq = stored.seq.saturating_sub(1);
            }
        }
        Ok(events)
    }

    async fn last_event(&self, session: &SessionId) -> Result<u64> {
        self.inner.last_event(session).await
    }

    async fn fork_session(
        &self,
        source: &SessionId,
        before: Option<u64>,
        image: &ImageRecord,
        session: &SessionRecord,
    ) -> Result<()> {
        match self.fault {
            Fault::ForksNothing => self.inner.create_image(image, session).await,
            Fault::ForksMissing if self.inner.find_session(source).await?.is_none() => {
                self.inner.create_image(image, session).await
            }
            Fault::ForksAll => self.inner.fork_session(source, None, image, session).await,
            _ => self.inner.fork_session(source, before, image, session).await,
        }
    }
}

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use agentx_core::{
    AssistantPart, ContainerId, ContainerRecord, ContainerRepository, Error, ErrorKind, ImageId, ImageRecord,
    ImageRepository, MemoryRepositories, Message, MessageBody, MessageId, MessagePage, Result, SessionId,
    SessionRecord, SessionRepository, StoredMessage,
};
use async_trait::async_trait;

use super::{RepositoryFault as Fault, dawdle};

/// Repositories with one fault.
#[derive(Debug)]
pub struct FaultyRepositories {
    inner: MemoryRepositories,
    fault: Fault,
    /// The ids of messages that were given, in whatever session.
    given: Mutex<BTreeSet<MessageId>>,
}

impl FaultyRepositories {
    /// An empty store with this fault.
    pub fn new(fault: Fault) -> Self {
        Self { inner: MemoryRepositories::new(), fault, given: Mutex::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Notes the ids of these messages; refuses one that is noted.
    fn give(&self, messages: &[Message]) -> Result<()> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = messages.iter().find(|message| given.contains(&message.id)) {
            return Err(Error::new(ErrorKind::AlreadyExists, "append messages").with_path(&taken.id));
        }
        given.extend(messages.iter().map(|message| message.id.clone()));
        Ok(())
    }

    /// One by one; a refusal ends it, or is passed over.
    async fn append_each(&self, session: &SessionId, messages: &[Message]) -> Result<u64> {
        let mut place = self.inner.append_messages(session, &[]).await?;
        for message in messages {
            match self.inner.append_messages(session, std::slice::from_ref(message)).await {
                Ok(last) => place = last,
                Err(error)
                    if error.kind() == ErrorKind::AlreadyExists && self.has(Fault::IgnoresDuplicates) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(place)
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
impl ContainerRepository for FaultyRepositories {
    async fn save_container(&self, container: &ContainerRecord) -> Result<()> {
        if self.has(Fault::KeepsFirstContainer)
            && self.inner.find_container(&container.container_id).await?.is_some()
        {
            return Ok(());
        }
        let mut container = container.clone();
        if self.has(Fault::NullIsAbsent) {
            container.config = container.config.filter(|config| !config.is_null());
        }
        self.inner.save_container(&container).await
    }

    async fn find_container(&self, id: &ContainerId) -> Result<Option<ContainerRecord>> {
        self.inner.find_container(id).await
    }

    async fn list_containers(&self) -> Result<Vec<ContainerRecord>> {
        let mut containers = self.inner.list_containers().await?;
        if self.has(Fault::SortsContainers) {
            containers.sort_by(|a, b| a.container_id.cmp(&b.container_id));
        }
        if self.has(Fault::ListsOnePage) {
            containers.truncate(100);
        }
        Ok(containers)
    }

    async fn delete_container(&self, id: &ContainerId) -> Result<()> {
        if self.has(Fault::RemoveNeedsContainer) && self.inner.find_container(id).await?.is_none() {
            return Err(Error::new(ErrorKind::NotFound, "delete container").with_path(id));
        }
        self.inner.delete_container(id).await
    }
}

#[async_trait]
impl ImageRepository for FaultyRepositories {
    async fn create_image(&self, image: &ImageRecord, session: &SessionRecord) -> Result<()> {
        let mut image = image.clone();
        match self.fault {
            Fault::EmptyIsAbsent => {
                let spec = &mut image.spec;
                for text in [&mut spec.description, &mut spec.system_prompt] {
                    *text = text.take().filter(|text| !text.is_empty());
                }
            }
            Fault::SharesSessions if self.inner.find_session(&session.session_id).await?.is_some() => {
                return Ok(());
            }
            Fault::RacyCreate if self.inner.find_image(&image.image_id).await?.is_none() => {
                dawdle().await;
                self.inner.delete_image(&image.image_id).await?;
            }
            _ => {}
        }
        self.inner.create_image(&image, session).await
    }

    async fn update_image(&self, image: &ImageRecord) -> Result<()> {
        if self.has(Fault::UpdateCreates) && self.inner.find_image(&image.image_id).await?.is_none() {
            let (id, container) = (image.image_id.clone(), image.container_id.clone());
            let session = SessionRecord::new(image.session_id.clone(), id, container, image.created_at);
            return self.inner.create_image(image, &session).await;
        }
        let mut image = image.clone();
        if self.has(Fault::KeepsAbsent)
            && let Some(stored) = self.inner.find_image(&image.image_id).await?
        {
            image.spec.description = image.spec.description.or(stored.spec.description);
            image.spec.system_prompt = image.spec.system_prompt.or(stored.spec.system_prompt);
        }
        self.inner.update_image(&image).await
    }

    async fn find_image(&self, id: &ImageId) -> Result<Option<ImageRecord>> {
        self.inner.find_image(id).await
    }

    async fn list_images(&self, container: &ContainerId) -> Result<Vec<ImageRecord>> {
        let mut images = self.inner.list_images(container).await?;
        if self.has(Fault::SortsImages) {
            images.sort_by(|a, b| a.image_id.cmp(&b.image_id));
        }
        Ok(images)
    }

    async fn delete_image(&self, id: &ImageId) -> Result<()> {
        let image = self.inner.find_image(id).await?.filter(|_| self.has(Fault::DeletesSiblings));
        self.inner.delete_image(id).await?;
        let Some(image) = image else { return Ok(()) };
        for sibling in self.inner.list_images(&image.container_id).await? {
            let Some(session) = self.inner.find_session(&sibling.session_id).await? else { continue };
            self.inner.delete_image(&sibling.image_id).await?;
            self.inner.create_image(&sibling, &session).await?;
        }
        Ok(())
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

    async fn append_messages(&self, session: &SessionId, messages: &[Message]) -> Result<u64> {
        match (self.fault, messages) {
            (Fault::LosesLast, [stored @ .., _]) if !stored.is_empty() => {
                self.inner.append_messages(session, stored).await
            }
            (Fault::IgnoresDuplicates | Fault::TearsBatches, _) => self.append_each(session, messages).await,
            (Fault::RefusesNothing, []) => {
                Err(Error::new(ErrorKind::InvalidInput, "append messages").with_path(session))
            }
            (Fault::SharesMessageIds, _) => {
                self.inner.append_messages(session, &[]).await?;
                self.give(messages)?;
                self.inner.append_messages(session, messages).await
            }
            _ => self.inner.append_messages(session, messages).await,
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
}

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{ContainerRepository, ImageRepository, MessagePage, SessionRepository, StoredMessage};
use crate::{
    ContainerId, ContainerRecord, Error, ErrorKind, ImageId, ImageRecord, Message, Result, SessionId,
    SessionRecord,
};

/// Containers, images and sessions in memory: the specification of the repositories, and a store for agents that
/// need none.
#[derive(Debug, Default)]
pub struct MemoryRepositories(Mutex<Store>);

#[derive(Debug, Default)]
struct Store {
    containers: Vec<ContainerRecord>,
    images: Vec<ImageRecord>,
    sessions: BTreeMap<SessionId, (SessionRecord, Vec<Message>)>,
}

impl MemoryRepositories {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn error(kind: ErrorKind, operation: &'static str, id: impl AsRef<str>) -> Error {
    Error::new(kind, operation).with_path(id.as_ref()).with_provider("memory")
}

#[async_trait]
impl ContainerRepository for MemoryRepositories {
    async fn save_container(&self, container: &ContainerRecord) -> Result<()> {
        let mut store = self.lock();
        match store.containers.iter_mut().find(|other| other.container_id == container.container_id) {
            Some(stored) => *stored = container.clone(),
            None => store.containers.push(container.clone()),
        }
        Ok(())
    }

    async fn find_container(&self, id: &ContainerId) -> Result<Option<ContainerRecord>> {
        Ok(self.lock().containers.iter().find(|container| container.container_id == *id).cloned())
    }

    async fn list_containers(&self) -> Result<Vec<ContainerRecord>> {
        Ok(self.lock().containers.clone())
    }

    async fn delete_container(&self, id: &ContainerId) -> Result<()> {
        let mut store = self.lock();
        store.containers.retain(|container| container.container_id != *id);
        store.images.retain(|image| image.container_id != *id);
        store.sessions.retain(|_, (session, _)| session.container_id != *id);
        Ok(())
    }
}

#[async_trait]
impl ImageRepository for MemoryRepositories {
    async fn create_image(&self, image: &ImageRecord, session: &SessionRecord) -> Result<()> {
        if session.session_id != image.session_id
            || session.image_id != image.image_id
            || session.container_id != image.container_id
        {
            return Err(error(ErrorKind::InvalidInput, "create image", &image.image_id)
                .with_message("the session is not of this image"));
        }
        let mut store = self.lock();
        if !store.containers.iter().any(|container| container.container_id == image.container_id) {
            return Err(error(ErrorKind::NotFound, "create image", &image.container_id));
        }
        if store.images.iter().any(|other| other.image_id == image.image_id) {
            return Err(error(ErrorKind::AlreadyExists, "create image", &image.image_id));
        }
        if store.sessions.contains_key(&session.session_id) {
            return Err(error(ErrorKind::AlreadyExists, "create image", &session.session_id));
        }
        store.images.push(image.clone());
        store.sessions.insert(session.session_id.clone(), (session.clone(), Vec::new()));
        Ok(())
    }

    async fn update_image(&self, image: &ImageRecord) -> Result<()> {
        let mut store = self.lock();
        let stored = store
            .images
            .iter_mut()
            .find(|other| {
                other.image_id == image.image_id
                    && other.container_id == image.container_id
                    && other.session_id == image.session_id
            })
            .ok_or_else(|| error(ErrorKind::NotFound, "update image", &image.image_id))?;
        *stored = image.clone();
        Ok(())
    }

    async fn find_image(&self, id: &ImageId) -> Result<Option<ImageRecord>> {
        Ok(self.lock().images.iter().find(|image| image.image_id == *id).cloned())
    }

    async fn list_images(&self, container: &ContainerId) -> Result<Vec<ImageRecord>> {
        Ok(self.lock().images.iter().filter(|image| image.container_id == *container).cloned().collect())
    }

    async fn delete_image(&self, id: &ImageId) -> Result<()> {
        let mut store = self.lock();
        store.images.retain(|image| image.image_id != *id);
        store.sessions.retain(|_, (session, _)| session.image_id != *id);
        Ok(())
    }
}

#[async_trait]
impl SessionRepository for MemoryRepositories {
    async fn find_session(&self, id: &SessionId) -> Result<Option<SessionRecord>> {
        Ok(self.lock().sessions.get(id).map(|(session, _)| session.clone()))
    }

    async fn append_messages(&self, session: &SessionId, messages: &[Message]) -> Result<u64> {
        let mut store = self.lock();
        let (_, stored) = store
            .sessions
            .get_mut(session)
            .ok_or_else(|| error(ErrorKind::NotFound, "append messages", session))?;
        for (index, message) in messages.iter().enumerate() {
            let earlier = stored.iter().chain(messages.iter().take(index));
            if earlier.into_iter().any(|other| other.id == message.id) {
                return Err(error(ErrorKind::AlreadyExists, "append messages", &message.id));
            }
        }
        stored.extend_from_slice(messages);
        Ok(stored.len() as u64)
    }

    async fn list_messages(&self, session: &SessionId, page: MessagePage) -> Result<Vec<StoredMessage>> {
        let store = self.lock();
        let (_, stored) = store
            .sessions
            .get(session)
            .ok_or_else(|| error(ErrorKind::NotFound, "list messages", session))?;
        let after = usize::try_from(page.after.unwrap_or(0)).unwrap_or(usize::MAX);
        let messages = (1..).zip(stored).skip(after).take(page.limit);
        Ok(messages.map(|(seq, message)| StoredMessage::new(seq, message.clone())).collect())
    }
}

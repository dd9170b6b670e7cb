use std::{collections::BTreeSet, sync::Mutex};

use agentx_core::{
    ContainerId, ContainerRecord, ContainerRepository, Error, ErrorKind, ImageId, ImageRecord,
    ImageRepository, MemoryRepositories, MessageId, QueuedMessage, Result, SessionId, SessionRecord,
    SessionRepository as _,
};
use async_trait::async_trait;

use super::{RepositoryFault as Fault, dawdle};

/// Repositories with one fault.
#[derive(Debug)]
pub struct FaultyRepositories {
    pub(super) inner: MemoryRepositories,
    pub(super) fault: Fault,
    /// The ids of messages that were given, in whatever session.
    pub(super) given: Mutex<BTreeSet<MessageId>>,
    /// What was queued in sessions that were removed since.
    pub(super) queued: Mutex<Vec<(SessionId, QueuedMessage)>>,
}

impl FaultyRepositories {
    /// An empty store with this fault.
    pub fn new(fault: Fault) -> Self {
        Self { inner: MemoryRepositories::new(), fault, given: Mutex::default(), queued: Mutex::default() }
    }

    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == fault
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
            Fault::RacyKey if image.spec.key.is_some() => {
                let taken = self.inner.list_images(&image.container_id).await?;
                dawdle().await;
                // What was free then is free for each of them.
                if !taken.iter().any(|other| other.spec.key == image.spec.key) {
                    image.spec.key = None;
                }
            }
            Fault::SharesKeys => image.spec.key = None,
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

use async_trait::async_trait;

use super::{MemoryRepositories, Session, Store, error};
use crate::{ContainerId, ErrorKind, ImageId, ImageRecord, ImageRepository, Result, SessionRecord};

impl Store {
    /// Fails where another image of the container has the key.
    fn key_is_free(&self, operation: &'static str, image: &ImageRecord) -> Result<()> {
        let Some(key) = &image.spec.key else { return Ok(()) };
        let taken = self.images.iter().any(|other| {
            other.image_id != image.image_id
                && other.container_id == image.container_id
                && other.spec.key.as_ref() == Some(key)
        });
        if taken {
            return Err(error(ErrorKind::AlreadyExists, operation, &image.image_id)
                .with_message("another image of the container has its key"));
        }
        Ok(())
    }

    /// An image with an empty session.
    pub(super) fn create_image(
        &mut self,
        operation: &'static str,
        image: &ImageRecord,
        session: &SessionRecord,
    ) -> Result<()> {
        if session.session_id != image.session_id
            || session.image_id != image.image_id
            || session.container_id != image.container_id
        {
            return Err(error(ErrorKind::InvalidInput, operation, &image.image_id)
                .with_message("the session is not of this image"));
        }
        if !self.containers.iter().any(|container| container.container_id == image.container_id) {
            return Err(error(ErrorKind::NotFound, operation, &image.container_id));
        }
        if self.images.iter().any(|other| other.image_id == image.image_id) {
            return Err(error(ErrorKind::AlreadyExists, operation, &image.image_id));
        }
        if self.sessions.contains_key(&session.session_id) {
            return Err(error(ErrorKind::AlreadyExists, operation, &session.session_id));
        }
        self.key_is_free(operation, image)?;
        self.images.push(image.clone());
        self.sessions.insert(session.session_id.clone(), Session::new(session.clone()));
        Ok(())
    }
}

#[async_trait]
impl ImageRepository for MemoryRepositories {
    async fn create_image(&self, image: &ImageRecord, session: &SessionRecord) -> Result<()> {
        self.lock().create_image("create image", image, session)
    }

    async fn update_image(&self, image: &ImageRecord) -> Result<()> {
        let mut store = self.lock();
        store.key_is_free("update image", image)?;
        let stored = store
            .images
            .iter_mut()
            .find(|other| {
                other.image_id == image.image_id
                    && other.container_id == image.container_id
                    && other.session_id == image.session_id
            })
            .ok_or_else(|| error(ErrorKind::NotFound, "update image", &image.image_id))?;
        let parent = stored.parent_image_id.take();
        *stored = ImageRecord { parent_image_id: parent, ..image.clone() };
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
        store.sessions.retain(|_, session| session.record.image_id != *id);
        Ok(())
    }
}

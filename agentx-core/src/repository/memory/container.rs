use async_trait::async_trait;

use super::MemoryRepositories;
use crate::{ContainerId, ContainerRecord, ContainerRepository, Result};

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
        store.sessions.retain(|_, session| session.record.container_id != *id);
        Ok(())
    }
}

//! Containers and images, which there may only be so many of.

use std::collections::HashMap;

use agentx_core::{ContainerId, Runtime};

use super::full;
use crate::{Owner, failure::Failure};

/// How many containers an owner has, and images in each, as far as they were counted. What is counted here is counted
/// anew before anything is refused: somebody else may have deleted some.
#[derive(Debug, Default)]
pub(crate) struct Places {
    containers: Option<usize>,
    images: HashMap<ContainerId, usize>,
}

impl Places {
    /// Whether there is room for one more container.
    pub(crate) async fn admit_container(
        &mut self,
        runtime: &Runtime,
        owner: &Owner,
        limit: usize,
    ) -> Result<(), Failure> {
        if self.containers.is_none_or(|count| count >= limit) {
            let all = runtime.containers().await?;
            let own = all.iter().filter(|container| owner.name_of(&container.container_id).is_some());
            self.containers = Some(own.count());
        }
        match self.containers {
            Some(count) if count >= limit => Err(full(limit, "containers")),
            _ => Ok(()),
        }
    }

    /// Whether there is room for one more image of a container.
    pub(crate) async fn admit_image(
        &mut self,
        runtime: &Runtime,
        container: &ContainerId,
        limit: usize,
    ) -> Result<(), Failure> {
        if self.images.get(container).is_none_or(|count| *count >= limit) {
            self.images.insert(container.clone(), runtime.images(container).await?.len());
        }
        match self.images.get(container) {
            Some(count) if *count >= limit => Err(full(limit, "images of a container")),
            _ => Ok(()),
        }
    }

    /// One container more.
    pub(crate) fn made_container(&mut self) {
        self.containers = self.containers.map(|count| count + 1);
    }

    /// One image more.
    pub(crate) fn made_image(&mut self, container: &ContainerId) {
        if let Some(count) = self.images.get_mut(container) {
            *count += 1;
        }
    }

    /// Something went, or perhaps did: it is counted anew.
    pub(crate) fn forget(&mut self, container: &ContainerId) {
        self.images.remove(container);
        self.containers = None;
    }

    /// An image went, or perhaps did.
    pub(crate) fn forget_images(&mut self, container: &ContainerId) {
        self.images.remove(container);
    }
}

//! The runtime: containers, images, and the agents that run on them.

mod agent;
mod builder;
mod bus;
mod core;
mod events;
mod history;
mod turn;
mod workspace;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::lock::Mutex as AsyncMutex;

use self::core::AgentCore;
pub use self::{
    agent::Agent,
    builder::RuntimeBuilder,
    bus::Subscription,
    events::{TurnEvents, TurnReport},
    workspace::WorkspaceProvider,
};
use crate::{
    Budget, ContainerId, ContainerRecord, Driver, Error, ErrorKind, Host, ImageId, ImageRecord, ImageSpec,
    ModelSettings, Permission, Repositories, Result, SessionId, SessionRecord, Tool,
};

/// Holds containers and images, and runs one agent for each image that is asked to.
///
/// A turn belongs to the runtime: it goes on whether or not anybody listens, until it is done, is interrupted, or the
/// runtime is dropped. What a user was told is stored, and each tool call of a stored session has its result, also
/// after a crash.
#[derive(Debug)]
pub struct Runtime {
    shared: Arc<Shared>,
    agents: Mutex<HashMap<ImageId, Arc<AgentSlot>>>,
}

/// One agent of an image at most: whoever asks for it while it is being opened waits.
type AgentSlot = AsyncMutex<Option<Arc<AgentCore>>>;

/// What all agents of a runtime share.
#[derive(Debug)]
struct Shared {
    driver: Arc<dyn Driver>,
    host: Host,
    repositories: Repositories,
    workspaces: Option<Arc<dyn WorkspaceProvider>>,
    tools: Vec<Arc<dyn Tool>>,
    permission: Arc<dyn Permission>,
    budget: Budget,
    settings: ModelSettings,
}

impl Runtime {
    /// A runtime whose turns `driver` runs, on `host`.
    pub fn builder(driver: impl Driver, host: Host) -> RuntimeBuilder {
        RuntimeBuilder::new(Arc::new(driver), host)
    }

    /// The container with this id, created where there is none.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn create_container(&self, id: &ContainerId) -> Result<ContainerRecord> {
        let containers = &self.shared.repositories.containers;
        if let Some(container) = containers.find_container(id).await? {
            return Ok(container);
        }
        let container = ContainerRecord::new(id.clone(), self.shared.host.now());
        containers.save_container(&container).await?;
        Ok(container)
    }

    /// A new image in a container.
    ///
    /// # Errors
    /// `NotFound` for a missing container; whatever the store reports.
    pub async fn create_image(&self, container: &ContainerId, spec: ImageSpec) -> Result<ImageRecord> {
        let host = &self.shared.host;
        let (now, session) = (host.now(), SessionId::fresh(&*host.ids));
        let image =
            ImageRecord::new(ImageId::fresh(&*host.ids), container.clone(), session.clone(), spec, now);
        let session = SessionRecord::new(session, image.image_id.clone(), container.clone(), now);
        self.shared.repositories.images.create_image(&image, &session).await?;
        Ok(image)
    }

    /// The images of a container, oldest first.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn images(&self, container: &ContainerId) -> Result<Vec<ImageRecord>> {
        self.shared.repositories.images.list_images(container).await
    }

    /// Stores what was changed of an image. An agent that runs keeps what it began with.
    ///
    /// # Errors
    /// `NotFound` for a missing image; whatever the store reports.
    pub async fn update_image(&self, mut image: ImageRecord) -> Result<ImageRecord> {
        image.updated_at = self.shared.host.now();
        self.shared.repositories.images.update_image(&image).await?;
        Ok(image)
    }

    /// The agent of an image: the one that runs, or a new one that takes its session up where it was left.
    ///
    /// # Errors
    /// `NotFound` for a missing image; whatever the store or the workspace reports.
    pub async fn run(&self, image: &ImageId) -> Result<Agent> {
        let slot = {
            let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
            agents.entry(image.clone()).or_default().clone()
        };
        let mut slot = slot.lock().await;
        if let Some(agent) = &*slot {
            return Ok(Agent::new(agent.clone()));
        }
        let agent = Arc::new(self.open(image).await?);
        *slot = Some(agent.clone());
        Ok(Agent::new(agent))
    }

    async fn open(&self, image: &ImageId) -> Result<AgentCore> {
        let shared = self.shared.clone();
        let image = shared
            .repositories
            .images
            .find_image(image)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "run image").with_path(image))?;
        AgentCore::open(shared, image).await
    }

    /// Interrupts the agent of an image, if one runs, and removes the image with its session and workspace.
    ///
    /// # Errors
    /// Whatever the store or the workspace reports.
    pub async fn delete_image(&self, image: &ImageId) -> Result<()> {
        let slot = self.agents.lock().unwrap_or_else(PoisonError::into_inner).remove(image);
        if let Some(slot) = slot
            && let Some(agent) = slot.lock().await.take()
        {
            agent.close().await;
        }
        let Some(record) = self.shared.repositories.images.find_image(image).await? else { return Ok(()) };
        self.shared.repositories.images.delete_image(image).await?;
        match &self.shared.workspaces {
            Some(workspaces) => workspaces.delete(&record.container_id, image).await,
            None => Ok(()),
        }
    }
}

/// Ends the turns that run.
impl Drop for Runtime {
    fn drop(&mut self) {
        let agents = self.agents.get_mut().unwrap_or_else(PoisonError::into_inner);
        for slot in agents.values() {
            if let Some(agent) = slot.try_lock().as_deref().and_then(Option::as_ref) {
                agent.abort();
            }
        }
    }
}

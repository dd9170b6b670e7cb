//! Where containers, images and sessions are kept.

mod inbox;
mod lease;
mod memory;
mod rewound;
mod session;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub use self::{
    inbox::{ApprovalPage, ApprovalRecord, Enqueued, InboxRepository, PendingApproval, QueuedMessage},
    lease::{Fence, Lease, LeaseRepository, LeaseRequest},
    memory::MemoryRepositories,
    rewound::Rewound,
    session::{
        Append, Appended, EventPage, MessagePage, NewEvent, SessionRepository, SessionRepositoryExt,
        StoredEvent, StoredMessage,
    },
};
use crate::{ContainerId, ContainerRecord, ImageId, ImageRecord, Result, SessionRecord};

/// Keeps containers.
#[async_trait]
pub trait ContainerRepository: fmt::Debug + Send + Sync + 'static {
    /// Stores a container, in place of one with the same id.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn save_container(&self, container: &ContainerRecord) -> Result<()>;

    /// The container with this id.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn find_container(&self, id: &ContainerId) -> Result<Option<ContainerRecord>>;

    /// All containers, in the order in which they were created.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn list_containers(&self) -> Result<Vec<ContainerRecord>>;

    /// Removes a container with its images, sessions and messages. Removing what is not there does nothing.
    ///
    /// # Errors
    /// Whatever the store reports; nothing is removed then.
    async fn delete_container(&self, id: &ContainerId) -> Result<()>;
}

/// Keeps images.
#[async_trait]
pub trait ImageRepository: fmt::Debug + Send + Sync + 'static {
    /// Stores a new image together with its session, both or none.
    ///
    /// # Errors
    /// `InvalidInput` for an image and a session that do not name each other, `AlreadyExists` for an id that is taken and
    /// for a key that another image of the container has, `NotFound` for a missing container; whatever the store reports.
    async fn create_image(&self, image: &ImageRecord, session: &SessionRecord) -> Result<()>;

    /// Stores what changed of an image. It stays in its container and keeps its session.
    ///
    /// # Errors
    /// `NotFound` for a missing image, and for one of another container or session; `AlreadyExists` for a key that another
    /// image of the container has; whatever the store reports.
    async fn update_image(&self, image: &ImageRecord) -> Result<()>;

    /// The image with this id.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn find_image(&self, id: &ImageId) -> Result<Option<ImageRecord>>;

    /// The images of a container, in the order in which they were created.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn list_images(&self, container: &ContainerId) -> Result<Vec<ImageRecord>>;

    /// Removes an image with its session and all that belongs to it. Removing what is not there does nothing.
    ///
    /// # Errors
    /// Whatever the store reports; nothing is removed then.
    async fn delete_image(&self, id: &ImageId) -> Result<()>;
}

/// One store for everything: whatever implements the five ports.
pub trait Repository:
    ContainerRepository + ImageRepository + SessionRepository + LeaseRepository + InboxRepository
{
}

impl<T: ContainerRepository + ImageRepository + SessionRepository + LeaseRepository + InboxRepository>
    Repository for T
{
}

/// Everything that a runtime stores in. The parts are of one store: an append looks at the lease.
#[derive(Clone, Debug)]
pub struct Repositories {
    /// Containers.
    pub containers: Arc<dyn ContainerRepository>,
    /// Images.
    pub images: Arc<dyn ImageRepository>,
    /// Sessions, their messages and events.
    pub sessions: Arc<dyn SessionRepository>,
    /// Who may write a session.
    pub leases: Arc<dyn LeaseRepository>,
    /// What reaches a session from outside.
    pub inbox: Arc<dyn InboxRepository>,
}

impl Repositories {
    /// One store for everything.
    pub fn new(store: impl Repository) -> Self {
        Self::shared(Arc::new(store))
    }

    /// One store for everything, which others use as well.
    pub fn shared(store: Arc<impl Repository>) -> Self {
        Self {
            containers: store.clone(),
            images: store.clone(),
            sessions: store.clone(),
            leases: store.clone(),
            inbox: store,
        }
    }

    /// In memory: gone when the last clone is.
    pub fn memory() -> Self {
        Self::new(MemoryRepositories::new())
    }
}

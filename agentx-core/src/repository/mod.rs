//! Where containers, images and sessions are kept.

mod memory;

use std::{fmt, sync::Arc};

use async_trait::async_trait;

pub use self::memory::MemoryRepositories;
use crate::{ContainerId, ContainerRecord, ImageId, ImageRecord, Message, Result, SessionId, SessionRecord};

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
    /// `InvalidInput` for an image and a session that do not name each other, `AlreadyExists` for an id that is taken,
    /// `NotFound` for a missing container; whatever the store reports.
    async fn create_image(&self, image: &ImageRecord, session: &SessionRecord) -> Result<()>;

    /// Stores what changed of an image. It stays in its container and keeps its session.
    ///
    /// # Errors
    /// `NotFound` for a missing image, and for one of another container or session; whatever the store reports.
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

    /// Removes an image with its session and messages. Removing what is not there does nothing.
    ///
    /// # Errors
    /// Whatever the store reports; nothing is removed then.
    async fn delete_image(&self, id: &ImageId) -> Result<()>;
}

/// Keeps sessions and their messages. Messages are only ever added.
#[async_trait]
pub trait SessionRepository: fmt::Debug + Send + Sync + 'static {
    /// The session with this id.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn find_session(&self, id: &SessionId) -> Result<Option<SessionRecord>>;

    /// Adds messages to the end of a session, all or none, and gives the place of the last. When this returns, they
    /// are safe as far as the store can make them so.
    ///
    /// # Errors
    /// `NotFound` for a missing session; `AlreadyExists` for a message id that the session has; whatever the store
    /// reports.
    async fn append_messages(&self, session: &SessionId, messages: &[Message]) -> Result<u64>;

    /// Messages of a session in their order, at most `page.limit`, beginning behind `page.after`.
    ///
    /// # Errors
    /// `Corrupt` for a stored message that can't be read; whatever the store reports.
    async fn list_messages(&self, session: &SessionId, page: MessagePage) -> Result<Vec<StoredMessage>>;
}

/// Which messages of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessagePage {
    /// Only those behind this place.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

impl MessagePage {
    /// The first so many.
    pub fn first(limit: usize) -> Self {
        Self { after: None, limit }
    }

    /// So many behind `after`.
    pub fn after(after: u64, limit: usize) -> Self {
        Self { after: Some(after), limit }
    }
}

/// A message and its place in its session. Places grow; they need not be consecutive.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredMessage {
    /// The message's place.
    pub seq: u64,
    /// The message.
    pub message: Message,
}

impl StoredMessage {
    /// A message at a place.
    pub fn new(seq: u64, message: Message) -> Self {
        Self { seq, message }
    }
}

/// Everything that a runtime stores in.
#[derive(Clone, Debug)]
pub struct Repositories {
    /// Containers.
    pub containers: Arc<dyn ContainerRepository>,
    /// Images.
    pub images: Arc<dyn ImageRepository>,
    /// Sessions and messages.
    pub sessions: Arc<dyn SessionRepository>,
}

impl Repositories {
    /// One store for everything.
    pub fn new(store: impl ContainerRepository + ImageRepository + SessionRepository) -> Self {
        let store = Arc::new(store);
        Self { containers: store.clone(), images: store.clone(), sessions: store }
    }

    /// In memory: gone when the last clone is.
    pub fn memory() -> Self {
        Self::new(MemoryRepositories::new())
    }
}

//! Everything in memory.

mod container;
mod image;
mod inbox;
mod lease;
mod session;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{ApprovalRecord, Lease, NewEvent, QueuedMessage};
use crate::{
    ContainerRecord, Error, ErrorKind, ImageRecord, Message, MessageId, Result, SessionId, SessionRecord,
};

/// Containers, images and sessions in memory: the specification of the repositories, and a store for agents that
/// need none.
#[derive(Debug, Default)]
pub struct MemoryRepositories(Mutex<Store>);

#[derive(Debug, Default)]
struct Store {
    containers: Vec<ContainerRecord>,
    images: Vec<ImageRecord>,
    sessions: BTreeMap<SessionId, Session>,
    /// How many approvals there ever were.
    approvals: u64,
}

#[derive(Debug)]
struct Session {
    record: SessionRecord,
    messages: Vec<Message>,
    message_ids: HashSet<MessageId>,
    events: Vec<NewEvent>,
    /// The last lease, and whether it is held.
    lease: Option<(Lease, bool)>,
    queue: Vec<QueuedMessage>,
    /// Each with its place.
    approvals: Vec<(u64, ApprovalRecord)>,
}

impl Session {
    fn new(record: SessionRecord) -> Self {
        Self {
            record,
            messages: Vec::new(),
            message_ids: HashSet::new(),
            events: Vec::new(),
            lease: None,
            queue: Vec::new(),
            approvals: Vec::new(),
        }
    }
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

impl Store {
    fn session(&mut self, operation: &'static str, id: &SessionId) -> Result<&mut Session> {
        self.sessions.get_mut(id).ok_or_else(|| error(ErrorKind::NotFound, operation, id))
    }
}

fn error(kind: ErrorKind, operation: &'static str, id: impl AsRef<str>) -> Error {
    Error::new(kind, operation).with_path(id.as_ref()).with_provider("memory")
}

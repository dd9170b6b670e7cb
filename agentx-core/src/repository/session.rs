//! Sessions, their messages and their events.

use async_trait::async_trait;

use super::{ApprovalRecord, Fence, Lease, Rewound};
use crate::{
    Error, ErrorKind, EventData, ImageRecord, Message, MessageId, Result, SessionId, SessionRecord,
    Timestamp, TurnId,
};

/// Keeps sessions, their messages and their events. Both are only ever added.
#[async_trait]
pub trait SessionRepository: std::fmt::Debug + Send + Sync + 'static {
    /// The session with this id.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn find_session(&self, id: &SessionId) -> Result<Option<SessionRecord>>;

    /// Adds events to the end of a session, and with them the messages that they tell of; all or nothing. When this
    /// returns, they are safe as far as the store can make them so.
    ///
    /// # Errors
    /// `NotFound` for a missing session; `AlreadyExists` for a message id that the session has; `ConditionFailed` for a
    /// lease that is not current; whatever the store reports. Nothing is added then.
    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended>;

    /// Messages of a session in their order, at most `page.limit`, beginning behind `page.after`.
    ///
    /// # Errors
    /// `NotFound` for a missing session; `Corrupt` for a stored message that can't be read; whatever the store reports.
    async fn list_messages(&self, session: &SessionId, page: MessagePage) -> Result<Vec<StoredMessage>>;

    /// The message with this id.
    ///
    /// # Errors
    /// `Corrupt` for a stored message that can't be read; whatever the store reports.
    async fn find_message(&self, session: &SessionId, id: &MessageId) -> Result<Option<StoredMessage>>;

    /// The last summary or rewind of a session, of those before the place `before`.
    ///
    /// # Errors
    /// `Corrupt` for a stored message that can't be read; whatever the store reports.
    async fn find_mark(&self, session: &SessionId, before: Option<u64>) -> Result<Option<StoredMessage>>;

    /// Events of a session in their order, behind `page.after`: the first `page.limit` of them or the last.
    ///
    /// # Errors
    /// `NotFound` for a missing session; `Corrupt` for a stored event that can't be read; whatever the store reports.
    async fn list_events(&self, session: &SessionId, page: EventPage) -> Result<Vec<StoredEvent>>;

    /// The number of the last event of a session; 0 before the first.
    ///
    /// # Errors
    /// `NotFound` for a missing session; whatever the store reports.
    async fn last_event(&self, session: &SessionId) -> Result<u64>;

    /// Stores a new image whose session begins with the messages of another, up to the place `before` or all, each with
    /// its event, and then the event `session_forked`. What is queued or open there is not copied.
    ///
    /// # Errors
    /// Those of [`ImageRepository::create_image`](super::ImageRepository::create_image); `NotFound` for a missing source
    /// too.
    async fn fork_session(
        &self,
        source: &SessionId,
        before: Option<u64>,
        image: &ImageRecord,
        session: &SessionRecord,
    ) -> Result<()>;
}

/// What is added to a session at once.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Append {
    /// The lease under which it is added.
    pub fence: Fence,
    /// The events. The messages among them are added as messages.
    pub events: Vec<NewEvent>,
    /// Queued messages that are no longer so.
    pub taken: Vec<MessageId>,
    /// Approvals that wait from now on.
    pub approvals: Vec<ApprovalRecord>,
    /// Whether all open approvals of the session are closed: the turn that waited for them is over.
    pub closes_approvals: bool,
}

impl Append {
    /// These events, under no lease.
    pub fn new(events: Vec<NewEvent>) -> Self {
        Self { events, ..Self::default() }
    }

    /// Under this lease.
    pub fn with_fence(mut self, fence: Fence) -> Self {
        self.fence = fence;
        self
    }

    /// Takes these messages from the queue.
    pub fn with_taken(mut self, taken: Vec<MessageId>) -> Self {
        self.taken = taken;
        self
    }

    /// The messages, in their order.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.events.iter().filter_map(|event| event.data.message())
    }
}

/// An event that is to be stored.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewEvent {
    /// When it happened.
    pub timestamp: Timestamp,
    /// The turn, where it belongs to one.
    pub turn_id: Option<TurnId>,
    /// What happened.
    pub data: EventData,
}

impl NewEvent {
    /// An event.
    pub fn new(timestamp: Timestamp, turn_id: Option<TurnId>, data: EventData) -> Self {
        Self { timestamp, turn_id, data }
    }
}

/// What became of an append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The place of the session's last message; 0 before the first.
    pub last_message: u64,
    /// The number of the session's last event; those that were added have the numbers up to it, without a gap. 0 before
    /// the first.
    pub last_event: u64,
    /// Whether the lease was given back.
    pub released: bool,
}

impl Appended {
    /// After an append.
    pub fn new(last_message: u64, last_event: u64, released: bool) -> Self {
        Self { last_message, last_event, released }
    }
}

/// Shorter ways to use a [`SessionRepository`].
#[async_trait]
pub trait SessionRepositoryExt: SessionRepository {
    /// Adds messages under no lease, each with its event, and gives the place of the last.
    ///
    /// # Errors
    /// Those of [`SessionRepository::append`]; `InvalidInput` for a message of an unknown role.
    async fn append_messages(&self, session: &SessionId, messages: &[Message]) -> Result<u64> {
        let event = |message: &Message| {
            let data = EventData::of_message(message.clone()).ok_or_else(|| {
                Error::new(ErrorKind::InvalidInput, "append messages")
                    .with_path(&message.id)
                    .with_message("a message of an unknown role")
            })?;
            Ok(NewEvent::new(message.timestamp, None, data))
        };
        let events = messages.iter().map(event).collect::<Result<_>>()?;
        Ok(self.append(session, &Append::new(events)).await?.last_message)
    }

    /// Moves the end of a lease.
    ///
    /// # Errors
    /// Those of [`SessionRepository::append`].
    async fn renew_lease(&self, session: &SessionId, lease: Lease) -> Result<()> {
        self.append(session, &Append::default().with_fence(Fence::Hold(lease))).await.map(drop)
    }

    /// Gives a lease back, and tells whether it is: it is kept while messages are queued.
    ///
    /// # Errors
    /// Those of [`SessionRepository::append`].
    async fn release_lease(&self, session: &SessionId, lease: Lease) -> Result<bool> {
        Ok(self.append(session, &Append::default().with_fence(Fence::Release(lease))).await?.released)
    }

    /// What the rewinds of a session have cut off.
    ///
    /// # Errors
    /// Those of [`SessionRepository::find_mark`] and [`SessionRepository::find_message`].
    async fn rewound(&self, session: &SessionId) -> Result<Rewound> {
        Rewound::read(self, session).await
    }
}

impl<T: SessionRepository + ?Sized> SessionRepositoryExt for T {}

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

/// Which events of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventPage {
    /// Only those behind this number.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
    /// Whether the last are meant, and not the first.
    pub from_end: bool,
}

impl EventPage {
    /// The first so many behind `after`.
    pub fn after(after: u64, limit: usize) -> Self {
        Self { after, limit, from_end: false }
    }

    /// The last so many.
    pub fn last(limit: usize) -> Self {
        Self { after: 0, limit, from_end: true }
    }
}

/// An event and its number in its session: 1, 2, 3, …
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StoredEvent {
    /// The event's number.
    pub seq: u64,
    /// The event.
    pub event: NewEvent,
}

impl StoredEvent {
    /// An event with its number.
    pub fn new(seq: u64, event: NewEvent) -> Self {
        Self { seq, event }
    }
}

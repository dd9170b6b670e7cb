//! What reaches a session from outside while its agent is at work or at rest.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::{
    ApprovalId, ContainerId, ContentPart, Decision, ImageId, MessageId, Result, SessionId, Timestamp,
    ToolCall, TurnId,
};

/// Keeps messages that wait for their turn, and approvals that wait for an answer. Neither needs the session's lease:
/// anybody may send and answer, from any process.
#[async_trait]
pub trait InboxRepository: std::fmt::Debug + Send + Sync + 'static {
    /// Adds a message to the end of a session's queue, together with the event `conversation_queued`. At most `limit`
    /// wait.
    ///
    /// # Errors
    /// `LimitExceeded` for a full queue; `NotFound` for a missing session; `AlreadyExists` for a message id that waits
    /// already; whatever the store reports. Nothing is added then.
    async fn enqueue_message(
        &self,
        session: &SessionId,
        message: &QueuedMessage,
        limit: usize,
    ) -> Result<Enqueued>;

    /// The messages that wait, at most `limit`, in the order in which they came.
    ///
    /// # Errors
    /// `NotFound` for a missing session; whatever the store reports.
    async fn list_queued(&self, session: &SessionId, limit: usize) -> Result<Vec<QueuedMessage>>;

    /// The approval with this id.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn find_approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRecord>>;

    /// The approvals of a session that are open, answered or not, in the order in which they were asked for.
    ///
    /// # Errors
    /// `NotFound` for a missing session; whatever the store reports.
    async fn list_approvals(&self, session: &SessionId) -> Result<Vec<ApprovalRecord>>;

    /// The approvals of all sessions that wait for an answer, in the order in which they were asked for.
    ///
    /// # Errors
    /// Whatever the store reports.
    async fn list_pending_approvals(&self, page: &ApprovalPage) -> Result<Vec<PendingApproval>>;

    /// Stores the answer to an approval, together with the event `approval_answered`, and gives the approval as it now
    /// is. Of several answers the first counts.
    ///
    /// # Errors
    /// `NotFound` for a missing approval; `ConditionFailed` for one that is answered or whose turn is over;
    /// `InvalidInput` for an answer that decides nothing; whatever the store reports.
    async fn answer_approval(
        &self,
        id: &ApprovalId,
        decision: &Decision,
        now: Timestamp,
    ) -> Result<ApprovalRecord>;
}

/// A user's message that waits for its turn.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct QueuedMessage {
    /// The id that it will have.
    pub id: MessageId,
    /// What the user said.
    pub content: Vec<ContentPart>,
    /// When it came.
    pub timestamp: Timestamp,
    /// What was [sent with](crate::Agent::queue_with) it, for the driver.
    pub options: Option<Arc<Value>>,
}

impl QueuedMessage {
    /// A message that came at `timestamp`.
    pub fn new(id: MessageId, content: Vec<ContentPart>, timestamp: Timestamp) -> Self {
        Self { id, content, timestamp, options: None }
    }

    /// With something for the driver.
    pub fn with_options(mut self, options: Option<Arc<Value>>) -> Self {
        self.options = options;
        self
    }
}

/// What became of a message that was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Enqueued {
    /// How many messages wait before it.
    pub ahead: usize,
    /// The number of its event.
    pub event: u64,
}

impl Enqueued {
    /// Behind so many others.
    pub fn new(ahead: usize, event: u64) -> Self {
        Self { ahead, event }
    }
}

/// An approval as it is stored.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ApprovalRecord {
    /// Its id.
    pub approval_id: ApprovalId,
    /// The session whose agent asks.
    pub session_id: SessionId,
    /// The turn that waits for it.
    pub turn_id: TurnId,
    /// The call, as it would run.
    pub call: ToolCall,
    /// Why it is asked for, for people.
    pub reason: String,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// The answer, and when it was given.
    pub answer: Option<(Decision, Timestamp)>,
    /// Whether its turn is over, so that no answer has an effect any more.
    pub closed: bool,
}

impl ApprovalRecord {
    /// An approval that is open.
    pub fn new(
        approval_id: ApprovalId,
        session_id: SessionId,
        turn_id: TurnId,
        call: ToolCall,
        reason: impl Into<String>,
        created_at: Timestamp,
    ) -> Self {
        let reason = reason.into();
        Self { approval_id, session_id, turn_id, call, reason, created_at, answer: None, closed: false }
    }

    /// Whether it waits for an answer.
    pub fn is_pending(&self) -> bool {
        self.answer.is_none() && !self.closed
    }
}

/// Which of the approvals that wait for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApprovalPage {
    /// Only those of this container.
    pub container: Option<ContainerId>,
    /// Only those behind this place.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

impl ApprovalPage {
    /// The first so many.
    pub fn first(limit: usize) -> Self {
        Self::after(0, limit)
    }

    /// So many behind `after`, the place of an approval.
    pub fn after(after: u64, limit: usize) -> Self {
        Self { container: None, after, limit }
    }

    /// Of those of this container.
    pub fn with_container(mut self, container: ContainerId) -> Self {
        self.container = Some(container);
        self
    }
}

/// An approval that waits for an answer, and whose it is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PendingApproval {
    /// Its place among all approvals of the store. Places grow; they need not be consecutive.
    pub seq: u64,
    /// The container of the image.
    pub container_id: ContainerId,
    /// The image whose agent asks.
    pub image_id: ImageId,
    /// The approval.
    pub approval: ApprovalRecord,
}

impl PendingApproval {
    /// An approval at a place, of the agent of this image.
    pub fn new(seq: u64, container_id: ContainerId, image_id: ImageId, approval: ApprovalRecord) -> Self {
        Self { seq, container_id, image_id, approval }
    }
}

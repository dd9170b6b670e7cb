use std::fmt;

use async_trait::async_trait;

use super::Decision;
use crate::{ApprovalId, Result, ToolCall};

/// Where a driver gets the answers to what a permission leaves open with [`Decision::Ask`]: from a runtime, which keeps
/// each open approval until somebody answers it.
///
/// 1. A driver takes a new id, tells
///    [`DriverEvent::ApprovalRequested`](crate::DriverEvent::ApprovalRequested), and asks for the answer when it is next
///    polled. Whoever consumes the turn has stored the request by then.
/// 2. Several answers may be waited for at the same time. Dropping the future ends the wait, and nothing else.
#[async_trait]
pub trait Approvals: fmt::Debug + Send + Sync + 'static {
    /// An id for one more approval.
    fn fresh_id(&self) -> ApprovalId;

    /// Waits for the answer. It fails closed: an error denies the call, and so does [`Decision::Ask`].
    ///
    /// # Errors
    /// Whatever keeps the answer from coming.
    async fn answer(&self, approval: &ApprovalId) -> Result<Decision>;
}

/// A call that waits for somebody's approval.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ApprovalRequest {
    /// The approval.
    pub approval: ApprovalId,
    /// The call, as it would run.
    pub call: ToolCall,
    /// Why it is asked for, for people.
    pub reason: String,
}

impl ApprovalRequest {
    /// A request.
    pub fn new(approval: ApprovalId, call: ToolCall, reason: impl Into<String>) -> Self {
        Self { approval, call, reason: reason.into() }
    }
}

/// A call of the history's last assistant message that has no result yet and never began. A turn that resumes deals with
/// it before it asks the model.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ResumedCall {
    /// The call, as its approval was asked for; as the model made it, where none was.
    pub call: ToolCall,
    /// How it stands.
    pub state: Resumed,
}

impl ResumedCall {
    /// A call that stands so.
    pub fn new(call: ToolCall, state: Resumed) -> Self {
        Self { call, state }
    }
}

/// How a [`ResumedCall`] stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Resumed {
    /// Nobody has decided on it: it is put to the permission, as a new call is.
    Undecided,
    /// It waits for this approval, which was told before. It is waited for again, and not told again.
    Pending(ApprovalId),
    /// It was decided on.
    Decided(Decision),
}

//! The answers that tool calls wait for: stored by whoever answers, and seen here.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{
    channel::oneshot,
    future::{self},
};

use super::Shared;
use crate::{ApprovalId, Approvals, Decision, Error, ErrorKind, Result};

/// How often the store is asked for an answer that another process may have given.
const INTERVAL: Duration = Duration::from_secs(2);

/// Who waits in this process.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<ApprovalId, Vec<oneshot::Sender<()>>>>);

impl Waiting {
    fn wait(&self, approval: &ApprovalId) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever gave up waiting is forgotten.
        waiting.retain(|_, senders| {
            senders.retain(|sender| !sender.is_canceled());
            !senders.is_empty()
        });
        waiting.entry(approval.clone()).or_default().push(sender);
        receiver
    }

    /// Wakes those who wait for this answer, and tells whether there were any.
    pub(super) fn wake(&self, approval: &ApprovalId) -> bool {
        let senders = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(approval);
        let woken = senders.into_iter().flatten().filter_map(|sender| sender.send(()).ok());
        woken.count() > 0
    }
}

/// The approvals of a runtime's turns.
pub(super) struct StoredApprovals(pub(super) Arc<Shared>);

#[async_trait]
impl Approvals for StoredApprovals {
    fn fresh_id(&self) -> ApprovalId {
        ApprovalId::fresh(&*self.0.host.ids)
    }

    async fn answer(&self, approval: &ApprovalId) -> Result<Decision> {
        loop {
            // Before the store is asked, so that no answer comes in between.
            let answered = self.0.waiting.wait(approval);
            let stored = self.0.repositories.inbox.find_approval(approval).await?;
            match stored {
                Some(stored) if stored.closed => {
                    return Err(error(ErrorKind::Cancelled, approval, "its turn is over"));
                }
                Some(stored) => {
                    if let Some((decision, _)) = stored.answer {
                        return Ok(decision);
                    }
                }
                None => return Err(error(ErrorKind::NotFound, approval, "it is not stored")),
            }
            future::select(answered, self.0.host.clock.sleep(INTERVAL)).await;
        }
    }
}

fn error(kind: ErrorKind, approval: &ApprovalId, problem: &'static str) -> Error {
    Error::new(kind, "wait for approval").with_path(approval).with_message(problem)
}

impl fmt::Debug for StoredApprovals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredApprovals")
    }
}

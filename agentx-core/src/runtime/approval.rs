//! The answers that tool calls wait for: stored by whoever answers, and seen by those who wait.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt, channel::oneshot, future};

use super::{Agent, Runtime, Shared, watch::is_passing};
use crate::{
    ApprovalId, ApprovalPage, ApprovalRecord, Approvals, Decision, Error, ErrorKind, ImageId,
    PendingApproval, Result, ToolCall,
};

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
            match self.0.repositories.inbox.find_approval(approval).await {
                Ok(Some(stored)) if stored.closed => {
                    return Err(error(ErrorKind::Cancelled, approval, "its turn is over"));
                }
                Ok(Some(stored)) => {
                    if let Some((decision, _)) = stored.answer {
                        return Ok(decision);
                    }
                }
                Ok(None) => return Err(error(ErrorKind::NotFound, approval, "it is not stored")),
                // A store that fails for a moment has not said no.
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
            future::select(answered, self.0.host.clock.sleep(INTERVAL)).await;
        }
    }
}

impl Runtime {
    /// The approvals that wait for an answer, of a container or of all, page by page. No agent is opened for it.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn approvals(&self, page: &ApprovalPage) -> Result<Vec<PendingApproval>> {
        self.shared.repositories.inbox.list_pending_approvals(page).await
    }

    /// Answers an approval, whichever process asks for it. The answer is stored; a turn that waits for it here goes on,
    /// one of another process sees it within seconds, and one whose process is gone is taken up here, when its lease has
    /// ended. Dropping the future changes nothing: what was answered is stored, and acted on.
    ///
    /// # Errors
    /// `NotFound` for a missing approval; `ConditionFailed` for one that is answered or whose turn is over;
    /// `InvalidInput` for [`Decision::Ask`], and for an input that is no JSON object or nested more than 100 deep;
    /// `Cancelled` where the host gave it up; whatever the store reports.
    pub async fn answer(&self, approval: &ApprovalId, decision: Decision) -> Result<ApprovalRecord> {
        let (shared, agents) = (Arc::clone(&self.shared), Arc::clone(&self.agents));
        let approval = approval.clone();
        self.in_task(async move {
            let (answered, is_awaited) = shared.put_answer(&approval, &decision).await?;
            if let Some(image) = shared.image_of(&answered).await? {
                Agent::new(agents.run(&shared, &image, None).await?).answered(is_awaited).await?;
            }
            Ok(answered)
        })
        .await
    }

    /// Answers an approval and opens no agent for it: where others run the agents, and this is where people look at what
    /// they ask. A turn that waits for the answer goes on, in this process or another; without one, whoever has the agent
    /// open when its lease ends, or opens it next, takes it up.
    ///
    /// # Errors
    /// Those of [`Runtime::answer`].
    pub async fn store_answer(&self, approval: &ApprovalId, decision: Decision) -> Result<ApprovalRecord> {
        let (shared, agents) = (Arc::clone(&self.shared), Arc::clone(&self.agents));
        let approval = approval.clone();
        self.in_task(async move {
            let (answered, is_awaited) = shared.put_answer(&approval, &decision).await?;
            if let Some(image) = shared.image_of(&answered).await?
                && let Some(agent) = agents.find(&image)
            {
                Agent::new(agent).answered(is_awaited).await?;
            }
            Ok(answered)
        })
        .await
    }

    /// Leaves this to the host: whoever asked for it may no longer wait.
    async fn in_task(
        &self,
        work: impl Future<Output = Result<ApprovalRecord>> + Send + 'static,
    ) -> Result<ApprovalRecord> {
        let (done, is_done) = oneshot::channel();
        self.shared.host.spawn.spawn(async move { drop(done.send(work.await)) }.boxed());
        let given_up =
            |_| Err(Error::new(ErrorKind::Cancelled, "answer approval").with_message("its host gave it up"));
        is_done.await.unwrap_or_else(given_up)
    }
}

impl Shared {
    /// Stores an answer, and tells whether somebody waits for it here.
    async fn put_answer(&self, approval: &ApprovalId, decision: &Decision) -> Result<(ApprovalRecord, bool)> {
        // What no call could run with would be known only when the answer can't be changed any more.
        if let Decision::AllowWith(input) = decision
            && !ToolCall::is_input(input)
        {
            return Err(Error::new(ErrorKind::InvalidInput, "answer approval")
                .with_path(approval)
                .with_message("the input is not a JSON object nested at most 100 deep"));
        }
        let answered = self.repositories.inbox.answer_approval(approval, decision, self.host.now()).await?;
        Ok((answered, self.waiting.wake(approval)))
    }

    async fn image_of(&self, approval: &ApprovalRecord) -> Result<Option<ImageId>> {
        let session = self.repositories.sessions.find_session(&approval.session_id).await?;
        Ok(session.map(|session| session.image_id))
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

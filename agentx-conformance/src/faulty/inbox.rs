use std::sync::PoisonError;

use agentx_core::{
    Append, Appended, ApprovalId, ApprovalPage, ApprovalRecord, Decision, Enqueued, ErrorKind, Fence,
    InboxRepository, Lease, LeaseRepository, LeaseRequest, PendingApproval, QueuedMessage, Result, SessionId,
    SessionRepository as _, Timestamp,
};
use async_trait::async_trait;

use super::{RepositoryFault as Fault, dawdle, repository::FaultyRepositories};

impl FaultyRepositories {
    /// An append with a fault of leases.
    pub(super) async fn under_lease(&self, session: &SessionId, mut append: Append) -> Result<Appended> {
        match (self.fault, append.fence.clone()) {
            (Fault::KeepsLeaseEnd, Fence::Hold(lease)) => {
                let until = self.inner.find_lease(session).await?.map(|lease| lease.until);
                append.fence =
                    Fence::Hold(Lease::new(lease.token, lease.holder, until.unwrap_or(lease.until)));
            }
            (Fault::RetakesAlways, Fence::Retake(lease)) | (Fault::BeginsAlways, Fence::Begin(lease)) => {
                let request = LeaseRequest::new(lease.holder, Timestamp::from_millis(1 << 50), lease.until);
                append.fence = Fence::Hold(self.inner.acquire_lease(session, &request).await?);
            }
            (Fault::ReleasesQueued, Fence::Release(lease)) => {
                let queued = self.inner.list_queued(session, usize::MAX).await?;
                let taken = queued.iter().map(|message| message.id.clone()).collect();
                let emptied = Append::default().with_fence(Fence::Hold(lease)).with_taken(taken);
                self.inner.append(session, &emptied).await?;
            }
            _ => {}
        }
        self.inner.append(session, &append).await
    }
}

#[async_trait]
impl LeaseRepository for FaultyRepositories {
    async fn acquire_lease(&self, session: &SessionId, request: &LeaseRequest) -> Result<Lease> {
        let mut request = request.clone();
        match self.fault {
            Fault::SharesLeases => {
                request.last = self.inner.find_lease(session).await?.map(|lease| lease.token);
            }
            Fault::RacyLease if self.inner.find_lease(session).await?.is_none() => {
                dawdle().await;
                request.last = self.inner.find_lease(session).await?.map(|lease| lease.token);
            }
            Fault::EndlessLease => request.now = Timestamp::default(),
            Fault::ForgetsLastHolder => request.last = None,
            _ => {}
        }
        self.inner.acquire_lease(session, &request).await
    }

    async fn find_lease(&self, session: &SessionId) -> Result<Option<Lease>> {
        self.inner.find_lease(session).await
    }
}

#[async_trait]
impl InboxRepository for FaultyRepositories {
    async fn enqueue_message(
        &self,
        session: &SessionId,
        message: &QueuedMessage,
        mut limit: usize,
    ) -> Result<Enqueued> {
        match self.fault {
            Fault::EndlessQueue => limit = usize::MAX,
            Fault::RacyQueue if self.inner.list_queued(session, limit).await?.len() < limit => {
                dawdle().await;
                limit = usize::MAX;
            }
            Fault::LeavesQueue => {
                let mut queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
                queued.push((session.clone(), message.clone()));
            }
            _ => {}
        }
        match self.inner.enqueue_message(session, message, limit).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists && self.has(Fault::IgnoresQueued) => {
                Ok(Enqueued::new(0, 1))
            }
            queued => queued,
        }
    }

    async fn list_queued(&self, session: &SessionId, limit: usize) -> Result<Vec<QueuedMessage>> {
        let mut queued = self.inner.list_queued(session, limit).await?;
        if self.has(Fault::LastInFirstOut) {
            queued.reverse();
        }
        if self.has(Fault::ForgetsOptions) {
            for message in &mut queued {
                message.options = None;
            }
        }
        if self.has(Fault::LeavesQueue) && queued.is_empty() {
            let left = self.queued.lock().unwrap_or_else(PoisonError::into_inner);
            let left = left.iter().filter(|(other, _)| other == session);
            queued.extend(left.map(|(_, message)| message.clone()));
        }
        Ok(queued)
    }

    async fn find_approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRecord>> {
        self.inner.find_approval(id).await
    }

    async fn list_approvals(&self, session: &SessionId) -> Result<Vec<ApprovalRecord>> {
        let mut approvals = self.inner.list_approvals(session).await?;
        if self.has(Fault::SortsApprovals) {
            approvals.sort_by(|a, b| a.approval_id.cmp(&b.approval_id));
        }
        Ok(approvals)
    }

    async fn list_pending_approvals(&self, page: &ApprovalPage) -> Result<Vec<PendingApproval>> {
        let mut page = page.clone();
        if self.has(Fault::ListsEveryContainer) {
            page.container = None;
        }
        self.inner.list_pending_approvals(&page).await
    }

    async fn answer_approval(
        &self,
        id: &ApprovalId,
        decision: &Decision,
        now: Timestamp,
    ) -> Result<ApprovalRecord> {
        let found = self.inner.find_approval(id).await?;
        let was_open = found.as_ref().is_some_and(ApprovalRecord::is_pending);
        if self.has(Fault::RacyAnswer) {
            dawdle().await;
        }
        match (self.inner.answer_approval(id, decision, now).await, found) {
            (Err(error), Some(found)) if error.kind() == ErrorKind::ConditionFailed => {
                let counts = self.has(Fault::LastAnswerCounts) || self.has(Fault::RacyAnswer) && was_open;
                if counts && !found.closed { Ok(found) } else { Err(error) }
            }
            (answered, _) => answered,
        }
    }
}

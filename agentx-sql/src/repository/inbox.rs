use agentx_core::{
    ApprovalId, ApprovalPage, ApprovalRecord, ContainerId, Decision, Enqueued, InboxRepository,
    PendingApproval, QueuedMessage, Result, SessionId, Timestamp,
};
use async_trait::async_trait;

use super::{SqlRepositories, approval, column, queue, told};
use crate::Statement;

#[async_trait]
impl InboxRepository for SqlRepositories {
    async fn enqueue_message(
        &self,
        session: &SessionId,
        message: &QueuedMessage,
        limit: usize,
    ) -> Result<Enqueued> {
        let operation = "queue message";
        let batch = queue::add(operation, session, message, limit)?;
        let results = self.executor.execute(batch).await;
        let results = results.map_err(|error| told(&error, operation, message.id.as_str()))?;
        queue::added(operation, session, &results, limit)
    }

    async fn list_queued(&self, session: &SessionId, limit: usize) -> Result<Vec<QueuedMessage>> {
        self.page("list queue", session, queue::LIST, 0, limit, queue::stored).await
    }

    async fn find_approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRecord>> {
        let statement = Statement::new(approval::FIND).bind(id.as_str());
        let rows = self.run("find approval", id.as_str(), vec![statement]).await?;
        rows.first().map(approval::record).transpose()
    }

    async fn list_approvals(&self, session: &SessionId) -> Result<Vec<ApprovalRecord>> {
        self.page("list approvals", session, approval::LIST, 0, usize::MAX, approval::record).await
    }

    async fn list_pending_approvals(&self, page: &ApprovalPage) -> Result<Vec<PendingApproval>> {
        let statement = Statement::new(approval::LIST_PENDING)
            .bind(column::clamped(page.after))
            .bind(page.container.as_ref().map(ContainerId::as_str))
            .bind(column::clamped(page.limit as u64));
        let rows = self.run("list pending approvals", "approvals", vec![statement]).await?;
        rows.iter().map(approval::pending).collect()
    }

    async fn answer_approval(
        &self,
        id: &ApprovalId,
        decision: &Decision,
        now: Timestamp,
    ) -> Result<ApprovalRecord> {
        let operation = "answer approval";
        let batch = approval::answer(operation, id, decision, now)?;
        let results = self.executor.execute(batch).await;
        let results = results.map_err(|error| told(&error, operation, id.as_str()))?;
        approval::answered(operation, id, &results)
    }
}

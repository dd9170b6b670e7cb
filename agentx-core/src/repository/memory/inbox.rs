use async_trait::async_trait;

use super::{MemoryRepositories, Session, error};
use crate::{
    ApprovalId, ApprovalPage, ApprovalRecord, Decision, Enqueued, ErrorKind, EventData, InboxRepository,
    NewEvent, PendingApproval, QueuedMessage, Result, SessionId, Timestamp,
};

#[async_trait]
impl InboxRepository for MemoryRepositories {
    async fn enqueue_message(
        &self,
        session: &SessionId,
        message: &QueuedMessage,
        limit: usize,
    ) -> Result<Enqueued> {
        let operation = "queue message";
        let mut store = self.lock();
        let stored = store.session(operation, session)?;
        let ahead = stored.queue.len();
        if stored.queue.iter().any(|queued| queued.id == message.id) {
            return Err(error(ErrorKind::AlreadyExists, operation, &message.id));
        }
        if ahead >= limit {
            return Err(error(ErrorKind::LimitExceeded, operation, session)
                .with_message(format!("{ahead} messages wait, and no more than {limit} may")));
        }
        stored.queue.push(message.clone());
        let queued = EventData::ConversationQueued { message_id: message.id.clone() };
        stored.events.push(NewEvent::new(message.timestamp, None, queued));
        Ok(Enqueued::new(ahead, stored.events.len() as u64))
    }

    async fn list_queued(&self, session: &SessionId, limit: usize) -> Result<Vec<QueuedMessage>> {
        Ok(self.lock().session("list queue", session)?.queue.iter().take(limit).cloned().collect())
    }

    async fn find_approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRecord>> {
        let store = self.lock();
        let approvals = store.sessions.values().flat_map(|session| &session.approvals);
        Ok(approvals.map(|(_, approval)| approval).find(|approval| approval.approval_id == *id).cloned())
    }

    async fn list_approvals(&self, session: &SessionId) -> Result<Vec<ApprovalRecord>> {
        let mut store = self.lock();
        let approvals = &store.session("list approvals", session)?.approvals;
        let approvals = approvals.iter().map(|(_, approval)| approval);
        Ok(approvals.filter(|approval| !approval.closed).cloned().collect())
    }

    async fn list_pending_approvals(&self, page: &ApprovalPage) -> Result<Vec<PendingApproval>> {
        let store = self.lock();
        let sessions = store.sessions.values().filter(|session| {
            page.container.as_ref().is_none_or(|container| session.record.container_id == *container)
        });
        let approvals =
            sessions.flat_map(|session| session.approvals.iter().map(move |found| (session, found)));
        let pending = approvals.filter(|(_, (seq, approval))| approval.is_pending() && *seq > page.after);
        let mut pending: Vec<_> = pending
            .map(|(Session { record, .. }, (seq, approval))| {
                let (container, image) = (record.container_id.clone(), record.image_id.clone());
                PendingApproval::new(*seq, container, image, approval.clone())
            })
            .collect();
        pending.sort_by_key(|pending| pending.seq);
        pending.truncate(page.limit);
        Ok(pending)
    }

    async fn answer_approval(
        &self,
        id: &ApprovalId,
        decision: &Decision,
        now: Timestamp,
    ) -> Result<ApprovalRecord> {
        let operation = "answer approval";
        if matches!(decision, Decision::Ask(_)) {
            return Err(error(ErrorKind::InvalidInput, operation, id).with_message("it decides nothing"));
        }
        let mut store = self.lock();
        let sessions = store.sessions.values_mut();
        let found = sessions.into_iter().find_map(|session| {
            let mut approvals = session.approvals.iter_mut().map(|(_, approval)| approval);
            Some((approvals.find(|approval| approval.approval_id == *id)?, &mut session.events))
        });
        let (approval, events) = found.ok_or_else(|| error(ErrorKind::NotFound, operation, id))?;
        if !approval.is_pending() {
            let problem = if approval.closed { "its turn is over" } else { "it was answered before" };
            return Err(error(ErrorKind::ConditionFailed, operation, id).with_message(problem));
        }
        approval.answer = Some((decision.clone(), now));
        let answered = EventData::ApprovalAnswered { approval_id: id.clone(), decision: decision.clone() };
        events.push(NewEvent::new(now, Some(approval.turn_id.clone()), answered));
        Ok(approval.clone())
    }
}

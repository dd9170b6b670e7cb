//! A store that fails for a moment, while a turn waits.

use std::sync::atomic::AtomicUsize;

use agentx_core::{
    Append, Appended, ApprovalId, ApprovalRecord, Enqueued, Error, EventPage, Fence, ImageRecord,
    InboxRepository, PendingApproval, QueuedMessage, Retry, SessionId, SessionRecord, StoredEvent,
    StoredMessage,
};
use agentx_resource::memory::ManualClock;

use super::*;

/// Fails as often as is left, where an approval is looked at and where a lease is renewed.
#[derive(Clone, Debug)]
struct Failing {
    store: Arc<MemoryRepositories>,
    left: Arc<AtomicUsize>,
    retry: Retry,
}

impl Failing {
    fn new(retry: Retry) -> Self {
        Self { store: Arc::default(), left: Arc::default(), retry }
    }

    fn runtime(&self, clock: &ManualClock, echo: Echo, judge: impl Permission) -> Runtime {
        let repositories = Repositories {
            sessions: Arc::new(self.clone()),
            inbox: Arc::new(self.clone()),
            ..Repositories::shared(self.store.clone())
        };
        let host = Host::new(Arc::new(clock.clone()), Arc::new(Threads), Arc::new(SequentialIds::new()));
        Runtime::builder(echo_once(), host)
            .repositories(repositories)
            .tool(Arc::new(echo))
            .permission(Arc::new(judge))
            .build()
            .unwrap()
    }

    fn fails(&self, operation: &'static str) -> Result<()> {
        let one_less = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(Error::new(ErrorKind::Unavailable, operation).with_retry(self.retry)),
            Err(_) => Ok(()),
        }
    }

    fn has_failed(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

#[async_trait]
impl SessionRepository for Failing {
    async fn find_session(&self, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.store.find_session(id).await
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended> {
        if matches!(append.fence, Fence::Hold(_)) && append.events.is_empty() {
            self.fails("renew lease")?;
        }
        self.store.append(session, append).await
    }

    async fn list_messages(&self, session: &SessionId, page: MessagePage) -> Result<Vec<StoredMessage>> {
        self.store.list_messages(session, page).await
    }

    async fn find_message(&self, session: &SessionId, id: &MessageId) -> Result<Option<StoredMessage>> {
        self.store.find_message(session, id).await
    }

    async fn find_mark(&self, session: &SessionId, before: Option<u64>) -> Result<Option<StoredMessage>> {
        self.store.find_mark(session, before).await
    }

    async fn list_events(&self, session: &SessionId, page: EventPage) -> Result<Vec<StoredEvent>> {
        self.store.list_events(session, page).await
    }

    async fn last_event(&self, session: &SessionId) -> Result<u64> {
        self.store.last_event(session).await
    }

    async fn fork_session(
        &self,
        source: &SessionId,
        before: Option<u64>,
        image: &ImageRecord,
        session: &SessionRecord,
    ) -> Result<()> {
        self.store.fork_session(source, before, image, session).await
    }
}

#[async_trait]
impl InboxRepository for Failing {
    async fn enqueue_message(
        &self,
        session: &SessionId,
        message: &QueuedMessage,
        limit: usize,
    ) -> Result<Enqueued> {
        self.store.enqueue_message(session, message, limit).await
    }

    async fn list_queued(&self, session: &SessionId, limit: usize) -> Result<Vec<QueuedMessage>> {
        self.store.list_queued(session, limit).await
    }

    async fn find_approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRecord>> {
        self.fails("find approval")?;
        self.store.find_approval(id).await
    }

    async fn list_approvals(&self, session: &SessionId) -> Result<Vec<ApprovalRecord>> {
        self.store.list_approvals(session).await
    }

    async fn list_pending_approvals(&self, page: &ApprovalPage) -> Result<Vec<PendingApproval>> {
        self.store.list_pending_approvals(page).await
    }

    async fn answer_approval(
        &self,
        id: &ApprovalId,
        decision: &Decision,
        now: Timestamp,
    ) -> Result<ApprovalRecord> {
        self.store.answer_approval(id, decision, now).await
    }
}

#[test]
fn an_approval_that_can_not_be_looked_at_for_a_moment_is_not_denied() {
    block_on(async {
        for (retry, said) in
            [(Retry::After(None), r#"it is {"x":1}"#), (Retry::Never, "The approval did not come")]
        {
            let failing = Failing::new(retry);
            failing.left.store(1, Ordering::SeqCst);
            let runtime = failing.runtime(&ManualClock::default(), Echo::new(), Asks);
            let (agent, turn) = asked(&runtime).await;
            while !failing.has_failed() {
                std::thread::yield_now();
            }
            if retry != Retry::Never {
                let approval = agent.approvals().await.unwrap().remove(0);
                runtime.answer(&approval.approval_id, Decision::Allow).await.unwrap();
            }
            turn.finish().await.unwrap();
            let last = texts(&agent).await.pop().unwrap();
            assert!(last.contains(said), "{last}");
        }
    });
}

#[test]
fn a_lease_that_can_not_be_renewed_for_a_moment_ends_no_turn() {
    block_on(async {
        for (retry, failure) in [(Retry::After(None), None), (Retry::Never, Some(ErrorKind::Unavailable))] {
            let (failing, clock, (echo, open)) = (Failing::new(retry), ManualClock::default(), Echo::gated());
            let runtime = failing.runtime(&clock, echo, agentx_core::AllowAll);
            let (_agent, turn) = at_work(&runtime).await;
            failing.left.store(1, Ordering::SeqCst);
            while !failing.has_failed() {
                clock.advance(Duration::from_secs(1));
                std::thread::yield_now();
            }
            // A turn that has failed drops its tools.
            let _ = open.send(());
            assert_eq!(turn.finish().await.err().map(|error| error.kind()), failure);
        }
    });
}

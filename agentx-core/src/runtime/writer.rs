//! The right to write a session, and what is written under it.

use std::{pin::pin, sync::Arc};

use agentx_resource::BoxFuture;
use futures::future::{self, Either};

use super::{Shared, core::AgentCore, history, watch::is_passing};
use crate::{
    Append, Appended, ApprovalRecord, Error, ErrorKind, EventData, Fence, Lease, LeaseRequest, Message,
    MessageId, NewEvent, Result, Timestamp, TurnId,
};

/// Holds the session's lease, and knows what a model is shown of the session.
pub(super) struct Writer {
    agent: Arc<AgentCore>,
    lease: Lease,
    /// How the lease is still to be taken, with the first append.
    to_take: Option<fn(Lease) -> Fence>,
    pub(super) history: Vec<Message>,
    renewal: Renewal,
}

/// When the lease is to be renewed. Each append puts it off. To set a timer anew each time would cost more than to look
/// again when it is over.
struct Renewal {
    due: Timestamp,
    timer: BoxFuture<'static, ()>,
}

/// What is stored together with events.
#[derive(Default)]
pub(super) struct With {
    pub(super) taken: Vec<MessageId>,
    pub(super) approvals: Vec<ApprovalRecord>,
    pub(super) closes_approvals: bool,
    /// Whether the lease is given back.
    pub(super) releases: bool,
}

impl Writer {
    /// Of an agent that had the lease last, with this token, or whose session is new: it is taken with the first append,
    /// which fails with `ConditionFailed` where somebody else had it since.
    pub(super) fn again(agent: Arc<AgentCore>, last: Option<u64>, history: Vec<Message>) -> Self {
        let (token, to_take): (_, fn(_) -> _) = match last {
            Some(last) => (last + 1, Fence::Retake),
            None => (1, Fence::Begin),
        };
        let lease = Lease::new(token, &*agent.shared.holder, Timestamp::default());
        let renewal = Renewal::new(&agent.shared);
        Self { agent, lease, to_take: Some(to_take), history, renewal }
    }

    /// Takes the lease, and reads what a model is shown.
    pub(super) async fn acquire(agent: Arc<AgentCore>) -> Result<Self> {
        let (shared, session) = (&agent.shared, &agent.context.session_id);
        let now = shared.host.now();
        let request = LeaseRequest::new(&*shared.holder, now, now.after(shared.lease_time));
        let request = request.with_last(agent.token());
        let lease = shared.repositories.leases.acquire_lease(session, &request).await?;
        agent.set_token(lease.token);
        let renewal = Renewal::new(shared);
        let mut writer = Self { agent, lease, to_take: None, history: Vec::new(), renewal };
        if let Err(error) = writer.reload().await {
            writer.abandon().await;
            return Err(error);
        }
        Ok(writer)
    }

    /// Reads anew what a model is shown.
    pub(super) async fn reload(&mut self) -> Result<()> {
        let sessions = &*self.agent.shared.repositories.sessions;
        self.history = history::load(sessions, &self.agent.context.session_id).await?;
        Ok(())
    }

    pub(super) fn agent(&self) -> &Arc<AgentCore> {
        &self.agent
    }

    /// Whether somebody else may have had the lease since this agent had it.
    pub(super) fn is_unproved(&self) -> bool {
        self.to_take.is_some()
    }

    /// Stores those of the events that are stored, and gives the number of the first; none where there was nothing to
    /// store.
    pub(super) async fn append(
        &mut self,
        at: Timestamp,
        turn: Option<&TurnId>,
        events: &[EventData],
        with: With,
    ) -> Result<(Option<u64>, Appended)> {
        let mut append = Append::new(Vec::new());
        for event in events.iter().filter(|event| event.is_stored()) {
            append.events.push(NewEvent::new(at, turn.cloned(), event.clone()));
        }
        let count = append.events.len() as u64;
        if count == 0 && !with.releases && !with.closes_approvals && with.taken.is_empty() {
            return Ok((None, Appended::default()));
        }
        (append.taken, append.approvals) = (with.taken, with.approvals);
        append.closes_approvals = with.closes_approvals;
        if count > 0 {
            self.agent.bus.hold();
        }
        let sent = self.send(&mut append, with.releases).await;
        let appended = sent.inspect_err(|_| self.agent.bus.release())?;
        for message in append.events.into_iter().filter_map(|event| event.data.into_message()) {
            history::add(&mut self.history, message);
        }
        let first = (count > 0).then_some((appended.last_event + 1).saturating_sub(count));
        Ok((first, appended))
    }

    async fn send(&mut self, append: &mut Append, releases: bool) -> Result<Appended> {
        let shared = &self.agent.shared;
        // One who goes leaves the queue to whoever comes next, without a wait.
        let time = if releases && self.agent.is_closed() { None } else { Some(shared.lease_time) };
        self.lease.until = time.map_or_else(Timestamp::default, |time| shared.host.now().after(time));
        let lease = self.lease.clone();
        append.fence = match (self.to_take, releases) {
            (Some(take), _) => take(lease),
            (None, false) => Fence::Hold(lease),
            (None, true) => Fence::Release(lease),
        };
        let appended = shared.repositories.sessions.append(&self.agent.context.session_id, append).await?;
        if self.to_take.take().is_some() {
            self.agent.set_token(self.lease.token);
        }
        self.renewal.due = due(&self.agent.shared);
        Ok(appended)
    }

    /// Whether it is time to renew the lease.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        now >= self.renewal.due
    }

    /// Waits until it is time to renew the lease.
    pub(super) async fn renewal(&mut self) {
        let shared = &self.agent.shared;
        loop {
            (&mut self.renewal.timer).await;
            let left = self.renewal.due.since(shared.host.now());
            // Where the clock was set back, no longer than a renewal may take.
            let next = shared.lease_time / RENEWALS;
            self.renewal.timer = shared.host.clock.sleep(if left.is_zero() { next } else { left.min(next) });
            if left.is_zero() {
                return;
            }
        }
    }

    /// Moves the end of the lease. A store that fails for a moment is asked again when the next renewal is due: what is
    /// stored until then is refused where somebody else has taken the session.
    pub(super) async fn renew(&mut self) -> Result<()> {
        match self.send(&mut Append::default(), false).await {
            Err(error) if is_passing(&error) => Ok(()),
            renewed => renewed.map(drop),
        }
    }

    /// Holds the lease during some long work, which is dropped where the lease is lost.
    pub(super) async fn hold_during(&mut self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let mut work = pin!(work);
        loop {
            match future::select(&mut work, pin!(self.renewal())).await {
                Either::Left((done, _)) => return done,
                Either::Right(((), _)) => {}
            }
            self.renew().await?;
        }
    }

    /// Gives the lease back, unless messages are queued; tells whether it is.
    pub(super) async fn release(&mut self) -> Result<bool> {
        Ok(self.send(&mut Append::default(), true).await?.released)
    }

    /// Lets somebody else have the lease at once, and look what is open. A store that fails keeps the lease until it ends.
    pub(super) async fn abandon(&mut self) {
        if self.to_take.is_none() {
            let _ = self.agent.abandon(self.lease.token).await;
        }
    }
}

/// How often a lease is renewed in its time.
const RENEWALS: u32 = 3;

impl Renewal {
    fn new(shared: &Shared) -> Self {
        Self { due: due(shared), timer: shared.host.clock.sleep(shared.lease_time / RENEWALS) }
    }
}

/// When a lease that was renewed now is to be renewed again.
fn due(shared: &Shared) -> Timestamp {
    shared.host.now().after(shared.lease_time / RENEWALS)
}

/// Whether an append failed since another process has the session.
pub(super) fn is_lost(error: &Error) -> bool {
    error.kind() == ErrorKind::ConditionFailed
}

/// The error of a turn whose agent has lost the lease.
pub(super) fn lost(error: Error) -> Error {
    if !is_lost(&error) {
        return error;
    }
    Error::new(ErrorKind::ConditionFailed, "run turn")
        .with_message("another process has taken the session over, and goes on with it")
        .with_source(error)
}

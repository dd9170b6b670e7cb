//! The agent behind all its handles: what it holds, and who may change it.

use std::{
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{self, AbortHandle, Either},
};

use super::{
    Shared,
    bus::Bus,
    control::{Control, Stop, turn_control},
    events::{Done, TurnReport},
    spent::SessionSpent,
    subscription::Subscription,
};
use crate::{
    AgentId, AgentState, Cursor, Error, ErrorKind, EventContext, EventData, ImageRecord, Lease, Message,
    Result, Retry, SessionRepositoryExt as _, Timestamp, ToolSet,
};

/// How long an agent that is closed may take to give its lease back.
pub(super) const CLOSE_TIME: Duration = Duration::from_secs(5);

/// The agent itself. Its turns hold it, and so they outlive every handle. At rest it is this, and nothing else.
#[derive(Debug)]
pub(super) struct AgentCore {
    pub(super) shared: Arc<Shared>,
    pub(super) context: Arc<EventContext>,
    /// What its next turn goes by.
    pub(super) image: Mutex<ImageRecord>,
    pub(super) tools: ToolSet,
    pub(super) bus: Arc<Bus>,
    status: Mutex<Status>,
}

#[derive(Debug, Default)]
struct Status {
    state: AgentState,
    /// Boxed: an agent at rest is small.
    running: Option<Box<Running>>,
    /// The token of the last lease that this agent had.
    token: Option<u64>,
    /// What a model is shown of the session, as of that lease, or of a session that is new.
    history: Option<Box<[Message]>>,
    /// What its turns have spent, where that is bounded.
    spent: Option<Box<SessionSpent>>,
    /// Looks on while another process has the session.
    watch: Option<AbortHandle>,
    /// Whether somebody asked for work while a turn was ending.
    wanted: bool,
    closed: bool,
    /// Whether what waits for approvals is left to the next who opens the image.
    leaves: bool,
}

/// A turn, and those behind it that have the same lease.
#[derive(Debug)]
struct Running {
    stop: Option<oneshot::Sender<Stop>>,
    done: Done,
    abort: AbortHandle,
}

impl Running {
    fn tell(&mut self, stop: Stop) {
        if let Some(told) = self.stop.take() {
            // A turn that has just ended no longer listens, and needs no telling.
            let _ = told.send(stop);
        }
    }
}

impl AgentCore {
    /// An agent at rest, whose session has so many events, and nobody's lease where `is_free`.
    pub(super) fn new(
        shared: Arc<Shared>,
        id: AgentId,
        image: ImageRecord,
        tools: ToolSet,
        last_event: u64,
        is_free: bool,
    ) -> Self {
        let context = Arc::new(EventContext::new(
            image.container_id.clone(),
            image.image_id.clone(),
            id,
            image.session_id.clone(),
        ));
        let bus = Arc::new(Bus::behind(last_event));
        let history = (is_free && last_event == 0).then(Box::default);
        let status = Mutex::new(Status { history, ..Status::default() });
        Self { shared, context, image: Mutex::new(image), tools, bus, status }
    }

    /// What is known of what the session's turns have spent. One turn at a time asks.
    pub(super) fn take_spent(&self) -> SessionSpent {
        self.lock().spent.take().map(|spent| *spent).unwrap_or_default()
    }

    pub(super) fn keep_spent(&self, spent: SessionSpent) {
        self.lock().spent = Some(Box::new(spent));
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> AgentState {
        self.lock().state.clone()
    }

    pub(super) fn set_state(&self, state: AgentState) {
        self.lock().state = state;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Whether it waits for approvals, and no turn waits with it.
    pub(super) fn awaits_at_rest(&self) -> bool {
        let status = self.lock();
        status.state == AgentState::AwaitingApproval && status.running.is_none()
    }

    pub(super) fn token(&self) -> Option<u64> {
        self.lock().token
    }

    /// Whether a turn that waits for approvals is to be left as it stands.
    pub(super) fn leaves(&self) -> bool {
        self.lock().leaves
    }

    /// This agent has the lease, with this token.
    pub(super) fn set_token(&self, token: u64) {
        let mut status = self.lock();
        status.token = Some(token);
        status.is_back();
    }

    /// Nobody has the session.
    pub(super) fn is_free(&self) {
        self.lock().is_back();
    }

    /// Another process has the session, on which `watch` is to look on; false where somebody does already, or where this
    /// agent is at work or gone.
    pub(super) fn is_elsewhere(&self, watch: AbortHandle) -> bool {
        let mut status = self.lock();
        if status.closed || status.running.is_some() {
            return false;
        }
        status.state = AgentState::Elsewhere;
        if status.watch.is_some() {
            return false;
        }
        status.watch = Some(watch);
        true
    }

    /// The last lease's token, and what a model was shown then; no token where the session is new.
    pub(super) fn take_history(&self) -> Option<(Option<u64>, Vec<Message>)> {
        let mut status = self.lock();
        Some((status.token, status.history.take()?.into_vec()))
    }

    pub(super) fn keep_history(&self, history: Vec<Message>) {
        self.lock().history = Some(history.into_boxed_slice());
    }

    pub(super) fn subscribe(&self, seen: Option<Cursor>) -> Subscription {
        let sessions = self.shared.repositories.sessions.clone();
        Subscription::new(self.bus.clone(), self.context.clone(), sessions, seen)
    }

    /// Takes the agent for one turn and those that are queued behind it.
    pub(super) fn occupy(self: &Arc<Self>, operation: &'static str) -> Result<(Guard, Control)> {
        let (abort, registration) = AbortHandle::new_pair();
        let (turn, done, stopped) = turn_control();
        let mut status = self.lock();
        if status.closed {
            return Err(gone(operation));
        }
        if status.running.is_some() {
            let problem = match status.state {
                AgentState::AwaitingApproval => "the turn that is under way waits for an approval",
                _ => "a turn is under way",
            };
            return Err(Error::new(ErrorKind::Busy, operation)
                .with_path(&self.context.image_id)
                .with_message(problem)
                .with_retry(Retry::After(None)));
        }
        let running = Running { stop: Some(turn.stop), done: done.clone(), abort };
        status.running = Some(Box::new(running));
        drop(status);
        self.bus.set_busy(true);
        let guard = Guard { agent: Some(self.clone()), report: Some(turn.report) };
        Ok((guard, Control { done, stopped, registration }))
    }

    /// Notes that there is work, for whoever holds the agent. False where nobody does.
    pub(super) fn want(&self) -> bool {
        let mut status = self.lock();
        status.wanted = status.running.is_some();
        status.wanted
    }

    pub(super) fn publish(
        &self,
        state: AgentState,
        at: Timestamp,
        context: &Arc<EventContext>,
        events: impl IntoIterator<Item = EventData>,
        first: Option<u64>,
    ) {
        self.lock().state = state;
        self.bus.publish(at, context, events, first);
    }

    /// Interrupts the turn that runs, if one does, and waits for its end. False where none does.
    pub(super) async fn interrupt(&self) -> bool {
        let done = {
            let mut status = self.lock();
            let Some(running) = &mut status.running else { return false };
            running.tell(Stop::Interrupt);
            running.done.clone()
        };
        // An error means that the turn was given up, and so it is over too.
        let _ = done.await;
        true
    }

    /// Takes no more messages, ends the turn that is under way, and tells so.
    pub(super) async fn close(&self, reason: &str) {
        {
            let mut status = self.lock();
            status.closed = true;
            status.is_back();
        }
        self.interrupt().await;
        self.tell_end(reason);
    }

    /// Takes no more messages, waits for the turn that is under way until `patience` is over, or not at all where it waits
    /// for approvals, and then leaves it as it stands. When this returns, the lease is given back.
    pub(super) async fn leave(
        self: &Arc<Self>,
        reason: &str,
        mut patience: impl Future<Output = ()> + Unpin,
    ) -> Result<()> {
        let (done, waits) = {
            let mut status = self.lock();
            (status.closed, status.leaves) = (true, true);
            status.is_back();
            let waits = status.state == AgentState::AwaitingApproval;
            (status.running.as_ref().map(|running| running.done.clone()), waits)
        };
        if let Some(turn) = done.clone().filter(|_| !waits) {
            future::select(turn, &mut patience).await;
        }
        if let Some(turn) = done {
            if let Some(running) = &mut self.lock().running {
                running.tell(Stop::Leave);
            }
            if let Either::Right(_) = future::select(turn, self.shared.host.clock.sleep(CLOSE_TIME)).await {
                self.abort(reason);
                return Err(self.keeps_lease());
            }
        }
        self.tell_end(reason);
        if self.token().is_none() {
            return Ok(());
        }
        match future::select(pin!(self.ensure_free()), self.shared.host.clock.sleep(CLOSE_TIME)).await {
            Either::Left((free, _)) => free,
            Either::Right(_) => Err(self.keeps_lease()),
        }
    }

    fn keeps_lease(&self) -> Error {
        Error::new(ErrorKind::TimedOut, "close agent")
            .with_path(&self.context.image_id)
            .with_message("the store did not take its lease back in 5 s")
    }

    /// Ends what lease this runtime still has, as where the end of a turn could not be stored.
    async fn ensure_free(&self) -> Result<()> {
        let lease = self.shared.repositories.leases.find_lease(&self.context.session_id).await;
        match lease {
            Ok(Some(lease)) if lease.holder == self.shared.holder && lease.until > self.shared.host.now() => {
                self.abandon(lease.token).await
            }
            // The session was deleted.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            lease => lease.map(drop),
        }
    }

    /// Takes no more messages, and gives up the turn that is under way, where it stands. The session is made whole
    /// when it is next opened, which need not wait for the lease to end.
    pub(super) fn abort(self: &Arc<Self>, reason: &str) {
        let mut status = self.lock();
        status.closed = true;
        status.is_back();
        let (running, token) = (mem::take(&mut status.running), status.token);
        drop(status);
        if let Some(running) = running {
            running.abort.abort();
            if let Some(token) = token {
                let core = self.clone();
                let mut abandoned = async move { drop(core.abandon(token).await) }.boxed();
                // Many stores need no more than this.
                if (&mut abandoned).now_or_never().is_none() {
                    self.shared.host.spawn.spawn(abandoned);
                }
            }
        }
        self.tell_end(reason);
    }

    /// Ends the lease now, without giving it back: whoever comes next takes it over and looks what is open.
    pub(super) async fn abandon(&self, token: u64) -> Result<()> {
        let lease = Lease::new(token, &*self.shared.holder, Timestamp::default());
        self.shared.repositories.sessions.renew_lease(&self.context.session_id, lease).await
    }

    fn tell_end(&self, reason: &str) {
        self.lock().has_left();
        let stopped =
            EventData::AgentStopped { agent_id: self.context.agent_id.clone(), reason: reason.to_owned() };
        self.bus.close(self.shared.host.now(), &self.context, stopped);
    }
}

/// A turn that is over and stored, but not yet told of.
pub(super) struct Finished {
    pub(super) state: AgentState,
    pub(super) at: Timestamp,
    pub(super) context: Arc<EventContext>,
    pub(super) events: Vec<EventData>,
    /// The number of the first stored event.
    pub(super) first: Option<u64>,
    pub(super) report: TurnReport,
    pub(super) then: Then,
}

/// What follows the end of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The lease was given back with it.
    Rest,
    /// Messages are queued.
    Queued,
    /// It could not be stored.
    Broken,
    /// It could not be stored: another process has the session.
    Elsewhere,
}

/// Frees the agent however its turns end, also when the host drops them.
pub(super) struct Guard {
    agent: Option<Arc<AgentCore>>,
    report: Option<oneshot::Sender<TurnReport>>,
}

impl Guard {
    /// Tells the end of a turn behind which another follows at once, which is stopped by what this gives. An agent that
    /// was closed meanwhile has no further turn.
    pub(super) fn next_turn(
        &mut self,
        finished: Finished,
    ) -> Result<oneshot::Receiver<Stop>, Option<Box<Finished>>> {
        let Some(agent) = &self.agent else { return Err(None) };
        let (turn, done, stopped) = turn_control();
        let mut status = agent.lock();
        if status.closed {
            return Err(Some(Box::new(finished)));
        }
        if let Some(running) = &mut status.running {
            running.stop = Some(turn.stop);
            running.done = done;
        }
        drop(status);
        let Finished { state, at, context, events, first, report, .. } = finished;
        agent.publish(state, at, &context, events, first);
        if let Some(told) = self.report.replace(turn.report) {
            // Nobody may be waiting for it.
            let _ = told.send(report);
        }
        Ok(stopped)
    }

    /// Tells the end of the last turn. The agent is free before anybody can hear of the end, so that whoever hears of it
    /// can send at once.
    pub(super) fn finish(mut self, finished: Finished) {
        let Finished { state, at, context, events, first, report, .. } = finished;
        if let Some(agent) = self.agent.take() {
            let mut status = agent.lock();
            status.running = None;
            status.state = state;
            agent.bus.publish(at, &context, events, first);
            drop(status);
            agent.bus.set_busy(false);
            agent.go_on();
        }
        if let Some(told) = self.report.take() {
            let _ = told.send(report);
        }
    }

    /// Frees an agent that has no turn to tell of.
    pub(super) fn rest(mut self, state: AgentState) {
        if let Some(agent) = self.agent.take() {
            let mut status = agent.lock();
            status.running = None;
            status.state = state;
            drop(status);
            agent.bus.set_busy(false);
            agent.go_on();
        }
    }
}

impl Status {
    /// A turn that was left as it is stored is not at work here any more.
    fn has_left(&mut self) {
        use AgentState as S;
        if matches!(self.state, S::Thinking | S::Responding | S::PlanningTool | S::AwaitingToolResult) {
            self.state = S::Idle;
        }
    }

    /// No other process has the session any more, or nobody cares.
    fn is_back(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        if self.state == AgentState::Elsewhere {
            self.state = AgentState::Idle;
        }
    }
}

impl AgentCore {
    /// Looks for work that was wanted while the agent was about to rest.
    fn go_on(self: &Arc<Self>) {
        if mem::take(&mut self.lock().wanted) {
            super::shift::start_waiting_work(self);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            let mut status = agent.lock();
            status.running = None;
            status.state = AgentState::Error;
            drop(status);
            agent.bus.set_busy(false);
        }
    }
}

/// What was asked for was given up: the agent is closed, or its host dropped the turn.
pub(super) fn gone(operation: &'static str) -> Error {
    Error::new(ErrorKind::Cancelled, operation)
        .with_message("the agent is gone, or its host gave the turn up")
}

impl Drop for AgentCore {
    fn drop(&mut self) {
        self.lock().is_back();
        self.tell_end("stopped");
    }
}

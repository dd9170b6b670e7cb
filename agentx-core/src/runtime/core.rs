//! The agent behind all its handles: what it holds, and who may change it.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{AbortHandle, AbortRegistration},
};

use super::{
    Shared,
    bus::{Bus, Subscription},
    events::{Done, TurnReport},
    history,
};
use crate::{
    AgentId, AgentState, Error, ErrorKind, EventContext, EventData, ImageRecord, Result, Timestamp, ToolSet,
};

/// The agent itself. Its turns hold it, and so they outlive every handle.
#[derive(Debug)]
pub(super) struct AgentCore {
    pub(super) shared: Arc<Shared>,
    pub(super) context: EventContext,
    pub(super) image: ImageRecord,
    pub(super) tools: ToolSet,
    pub(super) bus: Arc<Bus>,
    status: Mutex<Status>,
}

#[derive(Debug, Default)]
struct Status {
    state: AgentState,
    running: Option<RunningTurn>,
    closed: bool,
}

#[derive(Debug)]
struct RunningTurn {
    interrupt: Option<oneshot::Sender<()>>,
    done: Done,
    abort: AbortHandle,
}

impl AgentCore {
    pub(super) async fn open(shared: Arc<Shared>, image: ImageRecord) -> Result<Self> {
        let mut tools = match &shared.workspaces {
            Some(workspaces) => workspaces.open(&image.container_id, &image.image_id).await?,
            None => Vec::new(),
        };
        tools.extend(shared.tools.iter().cloned());
        let tools = ToolSet::of(tools)?;
        history::load(&*shared.repositories.sessions, &image.session_id, &shared.host).await?;
        let context = EventContext::new(
            image.container_id.clone(),
            image.image_id.clone(),
            AgentId::fresh(&*shared.host.ids),
            image.session_id.clone(),
        );
        Ok(Self { shared, context, image, tools, bus: Arc::default(), status: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn state(&self) -> AgentState {
        self.lock().state.clone()
    }

    pub(super) fn subscribe(&self, seen: u64) -> Subscription {
        Subscription::new(self.bus.clone(), Arc::new(self.context.clone()), seen)
    }

    /// Takes the agent for one turn.
    pub(super) fn occupy(self: &Arc<Self>) -> Result<(TurnGuard, TurnControl)> {
        let (interrupt, interrupted) = oneshot::channel();
        let (report, done) = oneshot::channel();
        let (abort, registration) = AbortHandle::new_pair();
        let done = done.shared();
        let mut status = self.lock();
        if status.closed {
            return Err(gone("send message"));
        }
        if status.running.is_some() {
            return Err(Error::new(ErrorKind::Busy, "send message")
                .with_path(&self.context.image_id)
                .with_message("a turn is under way"));
        }
        status.running = Some(RunningTurn { interrupt: Some(interrupt), done: done.clone(), abort });
        status.state = AgentState::Thinking;
        drop(status);
        let guard = TurnGuard { agent: Some(self.clone()), report: Some(report) };
        Ok((guard, TurnControl { done, interrupted, registration }))
    }

    pub(super) fn publish(
        &self,
        state: AgentState,
        at: Timestamp,
        context: &Arc<EventContext>,
        events: Vec<EventData>,
    ) {
        self.lock().state = state;
        self.bus.publish(at, context, events);
    }

    pub(super) async fn interrupt(&self) {
        let done = {
            let mut status = self.lock();
            let Some(running) = &mut status.running else { return };
            if let Some(interrupt) = running.interrupt.take() {
                // A turn that has just ended no longer listens, and needs no telling.
                let _ = interrupt.send(());
            }
            running.done.clone()
        };
        // An error means that the turn was given up, and so it is over too.
        let _ = done.await;
    }

    /// Takes no more messages, and ends the turn that is under way.
    pub(super) async fn close(&self) {
        self.lock().closed = true;
        self.interrupt().await;
        self.bus.close();
    }

    /// Takes no more messages, and gives up the turn that is under way, where it stands. The session is made whole
    /// when it is next opened.
    pub(super) fn abort(&self) {
        let mut status = self.lock();
        status.closed = true;
        let running = mem::take(&mut status.running);
        drop(status);
        if let Some(running) = running {
            running.abort.abort();
        }
        self.bus.close();
    }
}

/// What a turn is told from outside, and what outside is told of it.
pub(super) struct TurnControl {
    pub(super) done: Done,
    pub(super) interrupted: oneshot::Receiver<()>,
    pub(super) registration: AbortRegistration,
}

/// A turn that is over and stored, but not yet told of.
pub(super) struct Finished {
    pub(super) state: AgentState,
    pub(super) at: Timestamp,
    pub(super) context: Arc<EventContext>,
    pub(super) events: Vec<EventData>,
    pub(super) report: TurnReport,
}

/// Frees the agent however its turn ends, also when the host drops it.
pub(super) struct TurnGuard {
    agent: Option<Arc<AgentCore>>,
    report: Option<oneshot::Sender<TurnReport>>,
}

impl TurnGuard {
    /// Tells the end of the turn. The agent is free before anybody can hear of the end, so that whoever hears of it can
    /// send at once.
    pub(super) fn finish(mut self, finished: Finished) {
        let Finished { state, at, context, events, report } = finished;
        if let Some(agent) = self.agent.take() {
            let mut status = agent.lock();
            status.running = None;
            status.state = state;
            agent.bus.publish(at, &context, events);
        }
        if let Some(told) = self.report.take() {
            // Nobody may be waiting for it.
            let _ = told.send(report);
        }
    }
}

impl Drop for TurnGuard {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            let mut status = agent.lock();
            status.running = None;
            status.state = AgentState::Error;
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
        self.bus.close();
    }
}

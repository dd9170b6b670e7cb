use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{
    FutureExt,
    channel::oneshot,
    future::{AbortHandle, Abortable, Shared as SharedFuture},
};

use super::{
    Shared,
    bus::{Bus, Subscription},
    history,
    turn::{self, TurnEvents, TurnReport},
};
use crate::{
    AgentId, AgentState, ContentPart, Error, ErrorKind, EventContext, EventData, ImageId, ImageRecord,
    Message, Result, SessionId, Timestamp, ToolSet, TurnId,
};

/// A running agent: the live end of an image's conversation. Cheap to clone; all clones are the same agent.
///
/// At rest it is a few hundred bytes of data: no task, no thread.
#[derive(Clone, Debug)]
pub struct Agent {
    core: Arc<AgentCore>,
}

impl Agent {
    pub(super) fn new(core: Arc<AgentCore>) -> Self {
        Self { core }
    }

    /// The agent's id; another each time that its image is run.
    pub fn id(&self) -> &AgentId {
        &self.core.context.agent_id
    }

    /// The image that it runs.
    pub fn image_id(&self) -> &ImageId {
        &self.core.context.image_id
    }

    /// Its session.
    pub fn session_id(&self) -> &SessionId {
        &self.core.context.session_id
    }

    /// What it is doing.
    pub fn state(&self) -> AgentState {
        self.core.lock().state
    }

    /// Sends a text, and begins a turn that answers it.
    ///
    /// # Errors
    /// Those of [`Agent::send_parts`].
    pub async fn send(&self, text: impl Into<String>) -> Result<TurnEvents> {
        self.send_parts(vec![ContentPart::text(text)]).await
    }

    /// Sends a message, and begins a turn that answers it. When this returns, the message is stored. The turn goes on
    /// whether or not its events are read.
    ///
    /// # Errors
    /// `InvalidInput` for a message without content, `Busy` while a turn is under way, `Cancelled` when the agent is
    /// gone; whatever the store reports. The message is then not part of the session.
    pub async fn send_parts(&self, content: Vec<ContentPart>) -> Result<TurnEvents> {
        if content.iter().all(|part| part.as_text().is_some_and(|text| text.trim().is_empty())) {
            return Err(
                Error::new(ErrorKind::InvalidInput, "send message").with_message("the message is empty")
            );
        }
        self.core.clone().begin(content).await
    }

    /// Sends a text, waits for the end of the turn, and gives the model's last words.
    ///
    /// # Errors
    /// Those of [`Agent::send`] and of [`TurnEvents::finish`].
    pub async fn ask(&self, text: impl Into<String>) -> Result<TurnReport> {
        self.send(text).await?.finish().await
    }

    /// Ends the turn that is under way, if there is one, and waits until it is over and stored.
    pub async fn interrupt(&self) {
        self.core.interrupt().await;
    }

    /// All events from now on.
    pub fn subscribe(&self) -> Subscription {
        let seen = self.core.bus.last();
        self.core.subscribe(seen)
    }

    /// All events behind `seen` (an [`Event::seq`](crate::Event::seq)), as far as they are still in memory.
    pub fn subscribe_from(&self, seen: u64) -> Subscription {
        self.core.subscribe(seen.min(self.core.bus.last()))
    }

    /// All messages of the session, oldest first.
    ///
    /// # Errors
    /// Whatever the store reports.
    pub async fn history(&self) -> Result<Vec<Message>> {
        history::read(&*self.core.shared.repositories.sessions, self.session_id()).await
    }
}

/// The agent itself. Its turns hold it, and so they outlive every [`Agent`].
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

/// The end of a turn; an error where it was given up without one.
pub(super) type Done = SharedFuture<oneshot::Receiver<TurnReport>>;

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

    fn subscribe(&self, seen: u64) -> Subscription {
        Subscription::new(self.bus.clone(), Arc::new(self.context.clone()), seen)
    }

    /// Reserves the agent and hands the turn to the host. The turn is the host's from here on: dropping this future
    /// changes nothing.
    async fn begin(self: Arc<Self>, content: Vec<ContentPart>) -> Result<TurnEvents> {
        let turn_id = TurnId::fresh(&*self.shared.host.ids);
        let (interrupt, interrupted) = oneshot::channel();
        let (report, done) = oneshot::channel();
        let (stored, is_stored) = oneshot::channel();
        let (abort, registration) = AbortHandle::new_pair();
        let done = done.shared();
        {
            let mut status = self.lock();
            if status.closed {
                return Err(gone());
            }
            if status.running.is_some() {
                return Err(Error::new(ErrorKind::Busy, "send message")
                    .with_path(&self.context.image_id)
                    .with_message("a turn is under way"));
            }
            status.running = Some(RunningTurn { interrupt: Some(interrupt), done: done.clone(), abort });
            status.state = AgentState::Thinking;
        }
        let events = TurnEvents::new(self.subscribe(self.bus.last()), turn_id.clone(), done);
        let (agent, release) = (self.clone(), Release(Some(self.clone())));
        let task = async move {
            // Whoever sent the message may no longer wait for `stored`; the turn goes on all the same.
            match turn::begin(agent, turn_id, content).await {
                Ok(turn) => {
                    let _ = stored.send(Ok(()));
                    release.rest(turn.drive(interrupted).await, report);
                }
                Err(error) => {
                    drop(release);
                    let _ = stored.send(Err(error));
                }
            }
        };
        self.shared.host.spawn.spawn(Abortable::new(task, registration).map(drop).boxed());
        is_stored.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(events)
    }

    /// Tells the end of a turn. The agent is free before anybody can hear of the end, so that whoever hears of it can
    /// send at once.
    fn rest(&self, finished: turn::Finished, report: oneshot::Sender<TurnReport>) {
        let turn::Finished { state, at, context, events, report: told } = finished;
        let mut status = self.lock();
        status.running = None;
        status.state = state;
        self.bus.publish(at, &context, events);
        drop(status);
        // Nobody may be waiting for the report.
        let _ = report.send(told);
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

/// Frees the agent however its turn ends, also when the host drops it.
struct Release(Option<Arc<AgentCore>>);

impl Release {
    fn rest(mut self, finished: turn::Finished, report: oneshot::Sender<TurnReport>) {
        if let Some(agent) = self.0.take() {
            agent.rest(finished, report);
        }
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some(agent) = self.0.take() {
            let mut status = agent.lock();
            status.running = None;
            status.state = AgentState::Error;
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Cancelled, "send message").with_message("the runtime is gone")
}

impl Drop for AgentCore {
    fn drop(&mut self) {
        self.bus.close();
    }
}

//! The agents that run.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use agentx_core::{Agent, AgentId, AgentState, ContainerId, Cursor, ImageId, Runtime};
use futures::{Stream, StreamExt, stream};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{Owner, failure::Failure, quota::Gate, wire::FramesOf};

/// How many agents may begin to run before whoever listens for them looks.
const STARTED: usize = 256;

/// How many agents are let go before those that wait to run another one have their turn.
const AT_ONCE: usize = 64;

/// Of so many agents that were let go it is known which image they ran.
const FORMER: usize = 10_000;

/// An agent that runs, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct RunningAgent {
    pub(crate) agent: Agent,
    pub(crate) container: ContainerId,
    /// What its events look like on the wire.
    pub(crate) frames: Arc<FramesOf>,
    /// The place before anything that it does.
    pub(crate) from: Cursor,
    /// Whoever listens to it.
    pub(crate) listeners: Gate,
    owner: Owner,
}

/// What whoever listens for agents is told.
#[derive(Debug)]
pub(crate) enum Started {
    /// This one runs.
    Agent(Box<RunningAgent>),
    /// Some run that it was not told of.
    Missed,
}

/// The agents that run, and who is told when another one does.
#[derive(Debug, Default)]
pub(crate) struct Running {
    state: Mutex<State>,
    /// Held alone while agents are let go: whoever runs one of them meanwhile would have it taken away.
    letting_go: tokio::sync::RwLock<()>,
}

#[derive(Debug, Default)]
struct State {
    agents: HashMap<AgentId, Entry>,
    /// The agent of each image.
    images: HashMap<ImageId, AgentId>,
    listeners: HashMap<Owner, broadcast::Sender<RunningAgent>>,
    former: FormerAgents,
}

/// What agents that were let go had run, the oldest first.
#[derive(Debug, Default)]
struct FormerAgents {
    agents: HashMap<AgentId, Former>,
    order: VecDeque<AgentId>,
}

/// What an agent that was let go had run.
#[derive(Clone, Debug)]
pub(crate) struct Former {
    pub(crate) image: ImageId,
    pub(crate) container: ContainerId,
    owner: Owner,
}

impl FormerAgents {
    fn insert(&mut self, agent: AgentId, former: Former) {
        if self.order.len() >= FORMER
            && let Some(oldest) = self.order.pop_front()
        {
            self.agents.remove(&oldest);
        }
        self.order.push_back(agent.clone());
        self.agents.insert(agent, former);
    }

    fn forget(&mut self, image: &ImageId) {
        self.agents.retain(|_, former| former.image != *image);
        self.order.retain(|agent| self.agents.contains_key(agent));
    }
}

/// An agent, and when it was asked for last.
#[derive(Debug)]
struct Entry {
    running: RunningAgent,
    used: Instant,
}

impl Entry {
    fn use_now(&mut self) -> RunningAgent {
        self.used = Instant::now();
        self.running.clone()
    }

    /// Whether nobody would miss it.
    fn is_idle(&self, idle: Duration) -> bool {
        self.used.elapsed() >= idle
            && self.running.listeners.count() == 0
            && self.running.agent.state() == AgentState::Idle
    }
}

impl Running {
    /// The agent of an image, and whether it ran before.
    pub(crate) async fn run(
        &self,
        runtime: &Runtime,
        owner: &Owner,
        container: &ContainerId,
        image: &ImageId,
    ) -> Result<(RunningAgent, bool), Failure> {
        let _staying = self.letting_go.read().await;
        let agent = runtime.run(image).await?;
        let mut state = self.lock();
        if let Some(entry) = state.agents.get_mut(agent.id()) {
            return Ok((entry.use_now(), true));
        }
        // Of an image there is one: what ran before is gone.
        if let Some(before) = state.images.insert(image.clone(), agent.id().clone()) {
            state.agents.remove(&before);
        }
        let listeners = Gate::default();
        let running = RunningAgent {
            from: agent.subscribe().cursor(),
            agent,
            container: container.clone(),
            frames: Arc::new(FramesOf::new(listeners.clone())),
            listeners,
            owner: owner.clone(),
        };
        let entry = Entry { running: running.clone(), used: Instant::now() };
        state.agents.insert(running.agent.id().clone(), entry);
        if let Some(listeners) = state.listeners.get(owner) {
            // Without a listener there is nobody to tell.
            drop(listeners.send(running.clone()));
        }
        Ok((running, false))
    }

    /// The agent of this id, where it is the owner's.
    pub(crate) fn find(&self, owner: &Owner, id: &str) -> Option<RunningAgent> {
        let mut state = self.lock();
        state.agents.get_mut(id).filter(|entry| entry.running.owner == *owner).map(Entry::use_now)
    }

    /// Those of all owners that are at work.
    pub(crate) fn at_work(&self) -> Vec<Agent> {
        let is_at_work =
            |agent: &&Agent| !matches!(agent.state(), AgentState::Idle | AgentState::AwaitingApproval);
        let state = self.lock();
        state.agents.values().map(|entry| &entry.running.agent).filter(is_at_work).cloned().collect()
    }

    /// What an agent of this id had run, where it was the owner's and was let go.
    pub(crate) fn former(&self, owner: &Owner, id: &str) -> Option<Former> {
        self.lock().former.agents.get(id).filter(|former| former.owner == *owner).cloned()
    }

    /// The agents of an owner, in the order of their ids.
    pub(crate) fn of(&self, owner: &Owner) -> Vec<RunningAgent> {
        let state = self.lock();
        let own = state.agents.values().map(|entry| &entry.running).filter(|running| running.owner == *owner);
        let mut found: Vec<_> = own.cloned().collect();
        found.sort_by(|one, other| one.agent.id().cmp(other.agent.id()));
        found
    }

    /// Looks at each agent of an owner.
    pub(crate) fn each(&self, owner: &Owner, mut look: impl FnMut(&Agent)) {
        let state = self.lock();
        let own = state.agents.values().map(|entry| &entry.running).filter(|running| running.owner == *owner);
        own.for_each(|running| look(&running.agent));
    }

    /// The agent of an image, where it runs and is the owner's.
    pub(crate) fn of_image(&self, owner: &Owner, image: &ImageId) -> Option<RunningAgent> {
        let state = self.lock();
        let found = state.images.get(image).and_then(|agent| state.agents.get(agent));
        found.map(|entry| &entry.running).filter(|running| running.owner == *owner).cloned()
    }

    /// Lets those agents go that do nothing, that nobody listens to, and that nobody asked for in this time: what is left
    /// of each is its rows. Whoever was given one before may still use it within the time.
    pub(crate) async fn let_go(&self, runtime: &Runtime, idle: Duration) {
        loop {
            let _alone = self.letting_go.write().await;
            let gone = self.take_idle(idle);
            for image in &gone {
                runtime.stop(image).await;
            }
            if gone.len() < AT_ONCE {
                return;
            }
        }
    }

    fn take_idle(&self, idle: Duration) -> Vec<ImageId> {
        let mut state = self.lock();
        let entries = state.agents.values().filter(|entry| entry.is_idle(idle)).take(AT_ONCE);
        let gone: Vec<ImageId> = entries.map(|entry| entry.running.agent.image_id().clone()).collect();
        for image in &gone {
            if let Some(agent) = state.images.remove(image)
                && let Some(Entry { running, .. }) = state.agents.remove(&agent)
            {
                let RunningAgent { container, owner, .. } = running;
                state.former.insert(agent, Former { image: image.clone(), container, owner });
            }
        }
        gone
    }

    /// Forgets the agents of an image, also those that were let go.
    pub(crate) fn remove(&self, image: &ImageId) {
        let mut state = self.lock();
        state.former.forget(image);
        if let Some(agent) = state.images.remove(image) {
            state.agents.remove(&agent);
        }
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.lock().agents.len()
    }

    /// The agents of `owner` that begin to run from now on.
    pub(crate) fn listen(&self, owner: &Owner) -> impl Stream<Item = Started> + Send + 'static {
        let mut state = self.lock();
        state.listeners.retain(|_, sender| sender.receiver_count() > 0);
        let sender = state.listeners.entry(owner.clone()).or_insert_with(|| broadcast::channel(STARTED).0);
        let started = stream::unfold(sender.subscribe(), |mut receiver| async move {
            let started = match receiver.recv().await {
                Ok(running) => Started::Agent(Box::new(running)),
                Err(RecvError::Lagged(_)) => Started::Missed,
                Err(RecvError::Closed) => return None,
            };
            Some((started, receiver))
        });
        started.fuse()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The agents that run.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use agentx_core::{Agent, AgentId, AgentState, ContainerId, Cursor, ImageId, ImageRecord, Runtime};
use futures::{Stream, StreamExt, stream};
use tokio::sync::broadcast::{self, error::RecvError};

use super::identity::agent_id;
use crate::{Owner, failure::Failure, quota::Gate, wire::FramesOf};

/// How many agents may begin to run before whoever listens for them looks.
const STARTED: usize = 256;

/// How many agents are let go before those that wait to run another one have their turn.
const AT_ONCE: usize = 64;

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
    /// The agent of each image.
    agents: HashMap<ImageId, Entry>,
    /// The images of an owner's agents. An id is its owner's alone: two may choose the same.
    ids: HashMap<Owner, BTreeMap<AgentId, ImageId>>,
    listeners: HashMap<Owner, broadcast::Sender<RunningAgent>>,
}

impl State {
    /// The agents of an owner, in the order of their ids.
    fn of(&self, owner: &Owner) -> impl Iterator<Item = &RunningAgent> {
        let images = self.ids.get(owner).into_iter().flat_map(BTreeMap::values);
        images.filter_map(|image| self.agents.get(image)).map(|entry| &entry.running)
    }

    fn insert(&mut self, running: RunningAgent) {
        let (id, image) = (running.agent.id().clone(), running.agent.image_id().clone());
        self.ids.entry(running.owner.clone()).or_default().insert(id, image.clone());
        self.agents.insert(image, Entry { running, used: Instant::now() });
    }

    fn remove(&mut self, image: &ImageId) {
        let Some(Entry { running, .. }) = self.agents.remove(image) else { return };
        if let Some(ids) = self.ids.get_mut(&running.owner) {
            // Unless another image's agent was given this id meanwhile.
            if ids.get(running.agent.id()) == Some(image) {
                ids.remove(running.agent.id());
            }
            if ids.is_empty() {
                self.ids.remove(&running.owner);
            }
        }
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
    /// The agent of an image of the owner's, and whether it ran before.
    pub(crate) async fn run(
        &self,
        runtime: &Runtime,
        owner: &Owner,
        image: &ImageRecord,
    ) -> Result<(RunningAgent, bool), Failure> {
        let _staying = self.letting_go.read().await;
        let agent = runtime.run_as(&image.image_id, &agent_id(image)?).await?;
        let (running, ran) = self.enter(owner, image, agent);
        if ran {
            return Ok((running, ran));
        }
        // Whoever ends an id stores that first, and then looks for the agent: one of both sees the other.
        let id = agent_id(image)?;
        match runtime.image(&image.image_id).await? {
            Some(now) if agent_id(&now)? == id => Ok((running, ran)),
            _ => {
                self.remove(&image.image_id);
                runtime.stop(&image.image_id).await;
                Err(Failure::not_found("Agent", id))
            }
        }
    }

    /// An agent that runs, as one of these, and whether it was before.
    fn enter(&self, owner: &Owner, image: &ImageRecord, agent: Agent) -> (RunningAgent, bool) {
        let mut state = self.lock();
        if let Some(entry) = state.agents.get_mut(&image.image_id)
            && entry.running.agent == agent
        {
            return (entry.use_now(), true);
        }
        // Of an image there is one: what ran before is gone.
        state.remove(&image.image_id);
        let listeners = Gate::default();
        let running = RunningAgent {
            from: agent.subscribe().cursor(),
            agent,
            container: image.container_id.clone(),
            frames: Arc::new(FramesOf::new(listeners.clone())),
            listeners,
            owner: owner.clone(),
        };
        state.insert(running.clone());
        if let Some(listeners) = state.listeners.get(owner) {
            // Without a listener there is nobody to tell.
            drop(listeners.send(running.clone()));
        }
        (running, false)
    }

    /// The agent of this id, where it runs and is the owner's.
    pub(crate) fn find(&self, owner: &Owner, id: &str) -> Option<RunningAgent> {
        let mut state = self.lock();
        let image = state.ids.get(owner)?.get(id)?.clone();
        let entry = state.agents.get_mut(&image)?;
        // It may have been ended while it was put here.
        if entry.running.agent.is_closed() {
            state.remove(&image);
            return None;
        }
        Some(entry.use_now())
    }

    /// Those of all owners that are at work.
    pub(crate) fn at_work(&self) -> Vec<Agent> {
        let is_at_work =
            |agent: &&Agent| !matches!(agent.state(), AgentState::Idle | AgentState::AwaitingApproval);
        let state = self.lock();
        state.agents.values().map(|entry| &entry.running.agent).filter(is_at_work).cloned().collect()
    }

    /// The agents of an owner, in the order of their ids.
    pub(crate) fn of(&self, owner: &Owner) -> Vec<RunningAgent> {
        self.lock().of(owner).cloned().collect()
    }

    /// Looks at each agent of an owner.
    pub(crate) fn each(&self, owner: &Owner, mut look: impl FnMut(&Agent)) {
        self.lock().of(owner).for_each(|running| look(&running.agent));
    }

    /// The agent of an image, where it runs and is the owner's.
    pub(crate) fn of_image(&self, owner: &Owner, image: &ImageId) -> Option<RunningAgent> {
        let state = self.lock();
        let found = state.agents.get(image).map(|entry| &entry.running);
        found.filter(|running| running.owner == *owner).cloned()
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
            state.remove(image);
        }
        gone
    }

    /// Forgets the agent of an image.
    pub(crate) fn remove(&self, image: &ImageId) {
        self.lock().remove(image);
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

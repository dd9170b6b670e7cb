//! The agents that run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agentx_core::{Agent, AgentId, ContainerId, Cursor, ImageId, Runtime};
use tokio::sync::broadcast;

use crate::{Owner, failure::Failure, wire::FramesOf};

/// How many agents may begin to run before whoever listens for them looks.
const STARTED: usize = 256;

/// An agent that runs, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct RunningAgent {
    pub(crate) agent: Agent,
    pub(crate) container: ContainerId,
    /// What its events look like on the wire.
    pub(crate) frames: Arc<FramesOf>,
    /// The place before anything that it does.
    pub(crate) from: Cursor,
    owner: Owner,
}

/// The agents that run, and who is told when another one does.
#[derive(Debug, Default)]
pub(crate) struct Running(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    agents: HashMap<AgentId, RunningAgent>,
    /// The agent of each image.
    images: HashMap<ImageId, AgentId>,
    listeners: HashMap<Owner, broadcast::Sender<RunningAgent>>,
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
        let agent = runtime.run(image).await?;
        let mut state = self.lock();
        if let Some(running) = state.agents.get(agent.id()) {
            return Ok((running.clone(), true));
        }
        // Of an image there is one: what ran before is gone.
        if let Some(before) = state.images.insert(image.clone(), agent.id().clone()) {
            state.agents.remove(&before);
        }
        let (from, frames) = (agent.subscribe().cursor(), Arc::default());
        let running =
            RunningAgent { agent, container: container.clone(), frames, from, owner: owner.clone() };
        state.agents.insert(running.agent.id().clone(), running.clone());
        if let Some(listeners) = state.listeners.get(owner) {
            // Without a listener there is nobody to tell.
            drop(listeners.send(running.clone()));
        }
        Ok((running, false))
    }

    /// The agent of this id, where it is the owner's.
    pub(crate) fn find(&self, owner: &Owner, id: &str) -> Option<RunningAgent> {
        self.lock().agents.get(id).filter(|running| running.owner == *owner).cloned()
    }

    /// The agents of an owner, in the order of their ids.
    pub(crate) fn of(&self, owner: &Owner) -> Vec<RunningAgent> {
        let state = self.lock();
        let mut found: Vec<_> =
            state.agents.values().filter(|running| running.owner == *owner).cloned().collect();
        found.sort_by(|one, other| one.agent.id().cmp(other.agent.id()));
        found
    }

    /// Looks at each agent of an owner.
    pub(crate) fn each(&self, owner: &Owner, mut look: impl FnMut(&Agent)) {
        let state = self.lock();
        state
            .agents
            .values()
            .filter(|running| running.owner == *owner)
            .for_each(|running| look(&running.agent));
    }

    /// The agent of an image, where it runs and is the owner's.
    pub(crate) fn of_image(&self, owner: &Owner, image: &ImageId) -> Option<RunningAgent> {
        let state = self.lock();
        let found = state.images.get(image).and_then(|agent| state.agents.get(agent));
        found.filter(|running| running.owner == *owner).cloned()
    }

    /// Forgets the agent of an image.
    pub(crate) fn remove(&self, image: &ImageId) {
        let mut state = self.lock();
        if let Some(agent) = state.images.remove(image) {
            state.agents.remove(&agent);
        }
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.lock().agents.len()
    }

    /// The agents of `owner` that begin to run from now on.
    pub(crate) fn listen(&self, owner: &Owner) -> broadcast::Receiver<RunningAgent> {
        let mut state = self.lock();
        state.listeners.retain(|_, sender| sender.receiver_count() > 0);
        let sender = state.listeners.entry(owner.clone()).or_insert_with(|| broadcast::channel(STARTED).0);
        sender.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The agents of a runtime: one of an image at most.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{future, lock::Mutex as AsyncMutex};

use super::{Shared, core::AgentCore, shift, watch};
use crate::{AgentId, Error, ErrorKind, ImageId, Result, ToolSet};

/// Whoever asks for an agent while it is being opened or closed waits.
pub(super) type AgentSlot = AsyncMutex<Option<Arc<AgentCore>>>;

#[derive(Debug, Default)]
pub(super) struct Agents(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    slots: HashMap<ImageId, Arc<AgentSlot>>,
    /// Whether no agent is opened any more.
    shut: bool,
}

impl Agents {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The agent of an image, opened where it is not, with this id if one is given.
    pub(super) async fn run(
        &self,
        shared: &Arc<Shared>,
        image: &ImageId,
        id: Option<&AgentId>,
    ) -> Result<Arc<AgentCore>> {
        let in_use = self.slot(image);
        let mut slot = in_use.agent.lock().await;
        self.check(image)?;
        match &*slot {
            Some(agent) if agent.is_closed() => agent.leave("closed", future::ready(())).await?,
            Some(agent) => {
                if agent.awaits_at_rest() && is_answered(agent).await? {
                    shift::start_waiting_work(agent);
                }
                return Ok(agent.clone());
            }
            None => {}
        }
        *slot = None;
        let agent = open(shared, image, id).await?;
        *slot = Some(agent.clone());
        drop(slot);
        // A runtime that was dropped meanwhile did not find it.
        self.check(image).inspect_err(|_| agent.abort("runtime_dropped"))?;
        Ok(agent)
    }

    /// The place of an image's agent.
    pub(super) fn slot<'a>(&'a self, image: &'a ImageId) -> SlotInUse<'a> {
        let agent = self.lock().slots.entry(image.clone()).or_default().clone();
        SlotInUse { agents: self, image, agent }
    }

    /// All of them. Those that are being opened are among them, and no more are opened.
    pub(super) fn shut(&self) -> Vec<Arc<AgentSlot>> {
        let mut state = self.lock();
        state.shut = true;
        // They stay: what is still being opened is found again when the runtime is dropped.
        state.slots.values().cloned().collect()
    }

    /// Fails where no agent is opened any more.
    pub(super) fn check(&self, image: &ImageId) -> Result<()> {
        if !self.lock().shut {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Cancelled, "run image")
            .with_path(image)
            .with_message("the runtime is shut down"))
    }

    /// The agent of an image, where it is open.
    pub(super) fn find(&self, image: &ImageId) -> Option<Arc<AgentCore>> {
        let slot = self.lock().slots.get(image)?.clone();
        slot.try_lock()?.clone()
    }

    /// Lets go of an agent that is closed.
    pub(super) fn forget(&self, agent: &Arc<AgentCore>) {
        let slot = self.slot(&agent.context.image_id);
        // Whoever holds it replaces the agent.
        if let Some(mut slot) = slot.agent.try_lock()
            && slot.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, agent))
        {
            *slot = None;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().slots.len()
    }
}

async fn open(shared: &Arc<Shared>, image: &ImageId, id: Option<&AgentId>) -> Result<Arc<AgentCore>> {
    let image = shared.find(image).await?;
    let tools = match &shared.workspaces {
        Some(workspaces) => {
            let own = workspaces.open(&image.container_id, &image.image_id).await?;
            ToolSet::of(own.into_iter().chain(shared.tools.iter().cloned()))?
        }
        // One set for all agents.
        None => shared.tool_set.clone(),
    };
    let (repositories, session) = (&shared.repositories, &image.session_id);
    let last_event = repositories.sessions.last_event(session).await?;
    let lease = repositories.leases.find_lease(session).await?;
    let left = lease.map(|lease| lease.until.since(shared.host.now()));
    let id = id.cloned().unwrap_or_else(|| AgentId::fresh(&*shared.host.ids));
    let agent = Arc::new(AgentCore::new(shared.clone(), id, image, tools, last_event, left.is_none()));
    match left {
        None => {}
        Some(Duration::ZERO) => shift::take_up(&agent).await?,
        Some(_) => watch::begin(&agent),
    }
    Ok(agent)
}

/// Whether an answer came for an agent that waits at rest.
async fn is_answered(agent: &AgentCore) -> Result<bool> {
    let inbox = &agent.shared.repositories.inbox;
    let approvals = inbox.list_approvals(&agent.context.session_id).await?;
    Ok(approvals.iter().any(|approval| !approval.is_pending()))
}

/// The place of an image's agent, while somebody looks at it. One that is left empty is removed.
pub(super) struct SlotInUse<'a> {
    agents: &'a Agents,
    image: &'a ImageId,
    pub(super) agent: Arc<AgentSlot>,
}

impl Drop for SlotInUse<'_> {
    fn drop(&mut self) {
        let mut agents = self.agents.lock();
        let empty = self.agent.try_lock().is_some_and(|agent| agent.is_none());
        // This and the map's own: nobody else looks at it, and nobody can while the map is locked.
        if empty && Arc::strong_count(&self.agent) == 2 {
            agents.slots.remove(self.image);
        }
    }
}

//! The agents of a runtime: one of an image at most.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::lock::Mutex as AsyncMutex;

use super::core::AgentCore;
use crate::{Error, ErrorKind, ImageId, Result};

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

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use agentx_core::{AgentState, ImageId};

use super::{Gate, Place, Quotas, RateState, full, places::Places, rate::Rate, sent::Sent};
use crate::{Owner, failure::Failure, service::Running};

/// What is counted of one owner.
#[derive(Debug, Default)]
pub(crate) struct Account {
    rate: Rate,
    connections: Gate,
    pub(super) sent: Sent,
    /// Held while a container or an image is made or deleted: of two at once, the second one sees the first.
    pub(crate) places: tokio::sync::Mutex<Places>,
    /// The images whose next turn is on its way to begin, and how often.
    starting: Mutex<HashMap<ImageId, usize>>,
}

/// A turn on its way to begin. Once the agent is at work, that counts in its place.
#[derive(Debug)]
pub(crate) struct Starting {
    account: Arc<Account>,
    image: ImageId,
}

impl Account {
    /// Counts one request.
    pub(crate) fn ask(&self, quotas: &Quotas) -> Result<(), Failure> {
        self.rate.admit(quotas.requests_per_minute)
    }

    /// What is left of the requests.
    pub(crate) fn rate(&self) -> Option<RateState> {
        self.rate.state()
    }

    /// One more connection or stream.
    pub(crate) fn connect(&self, quotas: &Quotas) -> Result<Place, Failure> {
        self.connections.enter(quotas.connections, "connections at the same time")
    }

    /// One more turn, of this image. A message to an agent that is at work is queued, and no turn more.
    pub(crate) fn start(
        self: &Arc<Self>,
        running: &Running,
        owner: &Owner,
        image: &ImageId,
        quotas: &Quotas,
    ) -> Result<Starting, Failure> {
        let at_work = |state: AgentState| !matches!(state, AgentState::Idle | AgentState::Elsewhere);
        // First: what begins to work meanwhile is still counted as on its way.
        let mut starting = self.starting();
        let mut others = starting.keys().filter(|other| *other != image).count();
        running.each(owner, |agent| {
            let other = agent.image_id();
            others += usize::from(other != image && !starting.contains_key(other) && at_work(agent.state()));
        });
        if others >= quotas.turns {
            return Err(full(quotas.turns, "turns at the same time"));
        }
        *starting.entry(image.clone()).or_default() += 1;
        Ok(Starting { account: self.clone(), image: image.clone() })
    }

    fn starting(&self) -> MutexGuard<'_, HashMap<ImageId, usize>> {
        self.starting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut starting = self.account.starting();
        if let Some(count) = starting.get_mut(&self.image) {
            *count -= 1;
            if *count == 0 {
                starting.remove(&self.image);
            }
        }
    }
}

//! How much one owner may have and ask for.

use std::{num::NonZeroU32, time::Duration};

use agentx_core::AgentState;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};

use crate::{
    Owner,
    failure::{Code, Failure},
    service::Running,
};

/// The bounds of each owner.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quotas {
    /// Requests in a minute, of which as many may come at once; 6,000.
    pub requests_per_minute: NonZeroU32,
    /// Turns that run at the same time; 1,000.
    pub turns: usize,
    /// Containers; 10,000.
    pub containers: usize,
    /// Images of one container; 10,000.
    pub images: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            requests_per_minute: NonZeroU32::MIN.saturating_add(5_999),
            turns: 1_000,
            containers: 10_000,
            images: 10_000,
        }
    }
}

impl Quotas {
    /// So many requests in a minute.
    pub fn with_requests_per_minute(mut self, requests: NonZeroU32) -> Self {
        self.requests_per_minute = requests;
        self
    }

    /// So many turns at the same time.
    pub fn with_turns(mut self, turns: usize) -> Self {
        self.turns = turns;
        self
    }

    /// So many containers.
    pub fn with_containers(mut self, containers: usize) -> Self {
        self.containers = containers;
        self
    }

    /// So many images in one container.
    pub fn with_images(mut self, images: usize) -> Self {
        self.images = images;
        self
    }

    /// Refuses one more of `what`, of which there are `count`.
    pub(crate) fn admit(count: usize, limit: usize, what: &str) -> Result<(), Failure> {
        if count < limit {
            return Ok(());
        }
        Err(Failure::new(Code::TooMany, format!("no more than {limit} {what} are allowed")))
    }

    /// Refuses one more turn.
    pub(crate) fn admit_turn(&self, running: &Running, owner: &Owner) -> Result<(), Failure> {
        let at_work = |state: AgentState| !matches!(state, AgentState::Idle | AgentState::Elsewhere);
        let turns = running.of(owner).iter().filter(|running| at_work(running.agent.state())).count();
        Self::admit(turns, self.turns, "turns at the same time")
    }
}

/// Counts requests.
#[derive(Debug)]
pub(crate) struct Rate(RateLimiter<Owner, HashMapStateStore<Owner>, DefaultClock>);

impl Rate {
    pub(crate) fn new(quotas: &Quotas) -> Self {
        Self(RateLimiter::hashmap(Quota::per_minute(quotas.requests_per_minute)))
    }

    /// Counts one request. Too many are refused until there is room again.
    pub(crate) fn admit(&self, owner: &Owner) -> Result<(), Failure> {
        let Err(full) = self.0.check_key(owner) else { return Ok(()) };
        let wait = full.wait_time_from(DefaultClock::default().now()).max(Duration::from_secs(1));
        Err(Failure::new(Code::TooMany, "too many requests").after(wait))
    }
}

//! How much one owner may have and ask for.

mod account;
mod places;
mod rate;
mod sent;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

pub(crate) use self::{account::Account, rate::RateState};
use crate::{
    Owner,
    failure::{Code, Failure},
    tenant::TenantQuotas,
};

/// The bounds of each owner. A tenant may have some of its own: see [`TenantQuotas`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Messages that it sends in a day of UTC; 1,000,000.
    pub messages_per_day: u64,
    /// Bytes that it sends in a day of UTC, in messages and files; 16 GiB.
    pub bytes_per_day: u64,
    /// WebSocket connections and event streams at the same time; 4,096.
    pub connections: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            requests_per_minute: NonZeroU32::MIN.saturating_add(5_999),
            turns: 1_000,
            containers: 10_000,
            images: 10_000,
            messages_per_day: 1_000_000,
            bytes_per_day: 16 << 30,
            connections: 4_096,
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

    /// So many messages in a day.
    pub fn with_messages_per_day(mut self, messages: u64) -> Self {
        self.messages_per_day = messages;
        self
    }

    /// So many bytes in a day.
    pub fn with_bytes_per_day(mut self, bytes: u64) -> Self {
        self.bytes_per_day = bytes;
        self
    }

    /// So many connections at the same time.
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// These, but for those that a tenant has of its own.
    pub fn with_tenant(self, own: &TenantQuotas) -> Self {
        Self {
            requests_per_minute: own.requests_per_minute.unwrap_or(self.requests_per_minute),
            turns: own.turns.unwrap_or(self.turns),
            containers: own.containers.unwrap_or(self.containers),
            images: own.images.unwrap_or(self.images),
            messages_per_day: own.messages_per_day.unwrap_or(self.messages_per_day),
            bytes_per_day: own.bytes_per_day.unwrap_or(self.bytes_per_day),
            connections: own.connections.unwrap_or(self.connections),
        }
    }
}

/// What is counted of each owner. One who asked once is kept: they are as many as have a key.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<HashMap<Owner, Arc<Account>>>);

impl Accounts {
    pub(crate) fn of(&self, owner: &Owner) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.entry(owner.clone()).or_default().clone()
    }

    /// Whoever has the name next begins anew.
    pub(crate) fn forget(&self, owner: &Owner) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(owner);
    }
}

/// Counts what there may only be so many of. Whoever has a place holds it until it is dropped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<AtomicUsize>);

/// One of so many.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Gate {
    /// One more of `what`, unless there are `limit`. Of two that ask for the last one, one has it.
    pub(crate) fn enter(&self, limit: usize, what: &str) -> Result<Place, Failure> {
        let one_more = |count: usize| (count < limit).then_some(count + 1);
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more) {
            Ok(_) => Ok(Place(self.0.clone())),
            Err(_) => Err(full(limit, what)),
        }
    }
}

impl Gate {
    /// One more, however many there are.
    pub(crate) fn enter_freely(&self) -> Place {
        self.0.fetch_add(1, Ordering::AcqRel);
        Place(self.0.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn full(limit: impl std::fmt::Display, what: &str) -> Failure {
    Failure::new(Code::TooMany, format!("no more than {limit} {what} are allowed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_who_ask_for_the_last_place_one_has_it() {
        let gate = Gate::default();
        let _first = gate.enter(2, "places").unwrap();
        let entered: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(|| gate.enter(2, "places"))).collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert_eq!(entered.iter().filter(|entered| entered.is_ok()).count(), 1);
        drop(entered);
        gate.enter(2, "places").unwrap();
    }

    #[test]
    fn a_tenants_own_bounds_stand_in_place_of_the_servers() {
        let own = TenantQuotas { containers: Some(3), ..TenantQuotas::default() };
        let quotas = Quotas::default().with_images(7).with_tenant(&own);
        assert_eq!((quotas.containers, quotas.images), (3, 7));
    }
}

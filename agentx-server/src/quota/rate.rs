//! How often an owner asks.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::{InMemoryState, NotKeyed},
};

use crate::failure::{Code, Failure};

/// Requests in this time are bounded.
const WINDOW: Duration = Duration::from_mins(1);

type Limiter = RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>;

/// Counts the requests of one owner.
#[derive(Debug, Default)]
pub(super) struct Rate(Mutex<Option<State>>);

#[derive(Debug)]
struct State {
    limit: NonZeroU32,
    limiter: Limiter,
    /// How many more could come at once, when it was asked last.
    remaining: u32,
    at: Instant,
}

/// What an owner has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateState {
    /// Requests in a window.
    pub(crate) limit: u32,
    /// How many of them may come now.
    pub(crate) remaining: u32,
    /// When all of them may come again.
    pub(crate) reset: Duration,
}

impl RateState {
    /// The window, in seconds.
    pub(crate) const WINDOW: u64 = WINDOW.as_secs();
}

impl Rate {
    /// Counts one request. Too many are refused until there is room again.
    pub(super) fn admit(&self, limit: NonZeroU32) -> Result<(), Failure> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = match &mut *state {
            Some(state) if state.limit == limit => state,
            state => state.insert(State::new(limit)),
        };
        state.at = Instant::now();
        match state.limiter.check() {
            Ok(snapshot) => {
                state.remaining = snapshot.remaining_burst_capacity();
                Ok(())
            }
            Err(full) => {
                state.remaining = 0;
                let wait = full.wait_time_from(DefaultClock::default().now()).max(Duration::from_secs(1));
                Err(Failure::new(Code::TooMany, "too many requests").after(wait))
            }
        }
    }

    /// What there is left; none where nothing was asked for yet.
    pub(super) fn state(&self) -> Option<RateState> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = state.as_ref()?;
        let limit = state.limit.get();
        let used = WINDOW.mul_f64(f64::from(limit - state.remaining.min(limit)) / f64::from(limit));
        Some(RateState { limit, remaining: state.remaining, reset: used.saturating_sub(state.at.elapsed()) })
    }
}

impl State {
    fn new(limit: NonZeroU32) -> Self {
        let limiter = RateLimiter::direct(Quota::per_minute(limit)).with_middleware();
        Self { limit, limiter, remaining: limit.get(), at: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_and_a_new_limit_holds_at_once() {
        let (rate, two) = (Rate::default(), NonZeroU32::new(2).unwrap());
        assert_eq!(rate.state(), None);
        rate.admit(two).unwrap();
        let left = rate.state().unwrap();
        assert_eq!((left.limit, left.remaining), (2, 1));
        assert!(left.reset <= Duration::from_secs(30));
        rate.admit(two).unwrap();
        assert!(rate.admit(two).unwrap_err().after.is_some());
        assert_eq!(rate.state().unwrap().remaining, 0);
        rate.admit(NonZeroU32::new(3).unwrap()).unwrap();
    }
}

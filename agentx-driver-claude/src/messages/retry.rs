use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use agentx_core::Retry;

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);

/// The longest wait that a server may ask for. Whoever is told to come back later than this learns it at once.
const LONGEST_NAMED_WAIT: Duration = Duration::from_mins(1);

/// How long to wait before a call is tried again after `failures` failures (at least one); `None` where it is not.
///
/// What the server names, or 0.5 s × 2ⁿ up to 8 s less up to a quarter by chance, so that clients that failed together
/// do not come back together.
pub(super) fn wait(retry: Retry, failures: u32, retries: u32) -> Option<Duration> {
    if failures > retries {
        return None;
    }
    match retry {
        Retry::After(Some(named)) => (named <= LONGEST_NAMED_WAIT).then_some(named),
        Retry::After(None) => {
            let doubled =
                FIRST_WAIT.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
            let wait = doubled.min(LONGEST_WAIT);
            Some(wait.mul_f64(1.0 - chance() / 4.0))
        }
        _ => None,
    }
}

/// A number from 0 to 1 from the random keys of the standard library's hash maps: no crate is needed for a jitter.
fn chance() -> f64 {
    let bits = u32::try_from(RandomState::new().hash_one(0_u8) >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound_less_a_quarter_at_most() {
        for (failures, millis) in [(1, 500), (2, 1000), (3, 2000), (5, 8000), (40, 8000), (u32::MAX, 8000)] {
            let full = Duration::from_millis(millis);
            let wait = wait(Retry::After(None), failures, u32::MAX).unwrap();
            assert!(wait <= full && wait >= full.mul_f64(0.75), "{failures}: {wait:?}");
        }
    }

    #[test]
    fn the_server_names_the_wait_within_reason() {
        let after = |secs| Retry::After(Some(Duration::from_secs(secs)));
        assert_eq!(wait(after(60), 1, 2), Some(Duration::from_mins(1)));
        assert_eq!(wait(after(61), 1, 2), None);
    }

    #[test]
    fn some_failures_are_final() {
        assert_eq!(wait(Retry::Never, 1, 2), None);
        assert_eq!(wait(Retry::Exhausted, 1, 2), None);
        assert_eq!(wait(Retry::After(None), 3, 2), None);
        assert_eq!(wait(Retry::After(None), 1, 0), None);
    }
}

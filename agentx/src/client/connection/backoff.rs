use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The first wait before connecting again, and the longest.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// How long to wait before attempt `n`, counted from 0: twice as long each time, and cut by chance to as little as half,
/// so that the clients of a server do not come back all at once.
pub(super) fn wait(n: u32) -> Duration {
    let full = FIRST.saturating_mul(1_u32.checked_shl(n).unwrap_or(u32::MAX)).min(LONGEST);
    // The standard library's hashers begin with random keys.
    let [chance, ..] = RandomState::new().hash_one(n).to_le_bytes();
    full / 2 + full / 2 * u32::from(chance) / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound() {
        for n in [0, 1, 5, 6, 31, 32, u32::MAX] {
            let full = FIRST.saturating_mul(1_u32.checked_shl(n).unwrap_or(u32::MAX)).min(LONGEST);
            let wait = wait(n);
            assert!(wait >= full / 2 && wait <= full, "{n}: {wait:?}");
        }
    }
}

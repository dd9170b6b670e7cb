//! What `fuzz/` of the repository reaches in here. It is no part of the interface.

use crate::wire::{Frame, Wire, failure, frames};

/// What one text frame says, in each form of the protocol, and what is answered to what makes no sense.
///
/// # Panics
/// For a frame that is passed over in silence, and for an answer that is no JSON.
pub fn frame(text: &str) {
    for wire in [Wire::Event, Wire::Rpc] {
        let frames = frames(text, wire);
        assert!(!frames.is_empty(), "a frame says something");
        for frame in frames {
            if let Frame::Bad(asked, problem) = frame {
                let answer = failure(&asked, &problem, 0);
                assert!(serde_json::from_str::<serde_json::Value>(&answer).is_ok(), "an answer is JSON");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    /// The fuzzer begins with these, and what it found stands among them.
    #[test]
    fn its_seeds_are_understood_or_answered() {
        let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/frame");
        for seed in std::fs::read_dir(seeds).unwrap() {
            super::frame(&std::fs::read_to_string(seed.unwrap().path()).unwrap());
        }
    }
}

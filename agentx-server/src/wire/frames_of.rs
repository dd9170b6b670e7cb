use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use agentx_core::{Cursor, Event, EventData};
use axum::extract::ws::Utf8Bytes;

use super::notification;
use crate::{Owner, quota::Gate};

/// How many frames of a session are kept, and how many bytes of them, but for the last.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 64 << 10;

/// The frames of one session's latest events, each written once for all who listen: they stand at the same event, or near
/// it. Of a turn that is over only its last frame is kept, and nothing for one who listens alone.
#[derive(Debug)]
pub(crate) struct FramesOf {
    listeners: Gate,
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    frames: VecDeque<(Cursor, Utf8Bytes)>,
    bytes: usize,
}

impl FramesOf {
    /// For these.
    pub(crate) fn new(listeners: Gate) -> Self {
        Self { listeners, latest: Mutex::default() }
    }

    /// The frame in which an event goes to clients that speak JSON-RPC.
    pub(crate) fn rpc(&self, owner: &Owner, told: &Event) -> Utf8Bytes {
        // What only one subscriber is told stands at the place of the event before.
        let of_all = !matches!(told.data, EventData::Lagged { .. } | EventData::SubscriptionFailed { .. });
        if self.listeners.count() < 2 {
            return notification(owner, told).into();
        }
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if of_all && let Some(frame) = latest.find(told.cursor()) {
            return frame;
        }
        let frame = Utf8Bytes::from(notification(owner, told));
        if of_all {
            latest.keep(told.cursor(), &frame);
            if matches!(told.data, EventData::TurnResponse { .. }) {
                latest.shrink(1);
                latest.frames.shrink_to_fit();
            }
        }
        frame
    }
}

impl Latest {
    fn find(&self, cursor: Cursor) -> Option<Utf8Bytes> {
        let found = self.frames.iter().rev().find(|(place, _)| *place == cursor);
        found.map(|(_, frame)| frame.clone())
    }

    /// Keeps a frame, unless it is an older one that somebody alone catches up with.
    fn keep(&mut self, cursor: Cursor, frame: &Utf8Bytes) {
        if self.frames.back().is_some_and(|(last, _)| cursor < *last) {
            return;
        }
        self.bytes += frame.len();
        self.frames.push_back((cursor, frame.clone()));
        self.shrink(KEPT);
    }

    fn shrink(&mut self, count: usize) {
        while self.frames.len() > count || (self.bytes > KEPT_BYTES && self.frames.len() > 1) {
            let Some((_, frame)) = self.frames.pop_front() else { break };
            self.bytes -= frame.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Cursor {
        Cursor::from(seq)
    }

    #[test]
    fn the_latest_frames_are_kept_within_bounds() {
        let mut latest = Latest::default();
        for seq in 1..=100 {
            latest.keep(at(seq), &Utf8Bytes::from(seq.to_string()));
        }
        assert_eq!(
            (latest.frames.len(), latest.find(at(36)), latest.find(at(37)).is_some()),
            (64, None, true)
        );
        latest.keep(at(50), &Utf8Bytes::from_static("an older one"));
        assert_eq!(latest.find(at(50)).as_deref(), Some("50"));
        let large = Utf8Bytes::from("x".repeat(KEPT_BYTES + 1));
        latest.keep(at(101), &large);
        assert_eq!((latest.frames.len(), latest.bytes), (1, large.len()));
    }
}

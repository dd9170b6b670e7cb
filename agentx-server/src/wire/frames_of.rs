use std::sync::{Mutex, PoisonError};

use agentx_core::{Cursor, Event, EventData};
use axum::extract::ws::Utf8Bytes;

use super::{Wire, event, notification};
use crate::Owner;

/// The frames of one session's events, each written once for all who listen: they stand at the same event, or near it.
#[derive(Debug, Default)]
pub(crate) struct FramesOf(Mutex<Option<(Cursor, Utf8Bytes)>>);

impl FramesOf {
    /// The frame in which an event goes to clients that speak JSON-RPC.
    pub(crate) fn rpc(&self, owner: &Owner, told: &Event) -> Utf8Bytes {
        // What only one subscriber is told stands at the place of the event before.
        let of_all = !matches!(told.data, EventData::Lagged { .. } | EventData::SubscriptionFailed { .. });
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((cursor, frame)) = &*last
            && of_all
            && *cursor == told.cursor()
        {
            return frame.clone();
        }
        let text = event(owner, told, Wire::Rpc);
        let frame = Utf8Bytes::from(notification(told.context.session_id.as_str(), &text));
        if of_all {
            *last = Some((told.cursor(), frame.clone()));
        }
        frame
    }
}

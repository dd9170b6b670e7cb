//! What a session's rewinds have cut off.

use std::ops::RangeInclusive;

use super::{SessionRepository, StoredMessage};
use crate::{MessageBody, Result, SessionId};

/// The parts of a session that it went back behind. What is cut off stays stored; nobody is shown it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewound(Vec<RangeInclusive<u64>>);

impl Rewound {
    /// Whether a message is still part of the conversation.
    pub fn keeps(&self, stored: &StoredMessage) -> bool {
        !self.0.iter().any(|cut| cut.contains(&stored.seq))
    }

    /// Reads a session's rewinds from the last one back: marks within what a later one cut off count no more.
    pub(super) async fn read<S: SessionRepository + ?Sized>(
        sessions: &S,
        session: &SessionId,
    ) -> Result<Self> {
        let (mut cuts, mut before) = (Vec::new(), None);
        while let Some(mark) = sessions.find_mark(session, before).await? {
            let mut place = mark.seq;
            if let MessageBody::Rewind { before, .. } = &mark.message.body
                && let Some(first) = sessions.find_message(session, before).await?
            {
                cuts.push(first.seq..=mark.seq);
                place = first.seq.min(place);
            }
            before = Some(place);
        }
        Ok(Self(cuts))
    }
}

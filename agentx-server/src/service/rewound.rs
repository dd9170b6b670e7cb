//! What a session's rewinds have cut off.

use std::ops::RangeInclusive;

use agentx_core::{MessageBody, SessionId, StoredMessage};

use super::{Outcome, Service};

/// The parts of a session that it went back behind. What is cut off stays stored; nobody is shown it.
#[derive(Debug, Default)]
pub(super) struct Rewound(Vec<RangeInclusive<u64>>);

impl Rewound {
    /// Whether a message is still part of the conversation.
    pub(super) fn keeps(&self, stored: &StoredMessage) -> bool {
        !self.0.iter().any(|cut| cut.contains(&stored.seq))
    }
}

impl Service {
    /// The rewinds of a session, from the last one back: marks within what a later one cut off count no more.
    pub(super) async fn rewound(&self, session: &SessionId) -> Outcome<Rewound> {
        let sessions = &self.repositories.sessions;
        let (mut cuts, mut before) = (Vec::new(), None);
        while let Some(mark) = sessions.find_mark(session, before).await? {
            let mut place = mark.seq;
            if let MessageBody::Rewind { before } = &mark.message.body
                && let Some(first) = sessions.find_message(session, before).await?
            {
                cuts.push(first.seq..=mark.seq);
                place = first.seq.min(place);
            }
            before = Some(place);
        }
        Ok(Rewound(cuts))
    }
}

//! What a turn that is under way is told from outside, and what outside is told of it.

use futures::{FutureExt, channel::oneshot, future::AbortRegistration};

use super::events::{Done, TurnReport};

/// What a turn that is under way is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// To end.
    Interrupt,
    /// To stand as it is stored: whoever opens the image next takes it up.
    Leave,
}

/// What a turn is told from outside, and what outside is told of it.
pub(super) struct Control {
    pub(super) done: Done,
    pub(super) stopped: oneshot::Receiver<Stop>,
    pub(super) registration: AbortRegistration,
}

/// What stops a turn, and whom its end is told.
pub(super) struct TurnControl {
    pub(super) stop: oneshot::Sender<Stop>,
    pub(super) report: oneshot::Sender<TurnReport>,
}

pub(super) fn turn_control() -> (TurnControl, Done, oneshot::Receiver<Stop>) {
    let (stop, stopped) = oneshot::channel();
    let (report, done) = oneshot::channel();
    (TurnControl { stop, report }, done.shared(), stopped)
}

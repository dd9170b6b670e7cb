use std::{fmt, sync::Arc};

use futures::{
    SinkExt,
    channel::{mpsc, oneshot},
};

use crate::{Approvals, DriverEvent, Hook, Ledger, Permission};

/// What a tool call has of the turn that it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct TurnScope {
    pub(crate) permission: Arc<dyn Permission>,
    pub(crate) approvals: Option<Arc<dyn Approvals>>,
    pub(crate) hooks: Vec<Arc<dyn Hook>>,
    pub(crate) ledger: Ledger,
    pub(crate) depth: u32,
    pub(crate) teller: Teller,
}

/// An event that a tool tells while it runs, and whom to tell that it may go on.
pub(crate) struct Told {
    pub(crate) event: DriverEvent,
    pub(crate) taken: oneshot::Sender<()>,
}

/// How tools tell events of their turn while they run.
#[derive(Clone)]
pub(crate) struct Teller(mpsc::Sender<Told>);

impl Teller {
    /// A way of telling, and where it leads. It holds one event for each call.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Told>) {
        let (sender, receiver) = mpsc::channel(0);
        (Self(sender), receiver)
    }

    /// Tells an event, and waits until the turn's consumer has taken it and asks for the next: what the event announces
    /// may then begin.
    pub(crate) async fn tell(&self, event: DriverEvent) {
        let (taken, is_taken) = oneshot::channel();
        // Where the turn is gone, so is the call, or soon will be.
        if self.0.clone().send(Told { event, taken }).await.is_ok() {
            let _ = is_taken.await;
        }
    }
}

impl fmt::Debug for Teller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Teller")
    }
}

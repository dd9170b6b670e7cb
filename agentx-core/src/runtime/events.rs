//! What the sender of a message gets: the events of its turn, and how the turn went.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt, Stream, StreamExt, channel::oneshot, future::Shared};

use super::bus::Subscription;
use crate::{Error, ErrorKind, Event, EventData, Outcome, Result, TurnId, Usage};

/// The end of a turn; an error where it was given up without one.
pub(super) type Done = Shared<oneshot::Receiver<TurnReport>>;

/// How a turn went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TurnReport {
    /// The turn.
    pub turn_id: TurnId,
    /// How it ended.
    pub outcome: Outcome,
    /// The text of the model's last message.
    pub text: String,
    /// All that it used.
    pub usage: Usage,
}

/// The events of one turn, as they happen. Dropping it changes nothing for the turn.
#[derive(Debug)]
pub struct TurnEvents {
    subscription: Subscription,
    turn_id: TurnId,
    done: Done,
    over: bool,
}

impl TurnEvents {
    pub(super) fn new(subscription: Subscription, turn_id: TurnId, done: Done) -> Self {
        Self { subscription, turn_id, done, over: false }
    }

    /// The turn.
    pub fn turn_id(&self) -> &TurnId {
        &self.turn_id
    }

    /// Waits for the end of the turn.
    ///
    /// # Errors
    /// The error of a turn that failed; `Cancelled` for one that was given up with its runtime. Every other end is a
    /// report: look at its outcome.
    pub async fn finish(self) -> Result<TurnReport> {
        match self.done.await {
            Ok(TurnReport { outcome: Outcome::Failed(error), .. }) => Err(error),
            Ok(report) => Ok(report),
            Err(_) => Err(Error::new(ErrorKind::Cancelled, "run turn").with_message("the runtime is gone")),
        }
    }
}

impl Stream for TurnEvents {
    type Item = Arc<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        while !self.over {
            let event = match self.subscription.poll_next_unpin(cx) {
                Poll::Ready(Some(event)) => event,
                Poll::Ready(None) => break,
                // A turn that was given up tells no end.
                Poll::Pending => match self.done.poll_unpin(cx) {
                    Poll::Ready(Err(_)) => break,
                    _ => return Poll::Pending,
                },
            };
            let lagged = matches!(event.data, EventData::Lagged { .. });
            if lagged || event.context.turn_id.as_ref() == Some(&self.turn_id) {
                self.over = matches!(event.data, EventData::TurnResponse { .. });
                return Poll::Ready(Some(event));
            }
        }
        Poll::Ready(None)
    }
}

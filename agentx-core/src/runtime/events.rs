//! What the sender of a message gets: the events of its turn, and how the turn went.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{
    FutureExt, Stream, StreamExt,
    channel::oneshot,
    future::{MaybeDone, Shared, maybe_done},
};

use super::{core::gone, subscription::Subscription};
use crate::{Event, EventData, Outcome, Result, Spent, StopDetails, TurnId, Usage};

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
    /// What the model said of its last stop beyond the reason, as why it declined to answer.
    pub stop_details: Option<StopDetails>,
    /// The text of the model's last message.
    pub text: String,
    /// All that it used.
    pub usage: Usage,
    /// What it spent, money included, as far as prices are known.
    pub spent: Spent,
}

/// The events of one turn, as they happen. Dropping it changes nothing for the turn.
#[derive(Debug)]
pub struct TurnEvents {
    subscription: Subscription,
    turn_id: TurnId,
    /// May be asked by the stream first and by `finish` later.
    done: MaybeDone<Done>,
    over: bool,
}

impl TurnEvents {
    pub(super) fn new(subscription: Subscription, turn_id: TurnId, done: Done) -> Self {
        Self { subscription, turn_id, done: maybe_done(done), over: false }
    }

    /// The turn.
    pub fn turn_id(&self) -> &TurnId {
        &self.turn_id
    }

    /// Waits for the end of the turn.
    ///
    /// # Errors
    /// The error of a turn that failed; `Cancelled` for one that was given up with its runtime or its host. Every other
    /// end is a report: look at its outcome.
    pub async fn finish(mut self) -> Result<TurnReport> {
        (&mut self.done).await;
        report(Pin::new(&mut self.done).take_output().and_then(std::result::Result::ok))
    }
}

/// How a turn went; an error where it failed, or was given up without an end.
pub(super) fn report(report: Option<TurnReport>) -> Result<TurnReport> {
    match report {
        Some(TurnReport { outcome: Outcome::Failed(error), .. }) => Err(error),
        Some(report) => Ok(report),
        None => Err(gone("run turn")),
    }
}

impl Stream for TurnEvents {
    type Item = Arc<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        while !self.over {
            // Asked first: whatever a turn tells is published before it is done.
            let done = self.done.poll_unpin(cx).is_ready();
            let event = match self.subscription.poll_next_unpin(cx) {
                Poll::Ready(Some(event)) => event,
                // The end was never told, as of a turn that was given up.
                Poll::Pending if done && !self.subscription.is_behind() => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => break,
            };
            let of_all = matches!(
                event.data,
                EventData::Lagged { .. }
                    | EventData::AgentStopped { .. }
                    | EventData::SubscriptionFailed { .. }
            );
            if of_all || event.context.turn_id.as_ref() == Some(&self.turn_id) {
                self.over = matches!(event.data, EventData::TurnResponse { .. });
                return Poll::Ready(Some(event));
            }
        }
        self.over = true;
        Poll::Ready(None)
    }
}

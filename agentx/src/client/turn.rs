use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentx_core::{
    ErrorKind, Event, EventData, MessageBody, MessageId, OutcomeKind, Result, Spent, TurnEvents, TurnId,
    TurnReport, Usage,
};
use futures::{Stream, StreamExt};

use super::{Events, failure};

/// How a turn went.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TurnSummary {
    /// The turn.
    pub turn_id: TurnId,
    /// How it ended.
    pub outcome: OutcomeKind,
    /// The text of the model's last message.
    pub text: String,
    /// All that it used.
    pub usage: Usage,
    /// What it spent, where that was told.
    pub spent: Option<Spent>,
}

impl From<TurnReport> for TurnSummary {
    fn from(report: TurnReport) -> Self {
        let TurnReport { turn_id, outcome, text, usage, spent, .. } = report;
        Self { turn_id, outcome: outcome.kind(), text, usage, spent: Some(spent) }
    }
}

/// The turn that answers one message: its events, as they happen. Dropping it changes nothing for the turn.
#[derive(Debug)]
pub struct Turn(Inner);

#[derive(Debug)]
enum Inner {
    Local(Box<TurnEvents>),
    Remote(Box<Remote>),
}

/// What is known of a turn elsewhere, from its events.
#[derive(Debug)]
struct Remote {
    events: Events,
    turn: Awaited,
    text: String,
    failed: Option<agentx_core::Error>,
    summary: Option<TurnSummary>,
    over: bool,
}

/// The turn that is meant.
#[derive(Debug)]
pub(super) enum Awaited {
    This(TurnId),
    /// That of a message which waits for the turns before it.
    Of(MessageId),
}

impl Turn {
    pub(super) fn local(turn: TurnEvents) -> Self {
        Self(Inner::Local(Box::new(turn)))
    }

    pub(super) fn remote(events: Events, turn: Awaited) -> Self {
        let text = String::new();
        Self(Inner::Remote(Box::new(Remote { events, turn, text, failed: None, summary: None, over: false })))
    }

    /// The turn; none for one that has not begun, as its message waits for the turns before it.
    pub fn turn_id(&self) -> Option<&TurnId> {
        match &self.0 {
            Inner::Local(turn) => Some(turn.turn_id()),
            Inner::Remote(remote) => match &remote.turn {
                Awaited::This(turn) => Some(turn),
                Awaited::Of(_) => None,
            },
        }
    }

    /// Waits for the end of the turn.
    ///
    /// # Errors
    /// The error of a turn that failed, by its kind; `Cancelled` for one that was given up. A remote turn also fails with
    /// the error that ended its stream: what became of it, its session says. Every other end is a summary: look at its
    /// outcome.
    pub async fn finish(self) -> Result<TurnSummary> {
        let mut remote = match self.0 {
            Inner::Local(turn) => return Ok(turn.finish().await?.into()),
            Inner::Remote(remote) => remote,
        };
        while std::future::poll_fn(|cx| remote.poll_next(cx)).await.is_some() {}
        let lost =
            || failure::error(ErrorKind::Lost, "run turn").with_message("the stream ended before the turn");
        match (remote.summary, remote.failed) {
            (Some(TurnSummary { outcome: OutcomeKind::Failed, .. }) | None, Some(error)) => Err(error),
            (Some(summary), _) => Ok(summary),
            (None, None) => Err(lost()),
        }
    }
}

impl Stream for Turn {
    type Item = Arc<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        match &mut self.0 {
            Inner::Local(turn) => turn.poll_next_unpin(cx),
            Inner::Remote(remote) => remote.poll_next(cx),
        }
    }
}

impl Remote {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        while !self.over {
            let Some(event) = ready!(self.events.poll_next_unpin(cx)) else { break };
            if self.look(&event) {
                return Poll::Ready(Some(event));
            }
        }
        self.over = true;
        Poll::Ready(None)
    }

    /// Whether the event is one of this turn.
    fn look(&mut self, event: &Event) -> bool {
        if let (Awaited::Of(waiting), EventData::UserMessage(message), Some(turn)) =
            (&self.turn, &event.data, &event.context.turn_id)
            && message.id == *waiting
        {
            self.turn = Awaited::This(turn.clone());
        }
        match &event.data {
            EventData::SubscriptionFailed { message, error_code } => {
                let error = failure::error(failure::of_event(error_code), "run turn");
                self.failed = Some(error.with_message(message.clone()));
                return true;
            }
            EventData::Lagged { .. } | EventData::AgentStopped { .. } => return true,
            _ => {}
        }
        let Awaited::This(turn) = &self.turn else { return false };
        if event.context.turn_id.as_ref() != Some(turn) {
            return false;
        }
        match &event.data {
            EventData::AssistantMessage(message) => {
                if let MessageBody::Assistant(message) = &message.body {
                    self.text = message.text();
                }
            }
            EventData::ErrorOccurred { code, message, .. } => {
                let error = failure::error(failure::of_event(code), "run turn");
                self.failed = Some(error.with_message(message.clone()));
            }
            EventData::TurnResponse { turn_id, outcome, usage, spent, .. } => {
                self.over = true;
                self.summary = Some(TurnSummary {
                    turn_id: turn_id.clone(),
                    outcome: outcome.clone(),
                    text: std::mem::take(&mut self.text),
                    usage: *usage,
                    spent: *spent,
                });
            }
            _ => {}
        }
        true
    }
}

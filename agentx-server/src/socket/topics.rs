//! The sessions that one connection listens to.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use agentx_core::{Agent, AgentId, Cursor, Event, EventData, SessionId};
use futures::{
    Stream, StreamExt,
    stream::{AbortHandle, BoxStream, SelectAll, abortable},
};

use crate::{service::RunningAgent, wire::FramesOf};

/// Sessions, and their events as they come: those of one session in their order.
#[derive(Default)]
pub(super) struct Topics {
    events: SelectAll<BoxStream<'static, Told>>,
    sessions: HashMap<SessionId, Topic>,
    /// Whether the client said that it does not want to hear of everything.
    pub(super) declined: bool,
}

/// An event, and what the events of its session look like on the wire.
pub(super) type Told = (Arc<Event>, Arc<FramesOf>);

struct Topic {
    agent: AgentId,
    /// Ends the subscription; none while no agent runs.
    handle: Option<AbortHandle>,
    /// The last that was told, or the place where it began.
    seen: Option<Cursor>,
    /// The session's next agent, which runs already: it is listened to when all of this one's is told.
    next: Option<RunningAgent>,
}

impl Topics {
    /// Whether the session of this agent is, or was, listened to.
    pub(super) fn knows(&self, agent: &Agent) -> bool {
        self.sessions.contains_key(agent.session_id())
    }

    /// Listens to an agent's session from behind where it was left; where it never was, from behind `from`, or from now
    /// on. Whoever listens already goes on.
    pub(super) fn follow(&mut self, running: &RunningAgent, from: Option<Cursor>) {
        let place = match self.sessions.get_mut(running.agent.session_id()) {
            Some(topic @ Topic { handle: Some(_), .. }) => {
                topic.next = (topic.agent != *running.agent.id()).then(|| running.clone());
                return;
            }
            Some(Topic { seen: Some(seen), .. }) => Some(*seen),
            _ => from,
        };
        self.begin(running, place);
    }

    /// Listens to an agent's session from behind a place, whatever was heard before; without one, as [`Self::follow`].
    /// Gives the place behind which it is heard.
    pub(super) fn listen(&mut self, running: &RunningAgent, after: Option<Cursor>) -> Option<Cursor> {
        match after {
            Some(_) => self.begin(running, after),
            None => self.follow(running, None),
        }
        self.sessions.get(running.agent.session_id()).and_then(|topic| topic.seen)
    }

    fn begin(&mut self, running: &RunningAgent, place: Option<Cursor>) {
        let (agent, frames) = (&running.agent, running.frames.clone());
        let subscription = match place {
            Some(cursor) => agent.subscribe_from(cursor),
            None => agent.subscribe(),
        };
        let seen = Some(subscription.cursor());
        let (events, handle) = abortable(subscription);
        let topic = Topic { agent: agent.id().clone(), handle: Some(handle), seen, next: None };
        if let Some(Topic { handle: Some(before), .. }) =
            self.sessions.insert(agent.session_id().clone(), topic)
        {
            before.abort();
        }
        let listening = running.listeners.enter_freely();
        let events = events.map(move |event| {
            // For as long as it is listened to.
            let _listening = &listening;
            (event, frames.clone())
        });
        self.events.push(events.boxed());
    }

    /// Listens no longer.
    pub(super) fn forget(&mut self, session: &str) {
        if let Some(Topic { handle: Some(handle), .. }) = self.sessions.remove(session) {
            handle.abort();
        }
    }
}

/// Pending while there is nothing to listen to, and after: a session may come.
impl Stream for Topics {
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Told>> {
        let this = &mut *self;
        if this.events.is_empty() {
            return Poll::Pending;
        }
        let Some((event, frames)) = ready!(this.events.poll_next_unpin(cx)) else { return Poll::Pending };
        if let Some(topic) = this.sessions.get_mut(&event.context.session_id) {
            topic.seen = Some(event.cursor());
            if matches!(event.data, EventData::AgentStopped { .. } | EventData::SubscriptionFailed { .. }) {
                topic.handle = None;
                if let Some(next) = topic.next.take() {
                    this.begin(&next, Some(event.cursor()));
                }
            }
        }
        Poll::Ready(Some((event, frames)))
    }
}

//! The sessions that one connection listens to.

use std::{
    collections::HashMap,
    future,
    sync::Arc,
    task::{Context, Poll},
};

use agentx_core::{Agent, Cursor, Event, EventData, SessionId, Subscription};
use futures::{StreamExt, task::waker_ref};
use slab::Slab;

use super::bells::{Bell, Bells};
use crate::{quota::Place, service::RunningAgent, wire::FramesOf};

/// Sessions, and their events as they come: those of one session in their order. Of many sessions, those alone are polled
/// that have something to tell, each for one event at a time.
pub(super) struct Topics {
    all: Slab<Topic>,
    /// The number of each session.
    sessions: HashMap<SessionId, usize>,
    bells: Arc<Bells>,
    /// Whether the client said that it does not want to hear of everything.
    pub(super) declined: bool,
}

/// An event, and what the events of its session look like on the wire.
pub(super) type Told = (Arc<Event>, Arc<FramesOf>);

struct Topic {
    /// None while no agent runs.
    source: Option<Source>,
    /// The last that was told, or the place where it began.
    seen: Cursor,
    /// The session's next agent, which runs already: it is listened to when all of this one's is told.
    next: Option<RunningAgent>,
}

/// Where a session's events come from.
struct Source {
    agent: Agent,
    events: Subscription,
    frames: Arc<FramesOf>,
    bell: Arc<Bell>,
    _listening: Place,
}

impl Topics {
    /// None, which wake a task by these.
    pub(super) fn new(bells: Arc<Bells>) -> Self {
        Self { all: Slab::new(), sessions: HashMap::new(), bells, declined: false }
    }

    /// The next event. It waits while there is nothing to listen to, too: a session may come.
    pub(super) async fn next(&mut self) -> Told {
        future::poll_fn(|cx| {
            self.bells.register(cx);
            self.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next event, where one is there. Of those that rang each is asked once: one that has to wait, and is woken at
    /// once, keeps nobody else waiting.
    pub(super) fn take(&mut self) -> Option<Told> {
        (0..self.bells.count()).find_map(|_| {
            let session = self.bells.take()?;
            self.take_from(session)
        })
    }

    fn take_from(&mut self, session: usize) -> Option<Told> {
        let topic = self.all.get_mut(session)?;
        let source = topic.source.as_mut()?;
        source.bell.hush();
        let waker = waker_ref(&source.bell);
        let Poll::Ready(event) = source.events.poll_next_unpin(&mut Context::from_waker(&waker)) else {
            return None;
        };
        let Some(event) = event else {
            topic.source = None;
            return None;
        };
        let frames = source.frames.clone();
        topic.seen = event.cursor();
        if matches!(event.data, EventData::AgentStopped { .. } | EventData::SubscriptionFailed { .. }) {
            topic.source = None;
            if let Some(next) = topic.next.take() {
                self.begin(&next, Some(event.cursor()));
            }
        } else {
            source.bell.ring();
        }
        Some((event, frames))
    }

    /// The topic of an agent's session.
    fn of(&mut self, agent: &Agent) -> Option<&mut Topic> {
        let session = self.sessions.get(agent.session_id())?;
        self.all.get_mut(*session)
    }

    /// Whether the session of this agent is, or was, listened to.
    pub(super) fn knows(&self, agent: &Agent) -> bool {
        self.sessions.contains_key(agent.session_id())
    }

    /// Listens to an agent's session from behind where it was left; where it never was, from behind `from`, or from now
    /// on. Whoever listens already goes on.
    pub(super) fn follow(&mut self, running: &RunningAgent, from: Option<Cursor>) {
        let place = match self.of(&running.agent) {
            Some(Topic { source: Some(source), next, .. }) => {
                // The next agent may have the same id.
                *next = (source.agent != running.agent).then(|| running.clone());
                return;
            }
            Some(topic) => Some(topic.seen),
            None => from,
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
        self.of(&running.agent).map(|topic| topic.seen)
    }

    fn begin(&mut self, running: &RunningAgent, place: Option<Cursor>) {
        let agent = &running.agent;
        let events = match place {
            Some(cursor) => agent.subscribe_from(cursor),
            None => agent.subscribe(),
        };
        let entry = self.all.vacant_entry();
        let (session, seen) = (entry.key(), events.cursor());
        let source = Source {
            agent: agent.clone(),
            events,
            frames: running.frames.clone(),
            // It is asked at once: something may be there.
            bell: self.bells.bell(session),
            _listening: running.listeners.enter_freely(),
        };
        entry.insert(Topic { source: Some(source), seen, next: None });
        if let Some(before) = self.sessions.insert(agent.session_id().clone(), session) {
            self.all.remove(before);
        }
    }

    /// Listens no longer.
    pub(super) fn forget(&mut self, session: &str) {
        if let Some(session) = self.sessions.remove(session) {
            self.all.remove(session);
        }
    }
}

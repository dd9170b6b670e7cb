//! The sessions that one connection listens to.

use std::{
    collections::{HashMap, VecDeque},
    future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use agentx_core::{Agent, AgentId, Cursor, Event, EventData, SessionId, Subscription};
use futures::{
    StreamExt,
    task::{ArcWake, AtomicWaker, waker_ref},
};

use crate::{quota::Place, service::RunningAgent, wire::FramesOf};

/// Sessions, and their events as they come: those of one session in their order. Of many sessions, those alone are polled
/// that have something to tell, each for one event at a time.
#[derive(Default)]
pub(super) struct Topics {
    sessions: HashMap<SessionId, Topic>,
    bells: Arc<Bells>,
    /// Whether the client said that it does not want to hear of everything.
    pub(super) declined: bool,
}

/// An event, and what the events of its session look like on the wire.
pub(super) type Told = (Arc<Event>, Arc<FramesOf>);

struct Topic {
    agent: AgentId,
    /// None while no agent runs.
    source: Option<Source>,
    /// The last that was told, or the place where it began.
    seen: Cursor,
    /// The session's next agent, which runs already: it is listened to when all of this one's is told.
    next: Option<RunningAgent>,
}

/// Where a session's events come from.
struct Source {
    events: Subscription,
    frames: Arc<FramesOf>,
    bell: Arc<Bell>,
    _listening: Place,
}

/// The sessions that may have something to tell.
#[derive(Default)]
struct Bells {
    rung: Mutex<VecDeque<SessionId>>,
    task: AtomicWaker,
}

/// Wakes the connection's task for one session.
struct Bell {
    session: SessionId,
    /// Whether it is among those that rang.
    rang: AtomicBool,
    bells: Arc<Bells>,
}

impl Topics {
    /// The next event. It waits while there is nothing to listen to, too: a session may come.
    pub(super) async fn next(&mut self) -> Told {
        future::poll_fn(|cx| {
            self.bells.task.register(cx.waker());
            self.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The next event, where one is there. Each session is asked once at most: one that has to wait, and is woken at once,
    /// keeps nobody else waiting.
    pub(super) fn take(&mut self) -> Option<Told> {
        let rung = self.bells.lock().len();
        (0..rung).find_map(|_| {
            let session = self.bells.lock().pop_front()?;
            self.take_from(&session)
        })
    }

    fn take_from(&mut self, session: &SessionId) -> Option<Told> {
        let topic = self.sessions.get_mut(session)?;
        let source = topic.source.as_mut()?;
        source.bell.rang.store(false, Ordering::Release);
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

    /// Whether the session of this agent is, or was, listened to.
    pub(super) fn knows(&self, agent: &Agent) -> bool {
        self.sessions.contains_key(agent.session_id())
    }

    /// Listens to an agent's session from behind where it was left; where it never was, from behind `from`, or from now
    /// on. Whoever listens already goes on.
    pub(super) fn follow(&mut self, running: &RunningAgent, from: Option<Cursor>) {
        let place = match self.sessions.get_mut(running.agent.session_id()) {
            Some(topic @ Topic { source: Some(_), .. }) => {
                topic.next = (topic.agent != *running.agent.id()).then(|| running.clone());
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
        self.sessions.get(running.agent.session_id()).map(|topic| topic.seen)
    }

    fn begin(&mut self, running: &RunningAgent, place: Option<Cursor>) {
        let agent = &running.agent;
        let events = match place {
            Some(cursor) => agent.subscribe_from(cursor),
            None => agent.subscribe(),
        };
        let session = agent.session_id().clone();
        let bell = Bell { session: session.clone(), rang: AtomicBool::default(), bells: self.bells.clone() };
        // It is asked at once: something may be there.
        bell.ring();
        let seen = events.cursor();
        let source = Source {
            events,
            frames: running.frames.clone(),
            bell: Arc::new(bell),
            _listening: running.listeners.enter_freely(),
        };
        let topic = Topic { agent: agent.id().clone(), source: Some(source), seen, next: None };
        self.sessions.insert(session, topic);
    }

    /// Listens no longer.
    pub(super) fn forget(&mut self, session: &str) {
        self.sessions.remove(session);
    }
}

impl Bells {
    fn lock(&self) -> MutexGuard<'_, VecDeque<SessionId>> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    /// Puts its session behind those that rang before.
    fn ring(&self) {
        if !self.rang.swap(true, Ordering::AcqRel) {
            self.bells.lock().push_back(self.session.clone());
        }
    }
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        bell.ring();
        bell.bells.task.wake();
    }
}

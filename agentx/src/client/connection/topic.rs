//! Who listens to one session, and how far each is: a state machine without I/O.
//!
//! The server tells each connection of a session once. Listeners that are at different places share that, and each takes
//! what is behind its own place. Where one is further back than what is told (a new one, one that was too slow, all of them
//! after a lost connection), the session is asked for again from the place of the hindmost: the others pass over what they
//! have had.

use std::sync::Arc;

use agentx_core::{AgentId, Cursor, Error, ErrorKind, Event, EventContext, EventData, Result, Timestamp};
use tokio::sync::oneshot;

use super::inbox::Inbox;
use crate::client::failure;

/// A session that is listened to.
pub(super) struct Topic {
    context: Arc<EventContext>,
    subscribers: Vec<Subscriber>,
    /// What the server was asked and did not answer yet.
    asked: Option<Ask>,
}

/// What the server is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// What comes from now on.
    Now,
    /// What is behind this place.
    Behind(Cursor),
}

struct Subscriber {
    inbox: Arc<Inbox>,
    stage: Stage,
    /// The last event that went into the inbox; none while that is the server's to say.
    seen: Option<Cursor>,
    /// The agent that it was of.
    agent: Option<AgentId>,
    /// Whoever waits for the first answer.
    ready: Option<oneshot::Sender<Result<()>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The server has to tell it from its place on.
    Waiting,
    /// What the server was asked is for it, too.
    Asked,
    /// It is told what comes.
    Live,
    /// It has no room.
    Full,
}

impl Topic {
    pub(super) fn new(context: Arc<EventContext>) -> Self {
        Self { context, subscribers: Vec::new(), asked: None }
    }

    pub(super) fn add(
        &mut self,
        inbox: Arc<Inbox>,
        seen: Option<Cursor>,
        ready: Option<oneshot::Sender<Result<()>>>,
    ) {
        self.subscribers.push(Subscriber { inbox, stage: Stage::Waiting, seen, agent: None, ready });
    }

    /// What to ask the server next, where something is to be asked.
    pub(super) fn ask(&mut self) -> Option<Ask> {
        if self.asked.is_some() {
            return None;
        }
        let waiting = || self.subscribers.iter().filter(|one| one.stage == Stage::Waiting);
        let ask = if waiting().any(|one| one.seen.is_none()) {
            Ask::Now
        } else {
            waiting().next()?;
            let told = self.subscribers.iter().filter(|one| one.stage != Stage::Full);
            Ask::Behind(told.filter_map(|one| one.seen).min()?)
        };
        for one in &mut self.subscribers {
            if one.stage == Stage::Waiting && (one.seen.is_none() == (ask == Ask::Now)) {
                one.stage = Stage::Asked;
            }
        }
        self.asked = Some(ask);
        Some(ask)
    }

    /// The server tells the session from behind this place on.
    pub(super) fn answered(&mut self, place: Cursor) {
        self.asked = None;
        for one in self.subscribers.iter_mut().filter(|one| one.stage == Stage::Asked) {
            one.stage = Stage::Live;
            if one.seen.is_none() {
                one.seen = Some(place);
                one.inbox.begin(place);
            }
            if let Some(ready) = one.ready.take() {
                // Whoever asked may be gone.
                drop(ready.send(Ok(())));
            }
        }
    }

    /// Tells an event, that came in so many bytes. False where that was the last.
    pub(super) fn tell(&mut self, event: &Arc<Event>, bytes: usize) -> bool {
        for one in self.subscribers.iter_mut().filter(|one| one.stage == Stage::Live && one.is_new(event)) {
            if one.inbox.push(event, bytes) {
                one.seen = Some(event.cursor());
                one.agent = Some(event.context.agent_id.clone());
            } else {
                one.stage = Stage::Full;
            }
        }
        if let EventData::SubscriptionFailed { message, error_code } = &event.data {
            let why = failure::error(failure::of_event(error_code), "listen").with_message(message.clone());
            self.fail(&why);
            return false;
        }
        true
    }

    /// The connection is lost: all are to be told again.
    pub(super) fn lost(&mut self) {
        self.asked = None;
        for one in &mut self.subscribers {
            if matches!(one.stage, Stage::Asked | Stage::Live) {
                one.stage = Stage::Waiting;
            }
        }
    }

    /// Forgets who is gone, and takes up again who has room. False where nobody listens any more.
    pub(super) fn tidy(&mut self) -> bool {
        self.subscribers.retain(|one| !one.inbox.is_abandoned());
        for one in &mut self.subscribers {
            if one.stage == Stage::Full && one.inbox.is_empty() {
                one.stage = Stage::Waiting;
            }
        }
        !self.subscribers.is_empty()
    }

    /// Ends all streams, and tells why.
    pub(super) fn fail(&mut self, why: &Error) {
        for one in self.subscribers.drain(..) {
            if let Some(ready) = one.ready {
                drop(ready.send(Err(why.clone())));
                continue;
            }
            let error_code = why.kind().as_str().replace(' ', "_");
            let failed = EventData::SubscriptionFailed { message: why.to_string(), error_code };
            let place = one.seen.unwrap_or_default();
            one.inbox.end(Event::new(place, Timestamp::default(), self.context.clone(), failed));
        }
    }
}

impl Subscriber {
    /// Whether an event is behind what was seen. What is told once is counted anew by each agent of a session.
    fn is_new(&self, event: &Event) -> bool {
        let (Some(seen), cursor) = (self.seen, event.cursor()) else { return true };
        match &event.data {
            // They have no place of their own, but that of what was seen last; all end anyway where the store failed.
            EventData::SubscriptionFailed { .. } => false,
            EventData::Lagged { .. } => cursor >= seen,
            _ if cursor > seen => true,
            _ => {
                let is_other = self.agent.as_ref().is_some_and(|agent| *agent != event.context.agent_id);
                is_other && cursor.delta > 0 && cursor.seq >= seen.seq
            }
        }
    }
}

/// What the server says of a session that is not there.
pub(super) fn missing(session: &str) -> Error {
    failure::error(ErrorKind::NotFound, "listen").with_path(session).with_message("there is no such session")
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use agentx_core::{ContainerId, ImageId, SessionId};

    use super::{
        super::{State, inbox::Listener},
        *,
    };

    fn context(agent: &str) -> Arc<EventContext> {
        Arc::new(EventContext::new(
            ContainerId::new("c").unwrap(),
            ImageId::new("i").unwrap(),
            AgentId::new(agent).unwrap(),
            SessionId::new("s").unwrap(),
        ))
    }

    fn at(seq: u64, delta: u64) -> Cursor {
        let mut cursor = Cursor::from(seq);
        cursor.delta = delta;
        cursor
    }

    fn event_of(agent: &str, place: Cursor) -> Arc<Event> {
        let data = EventData::TextDelta { text: String::new() };
        Arc::new(Event::new(place, Timestamp::default(), context(agent), data))
    }

    fn event(seq: u64, delta: u64) -> Arc<Event> {
        event_of("a", at(seq, delta))
    }

    fn listener(topic: &mut Topic, seen: Option<Cursor>) -> Listener {
        let inbox = Arc::new(Inbox::new(seen.unwrap_or_default()));
        topic.add(inbox.clone(), seen, None);
        Listener::new(inbox, Arc::<State>::default())
    }

    fn heard(listener: &Listener) -> Vec<Cursor> {
        let mut heard = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(event)) = listener.poll_next(&mut cx) {
            heard.push(event.cursor());
        }
        heard
    }

    #[test]
    fn a_listener_begins_where_the_server_says_or_behind_its_own_place() {
        let mut topic = Topic::new(context("a"));
        let now = listener(&mut topic, None);
        assert_eq!((topic.ask(), topic.ask()), (Some(Ask::Now), None));
        topic.tell(&event(6, 0), 1);
        topic.answered(at(7, 0));
        assert_eq!(now.cursor(), at(7, 0));
        for place in [at(7, 0), at(7, 1), at(8, 0)] {
            topic.tell(&event_of("a", place), 1);
        }
        assert_eq!(heard(&now), [at(7, 1), at(8, 0)]);

        // One that comes with an earlier place has the rest told again, and the first hears nothing twice.
        let late = listener(&mut topic, Some(at(7, 1)));
        assert_eq!(topic.ask(), Some(Ask::Behind(at(7, 1))));
        topic.tell(&event(8, 1), 1);
        topic.answered(at(7, 1));
        for place in [at(8, 0), at(8, 1), at(9, 0)] {
            topic.tell(&event_of("a", place), 1);
        }
        assert_eq!(heard(&now), [at(8, 1), at(9, 0)]);
        assert_eq!(heard(&late), [at(8, 0), at(8, 1), at(9, 0)]);
    }

    #[test]
    fn after_a_loss_the_hindmost_place_is_asked_for() {
        let mut topic = Topic::new(context("a"));
        let (one, other) = (listener(&mut topic, Some(at(3, 0))), listener(&mut topic, Some(at(5, 0))));
        assert_eq!(topic.ask(), Some(Ask::Behind(at(3, 0))));
        topic.answered(at(3, 0));
        topic.tell(&event(4, 0), 1);
        topic.lost();
        topic.tell(&event(4, 1), 1);
        assert_eq!(topic.ask(), Some(Ask::Behind(at(4, 0))));
        // Lost again, before the answer.
        topic.lost();
        assert_eq!(topic.ask(), Some(Ask::Behind(at(4, 0))));
        topic.answered(at(4, 0));
        for seq in 5..=6 {
            topic.tell(&event(seq, 0), 1);
        }
        assert_eq!(heard(&one), [at(4, 0), at(5, 0), at(6, 0)]);
        assert_eq!(heard(&other), [at(6, 0)]);
    }

    #[test]
    fn one_that_is_too_slow_is_told_the_rest_when_it_has_room_and_holds_nobody_up() {
        let mut topic = Topic::new(context("a"));
        let (slow, fast) = (listener(&mut topic, Some(at(0, 0))), listener(&mut topic, Some(at(0, 0))));
        topic.ask();
        topic.answered(at(0, 0));
        let last = 5_000;
        for seq in 1..=last {
            topic.tell(&event(seq, 0), 1);
            assert_eq!(heard(&fast), [at(seq, 0)]);
        }
        assert!(topic.tidy() && topic.ask().is_none());
        let first = heard(&slow);
        assert_eq!((first.len(), first.last()), (4096, Some(&at(4096, 0))));
        topic.tidy();
        assert_eq!(topic.ask(), Some(Ask::Behind(at(4096, 0))));
        topic.answered(at(4096, 0));
        for seq in 4097..=last {
            topic.tell(&event(seq, 0), 1);
        }
        assert_eq!(heard(&slow).last(), Some(&at(last, 0)));
        assert!(heard(&fast).is_empty());
        drop((slow, fast));
        assert!(!topic.tidy());
    }

    #[test]
    fn the_next_agent_of_a_session_counts_anew() {
        let mut topic = Topic::new(context("a"));
        let one = listener(&mut topic, Some(at(3, 0)));
        topic.ask();
        topic.answered(at(3, 0));
        topic.tell(&event(3, 9), 1);
        for place in [at(3, 0), at(3, 1), at(4, 0)] {
            topic.tell(&event_of("b", place), 1);
        }
        assert_eq!(heard(&one), [at(3, 9), at(3, 1), at(4, 0)]);
    }

    #[test]
    fn a_failure_ends_the_streams_and_is_told_to_who_waits() {
        let mut topic = Topic::new(context("a"));
        let old = listener(&mut topic, Some(at(3, 0)));
        topic.ask();
        topic.answered(at(3, 0));
        let (ready, mut is_ready) = oneshot::channel();
        topic.add(Arc::new(Inbox::new(Cursor::default())), None, Some(ready));
        topic.fail(&missing("s"));
        assert_eq!(is_ready.try_recv().unwrap().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(heard(&old), [at(3, 0)]);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(old.poll_next(&mut cx), Poll::Ready(None)));
    }
}

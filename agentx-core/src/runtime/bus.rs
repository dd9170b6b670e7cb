//! The latest events of one agent, for those who listen.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use crate::{ContentPart, Cursor, Event, EventContext, EventData, Timestamp, message::json_size};

/// The most events that are kept for subscribers who lag.
pub(super) const MAX_EVENTS: usize = 4096;
/// The most bytes of content that are kept for them, about.
const MAX_BYTES: usize = 8 << 20;

/// Keeps the latest events while a turn runs and until everybody who listens has had them. Publishing never waits. What
/// is gone from here, and what another process stored, a subscriber reads from the store.
#[derive(Debug)]
pub(super) struct Bus(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// The place of the last event.
    last: Cursor,
    /// While the agent itself stores events that it has not told yet: how far events are announced meanwhile. They may lie
    /// behind its own, and wait for them.
    held: Option<u64>,
    /// None while nothing is kept and nobody listens.
    live: Option<Box<Live>>,
    /// Whether a turn runs: whoever comes late may still want what is here.
    busy: bool,
    closed: bool,
}

#[derive(Debug, Default)]
struct Live {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The place of the last event that is gone from here.
    floor: Cursor,
    /// How many events that are not stored were told up to there.
    floor_told: u64,
    /// How many were told in all.
    told: u64,
    /// Where each subscriber is, and who waits, by the subscribers' numbers.
    subscribers: BTreeMap<u64, Subscriber>,
    /// How many subscribers there were.
    count: u64,
}

#[derive(Debug)]
struct Entry {
    /// The event's place; of a gap, that of its last event.
    at: Cursor,
    /// How many events that are not stored were told up to here.
    told: u64,
    weight: usize,
    kept: Kept,
}

/// What is here of an event.
#[derive(Debug)]
enum Kept {
    /// Others stored events meanwhile: they are read from the store.
    Gap,
    Event(Arc<Event>),
    /// A piece of text, of which there are many, and which becomes an event when somebody asks for it.
    Text {
        text: String,
        at: Timestamp,
        context: Arc<EventContext>,
    },
}

#[derive(Debug)]
struct Subscriber {
    seen: Cursor,
    waker: Option<Waker>,
}

/// What comes next for a subscriber.
pub(super) enum Next {
    /// This, and how many events that are not stored were told up to it.
    Event(Arc<Event>, u64),
    /// What is stored up to this number; behind this place, all is here. With it, how many events that are not stored
    /// were told up to there.
    Stored(Cursor, u64),
    /// Nothing yet.
    Wait,
    /// Nothing any more.
    End,
}

impl Bus {
    /// Behind an event that is stored.
    pub(super) fn behind(seq: u64) -> Self {
        Self(Mutex::new(State { last: Cursor::from(seq), ..State::default() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of events; those that are stored have the numbers from `first` on.
    pub(super) fn publish(
        &self,
        at: Timestamp,
        context: &Arc<EventContext>,
        events: impl IntoIterator<Item = EventData>,
        first: Option<u64>,
    ) {
        let mut state = self.lock();
        if let Some(first) = first {
            state.skip_to(first.saturating_sub(1));
        }
        for data in events {
            let stored = first.is_some() && data.is_stored();
            let Cursor { seq, delta } = state.last;
            let cursor = if stored { Cursor::from(seq + 1) } else { Cursor { seq, delta: delta + 1 } };
            let (weight, context) = (weight(&data), context.clone());
            let kept = match data {
                EventData::TextDelta { text } => Kept::Text { text, at, context },
                data => Kept::Event(Arc::new(Event::new(cursor, at, context, data))),
            };
            state.push(cursor, kept, weight);
        }
        if first.is_some() {
            state.let_go();
        }
        state.live().bound();
        wake_all(state);
    }

    /// Tells that events up to this number are stored.
    pub(super) fn announce(&self, seq: u64) {
        let mut state = self.lock();
        if let Some(held) = &mut state.held {
            *held = seq.max(*held);
            return;
        }
        state.skip_to(seq);
        wake_all(state);
    }

    /// The agent is about to store events: what is announced from here on waits until they are published, so that they are
    /// told in their place and once. The end of its work ends this too.
    pub(super) fn hold(&self) {
        self.lock().held.get_or_insert(0);
    }

    /// The agent could not store its events.
    pub(super) fn release(&self) {
        let mut state = self.lock();
        state.let_go();
        wake_all(state);
    }

    /// Ends all subscriptions once they have had what was published, this last.
    pub(super) fn close(&self, at: Timestamp, context: &Arc<EventContext>, last: EventData) {
        if !self.lock().closed {
            self.publish(at, context, vec![last], None);
        }
        let mut state = self.lock();
        state.closed = true;
        wake_all(state);
    }

    /// Whether a turn runs.
    pub(super) fn set_busy(&self, busy: bool) {
        let mut state = self.lock();
        state.busy = busy;
        if !busy {
            state.let_go();
            wake_all(state);
        }
    }

    /// A new subscriber behind `seen`, or behind the last event: its number, its place, and how many events that are not
    /// stored were told up to there, where that is known.
    pub(super) fn subscribe(&self, seen: Option<Cursor>) -> (u64, Cursor, Option<u64>) {
        let mut state = self.lock();
        let seen = seen.unwrap_or(state.last).min(state.last);
        let live = state.live();
        live.count += 1;
        live.subscribers.insert(live.count, Subscriber { seen, waker: None });
        let before = live.entries.partition_point(|entry| entry.at <= seen).checked_sub(1);
        let told = match before.and_then(|before| live.entries.get(before)) {
            Some(entry) => Some(entry.told),
            None => (seen >= live.floor).then_some(live.floor_told),
        };
        (live.count, seen, told)
    }

    pub(super) fn unsubscribe(&self, number: u64) {
        let mut state = self.lock();
        state.live().subscribers.remove(&number);
        state.trim();
    }

    /// What comes behind `seen` for a subscriber, who is woken by `waker` when it has to wait.
    pub(super) fn next(&self, number: u64, seen: Cursor, waker: &Waker) -> Next {
        let mut state = self.lock();
        let closed = state.closed;
        let live = state.live();
        if let Some(subscriber) = live.subscribers.get_mut(&number) {
            subscriber.seen = seen;
            subscriber.waker = None;
        }
        if seen < live.floor {
            return Next::Stored(live.floor, live.floor_told);
        }
        let index = live.entries.partition_point(|entry| entry.at <= seen);
        match live.entries.get_mut(index) {
            Some(entry) => {
                let told = entry.told;
                return match entry.event() {
                    Some(event) => Next::Event(event, told),
                    None => Next::Stored(entry.at, told),
                };
            }
            None if closed => return Next::End,
            None => {}
        }
        if let Some(subscriber) = live.subscribers.get_mut(&number) {
            subscriber.waker = Some(waker.clone());
        }
        state.trim();
        Next::Wait
    }
}

impl State {
    fn live(&mut self) -> &mut Live {
        let floor = self.last;
        self.live.get_or_insert_with(|| Box::new(Live { floor, ..Live::default() }))
    }

    /// Leaves a gap up to this number, where there is one.
    fn skip_to(&mut self, seq: u64) {
        if seq <= self.last.seq {
            return;
        }
        if self.live.is_some() {
            self.push(Cursor::from(seq), Kept::Gap, 0);
        } else {
            self.last = Cursor::from(seq);
        }
    }

    /// Announces what was held back.
    fn let_go(&mut self) {
        if let Some(held) = self.held.take() {
            self.skip_to(held);
        }
    }

    fn push(&mut self, at: Cursor, kept: Kept, weight: usize) {
        self.live().push(at, kept, weight);
        self.last = at;
    }

    /// At rest, lets go of what everybody has seen.
    fn trim(&mut self) {
        let (busy, last) = (self.busy, self.last);
        let Some(live) = self.live.as_mut().filter(|_| !busy) else { return };
        // They are woken in their order: whoever has not seen the oldest is among the last.
        let subscribers = || live.subscribers.values().rev();
        let oldest = live.entries.front().map(|entry| entry.at);
        if oldest.is_some_and(|oldest| subscribers().any(|subscriber| subscriber.seen < oldest)) {
            return;
        }
        let seen = subscribers().map(|subscriber| subscriber.seen).min().unwrap_or(last);
        while live.entries.front().is_some_and(|entry| entry.at <= seen) {
            live.pop();
        }
        if live.entries.is_empty() {
            live.entries = VecDeque::new();
            if live.subscribers.is_empty() {
                self.live = None;
            }
        }
    }
}

impl Live {
    fn push(&mut self, at: Cursor, kept: Kept, weight: usize) {
        self.told += u64::from(at.delta > 0);
        self.bytes += weight;
        self.entries.push_back(Entry { at, told: self.told, weight, kept });
    }

    fn pop(&mut self) {
        let Some(Entry { at, told, weight, .. }) = self.entries.pop_front() else { return };
        (self.floor, self.floor_told) = (at, told);
        self.bytes -= weight;
    }

    fn bound(&mut self) {
        while self.entries.len() > MAX_EVENTS || (self.bytes > MAX_BYTES && self.entries.len() > 1) {
            self.pop();
        }
    }
}

impl Entry {
    /// The event; none where it is read from the store.
    fn event(&mut self) -> Option<Arc<Event>> {
        if let Kept::Text { text, at, context } = &mut self.kept {
            let data = EventData::TextDelta { text: mem::take(text) };
            self.kept = Kept::Event(Arc::new(Event::new(self.at, *at, context.clone(), data)));
        }
        match &self.kept {
            Kept::Event(event) => Some(event.clone()),
            Kept::Gap | Kept::Text { .. } => None,
        }
    }
}

fn wake_all(mut state: MutexGuard<'_, State>) {
    let waiting = state.live.iter_mut().flat_map(|live| live.subscribers.values_mut());
    let wakers: Vec<_> = waiting.filter_map(|subscriber| subscriber.waker.take()).collect();
    state.trim();
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

/// What an event's content weighs, in bytes, roughly.
fn weight(data: &EventData) -> usize {
    128 + match data {
        EventData::TextDelta { text } | EventData::ThinkingDelta { text } => text.len(),
        EventData::InputJsonDelta { partial_json, .. } => partial_json.len(),
        EventData::ToolResult { result, .. } | EventData::ToolCompleted { result, .. } => result.size(),
        EventData::ToolFailed { error, .. } => error.len(),
        EventData::ToolUseStop { input, .. }
        | EventData::ToolExecuting { input, .. }
        | EventData::ApprovalRequested { input, .. } => json_size(input),
        EventData::TurnRequest { content, options, .. } => {
            content.iter().map(ContentPart::size).sum::<usize>() + options.as_ref().map_or(0, json_size)
        }
        _ => data.message().map_or(0, |message| message.body.size()),
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;

    use super::*;
    use crate::{
        AgentId, AssistantMessage, AssistantPart, ContainerId, ImageId, Message, MessageBody, MessageId,
        SessionId, ToolCall, ToolOutput, ToolResult, TurnId,
    };

    fn context() -> Arc<EventContext> {
        Arc::new(EventContext::new(
            ContainerId::new("c").unwrap(),
            ImageId::new("i").unwrap(),
            AgentId::new("a").unwrap(),
            SessionId::new("s").unwrap(),
        ))
    }

    fn text(n: usize) -> EventData {
        EventData::TextDelta { text: n.to_string() }
    }

    fn started(n: u64) -> EventData {
        EventData::ConversationStart { message_id: MessageId::new(format!("m{n}")).unwrap() }
    }

    /// What a subscriber gets from `seen` on, in short.
    fn told(bus: &Bus, number: u64, mut seen: Cursor) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            match bus.next(number, seen, noop_waker_ref()) {
                Next::Event(event, _) => {
                    seen = event.cursor();
                    told.push(format!("{}.{}", seen.seq, seen.delta));
                }
                Next::Stored(until, others) => {
                    told.push(format!("stored to {}.{}, {others} others", until.seq, until.delta));
                    seen = until;
                }
                Next::Wait => return told,
                Next::End => {
                    told.push("end".to_owned());
                    return told;
                }
            }
        }
    }

    #[test]
    fn stored_events_have_the_store_s_numbers_and_others_are_counted_behind_them() {
        let (bus, context) = (Bus::behind(7), context());
        let (number, seen, _) = bus.subscribe(None);
        bus.set_busy(true);
        bus.publish(Timestamp::default(), &context, vec![text(1), started(8), text(2), text(3)], Some(8));
        bus.publish(Timestamp::default(), &context, vec![started(11)], Some(11));
        bus.announce(10);
        assert_eq!(
            told(&bus, number, seen),
            ["7.1", "8.0", "8.1", "8.2", "stored to 10.0, 3 others", "11.0"]
        );
        assert_eq!(told(&bus, number, Cursor::from(3)), told(&bus, number, Cursor::default()));
        let (_, beyond, _) = bus.subscribe(Some(Cursor::from(99)));
        assert_eq!(beyond, Cursor::from(11));
    }

    /// An answer or a queued message that another thread stores and announces between an append and what is told of it.
    #[test]
    fn what_is_announced_while_the_agent_stores_waits_for_its_events() {
        let (bus, context) = (Bus::behind(3), context());
        let (number, seen, _) = bus.subscribe(None);
        bus.set_busy(true);
        bus.hold();
        bus.announce(6);
        bus.announce(5);
        bus.publish(Timestamp::default(), &context, vec![text(1)], None);
        assert_eq!(told(&bus, number, seen), ["3.1"]);
        bus.publish(Timestamp::default(), &context, vec![text(2), started(4), text(3), started(5)], Some(4));
        let all = ["3.1", "3.2", "4.0", "4.1", "5.0", "stored to 6.0, 3 others"];
        assert_eq!(told(&bus, number, seen), all);

        bus.hold();
        bus.announce(7);
        assert_eq!(told(&bus, number, Cursor::from(6)), [""; 0]);
        bus.release();
        assert_eq!(told(&bus, number, Cursor::from(6)), ["stored to 7.0, 3 others"]);
        bus.hold();
        bus.announce(8);
        bus.set_busy(false);
        assert_eq!(told(&bus, number, Cursor::from(7)), ["stored to 8.0, 3 others"]);
        bus.announce(9);
        assert_eq!(told(&bus, number, Cursor::from(8)), ["stored to 9.0, 3 others"]);
    }

    #[test]
    fn who_lags_is_sent_to_the_store_and_told_what_it_missed() {
        let (bus, context) = (Bus::behind(0), context());
        let (number, seen, _) = bus.subscribe(None);
        bus.set_busy(true);
        bus.publish(Timestamp::default(), &context, vec![started(1)], Some(1));
        bus.publish(Timestamp::default(), &context, (0..MAX_EVENTS + 5).map(text), None);
        let told = told(&bus, number, seen);
        assert_eq!(told.len(), 1 + MAX_EVENTS);
        assert_eq!(told[..2], ["stored to 1.5, 5 others", "1.6"]);
    }

    #[test]
    fn at_rest_nothing_is_kept_that_everybody_has_seen() {
        let (bus, context) = (Bus::behind(0), context());
        let (fast, seen, _) = bus.subscribe(None);
        let (slow, _, _) = bus.subscribe(None);
        bus.set_busy(true);
        bus.publish(Timestamp::default(), &context, vec![started(1), text(1), started(2)], Some(1));
        assert_eq!(told(&bus, fast, seen).len(), 3);
        bus.set_busy(false);
        assert_eq!(bus.lock().live().entries.len(), 3, "one has not seen them");
        assert_eq!(told(&bus, slow, seen).len(), 3);
        assert_eq!(bus.lock().live().entries.capacity(), 0);
        bus.publish(Timestamp::default(), &context, vec![started(3)], Some(3));
        bus.unsubscribe(slow);
        bus.unsubscribe(fast);
        assert!(bus.lock().live.is_none());
        let stopped = EventData::AgentStopped { agent_id: AgentId::new("a").unwrap(), reason: "x".into() };
        let (late, seen, _) = bus.subscribe(None);
        bus.close(Timestamp::default(), &context, stopped.clone());
        bus.close(Timestamp::default(), &context, stopped);
        assert_eq!(told(&bus, late, seen), ["3.1", "end"]);
    }

    /// Whatever carries a mebibyte weighs one, an image and a tool's input as well as text.
    #[test]
    fn large_events_are_bounded_by_bytes() {
        let large = || "x".repeat(1 << 20);
        let image = || ContentPart::Image { data: large(), media_type: "image/png".into() };
        let output = || ToolOutput::Content(vec![image()]);
        let message = |body| Message::new(MessageId::new("m").unwrap(), Timestamp::default(), body);
        let assistant = |part| MessageBody::Assistant(AssistantMessage::new(vec![part]));
        let call = || ToolCall::new("1", "t", serde_json::json!({ "content": large() }));
        let request = EventData::TurnRequest {
            turn_id: TurnId::new("t").unwrap(),
            message_id: MessageId::new("m").unwrap(),
            content: vec![image()],
            timestamp: Timestamp::default(),
            options: None,
        };
        for event in [
            request,
            EventData::TextDelta { text: large() },
            EventData::UserMessage(message(MessageBody::User { content: vec![image()] })),
            EventData::ToolCompleted { tool_id: "1".into(), tool_name: "t".into(), result: output() },
            EventData::ToolResultMessage(message(MessageBody::Tool(ToolResult::new("1", "t", output())))),
            EventData::AssistantMessage(message(assistant(AssistantPart::ToolCall(call())))),
            EventData::AssistantMessage(message(assistant(AssistantPart::Opaque {
                provider: "p".into(),
                json: large(),
            }))),
        ] {
            let (bus, context) = (Bus::behind(0), context());
            bus.set_busy(true);
            // A few more than fit.
            for _ in 0..12 {
                bus.publish(Timestamp::default(), &context, vec![event.clone()], None);
            }
            let mut state = bus.lock();
            assert_eq!(state.last.delta, 12);
            let kept = state.live().entries.len();
            assert!(kept <= MAX_BYTES >> 20, "{kept} events of 1 MiB: {event:?}");
        }
    }
}

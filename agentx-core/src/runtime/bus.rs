//! The events of one agent on their way to whoever listens.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use futures::Stream;

use crate::{ContentPart, Event, EventContext, EventData, Timestamp};

/// The most events that are kept for subscribers who lag or resume.
const MAX_EVENTS: usize = 4096;
/// The most bytes of content that are kept for them, about.
const MAX_BYTES: usize = 8 << 20;

/// Keeps the latest events, so that a subscriber can be slow, come late, or come again. Publishing never waits.
#[derive(Debug, Default)]
pub(super) struct Bus(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// How many events were ever published; the number of the last.
    published: u64,
    /// Of the subscriptions that wait, by their numbers.
    wakers: HashMap<u64, Waker>,
    /// How many subscriptions there ever were.
    subscriptions: u64,
    closed: bool,
}

impl Bus {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, at: Timestamp, context: &Arc<EventContext>, events: Vec<EventData>) {
        let mut state = self.lock();
        for data in events {
            state.published += 1;
            state.bytes += weight(&data);
            let event = Event::new(state.published, at, context.clone(), data);
            state.events.push_back(Arc::new(event));
        }
        while state.events.len() > MAX_EVENTS || (state.bytes > MAX_BYTES && state.events.len() > 1) {
            if let Some(gone) = state.events.pop_front() {
                state.bytes -= weight(&gone.data);
            }
        }
        wake_all(state);
    }

    /// Ends all subscriptions once they have had what was published.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        wake_all(state);
    }

    pub(super) fn last(&self) -> u64 {
        self.lock().published
    }
}

fn wake_all(mut state: MutexGuard<'_, State>) {
    let wakers = std::mem::take(&mut state.wakers);
    drop(state);
    wakers.into_values().for_each(Waker::wake);
}

/// What an event's content weighs, in bytes, roughly.
fn weight(data: &EventData) -> usize {
    128 + match data {
        EventData::TextDelta { text } | EventData::ThinkingDelta { text } => text.len(),
        EventData::InputJsonDelta { partial_json, .. } => partial_json.len(),
        EventData::ToolResult { result, .. } | EventData::ToolCompleted { result, .. } => result.size(),
        EventData::ToolFailed { error, .. } => error.len(),
        EventData::ToolUseStop { input, .. } | EventData::ToolExecuting { input, .. } => {
            input.to_string().len()
        }
        EventData::TurnRequest { content, .. } => content.iter().map(ContentPart::size).sum(),
        _ => data.message().map_or(0, |message| message.body.size()),
    }
}

/// The events of an agent, from some point on, as they happen.
///
/// The latest 4,096 events (or 8 MiB of them) are kept. A subscriber that falls behind them is told so by
/// [`EventData::Lagged`], and goes on with the oldest that is left. It ends when the agent is gone.
#[derive(Debug)]
pub struct Subscription {
    bus: Arc<Bus>,
    context: Arc<EventContext>,
    number: u64,
    /// The last event that was seen.
    seen: u64,
}

impl Subscription {
    pub(super) fn new(bus: Arc<Bus>, context: Arc<EventContext>, seen: u64) -> Self {
        let number = {
            let mut state = bus.lock();
            state.subscriptions += 1;
            state.subscriptions
        };
        Self { bus, context, number, seen }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.bus.lock().wakers.remove(&self.number);
    }
}

impl Stream for Subscription {
    type Item = Arc<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        let this = &mut *self;
        let mut state = this.bus.lock();
        let oldest = state.published + 1 - state.events.len() as u64;
        if this.seen + 1 < oldest {
            let missed = oldest - 1 - this.seen;
            this.seen = oldest - 1;
            let at = state.events.front().map_or_else(Timestamp::default, |event| event.timestamp);
            let lagged = Event::new(this.seen, at, this.context.clone(), EventData::Lagged { missed });
            return Poll::Ready(Some(Arc::new(lagged)));
        }
        // Positions are bounded by the kept events, so they fit.
        let index = usize::try_from(this.seen + 1 - oldest).unwrap_or(usize::MAX);
        if let Some(event) = state.events.get(index) {
            this.seen += 1;
            return Poll::Ready(Some(event.clone()));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.wakers.insert(this.number, cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

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

    #[test]
    fn a_subscriber_that_lags_is_told_and_goes_on() {
        let (bus, context) = (Arc::new(Bus::default()), context());
        let mut subscription = Subscription::new(bus.clone(), context.clone(), 0);
        bus.publish(Timestamp::default(), &context, (0..MAX_EVENTS + 5).map(text).collect());
        let first = subscription.next().now_or_never().unwrap().unwrap();
        assert_eq!(first.data, EventData::Lagged { missed: 5 });
        let second = subscription.next().now_or_never().unwrap().unwrap();
        assert_eq!((second.seq, &second.data), (6, &text(5)));
        bus.close();
        assert_eq!(subscription.count().now_or_never(), Some(MAX_EVENTS - 1));
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
        };
        for event in [
            request,
            EventData::TextDelta { text: large() },
            EventData::UserMessage(message(MessageBody::User { content: vec![image()] })),
            EventData::ToolCompleted { tool_id: "1".into(), tool_name: "t".into(), result: output() },
            EventData::ToolResultMessage(message(MessageBody::Tool(ToolResult::new("1", "t", output())))),
            EventData::AssistantMessage(message(assistant(AssistantPart::ToolCall(call())))),
            EventData::AssistantMessage(message(assistant(AssistantPart::Thinking {
                reasoning: large(),
                signature: None,
            }))),
        ] {
            assert!(weight(&event) > 1 << 20, "{:?}", serde_json::to_value(&event).unwrap()["type"]);
        }

        let (bus, context) = (Arc::new(Bus::default()), context());
        for _ in 0..20 {
            let event = EventData::ToolResult { tool_call_id: "1".into(), result: output(), is_error: false };
            bus.publish(Timestamp::default(), &context, vec![event]);
        }
        assert!(bus.lock().events.len() < 9);
        let mut cursor = Subscription::new(bus, context, 19);
        assert_eq!(cursor.next().now_or_never().unwrap().unwrap().seq, 20);
    }

    #[test]
    fn listeners_that_come_and_go_leave_nothing() {
        let (bus, context) = (Arc::new(Bus::default()), context());
        let mut stays = Subscription::new(bus.clone(), context.clone(), 0);
        for _ in 0..100 {
            let mut goes = Subscription::new(bus.clone(), context.clone(), 0);
            assert!(goes.next().now_or_never().is_none());
            assert!(stays.next().now_or_never().is_none());
        }
        assert_eq!(bus.lock().wakers.len(), 1);
    }
}

//! The events of one agent on their way to one who listens.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use agentx_resource::BoxFuture;
use futures::Stream;

use super::bus::{Bus, Next};
use crate::{
    Cursor, Event, EventContext, EventData, EventPage, Result, SessionRepository, StoredEvent, Timestamp,
};

/// How many events are read from the store at once.
const PAGE: usize = 256;

/// The events of an agent, from some point on, as they happen.
///
/// Those that are stored come all, each once, in the order of their numbers: what is no longer in memory is read from the
/// store, also what another process stored. Of the others, the latest 4,096 events (or 8 MiB of them) are kept while a
/// turn runs; a subscriber that falls behind them is told how many it missed ([`EventData::Lagged`]).
///
/// The last event is [`EventData::AgentStopped`], or [`EventData::SubscriptionFailed`] where the store can't be read.
pub struct Subscription {
    bus: Arc<Bus>,
    context: Arc<EventContext>,
    sessions: Arc<dyn SessionRepository>,
    number: u64,
    /// The last event that was seen, and when it happened.
    seen: Cursor,
    at: Timestamp,
    /// How many events that are not stored were told up to there; none where that was never known.
    told: Option<u64>,
    page: VecDeque<StoredEvent>,
    reading: Option<BoxFuture<'static, Result<Vec<StoredEvent>>>>,
    over: bool,
}

impl Subscription {
    /// From behind `seen`, or from now on.
    pub(super) fn new(
        bus: Arc<Bus>,
        context: Arc<EventContext>,
        sessions: Arc<dyn SessionRepository>,
        seen: Option<Cursor>,
    ) -> Self {
        let (number, seen, told) = bus.subscribe(seen);
        Self {
            bus,
            context,
            sessions,
            number,
            seen,
            at: Timestamp::default(),
            told,
            page: VecDeque::new(),
            reading: None,
            over: false,
        }
    }

    /// The place of the last event that was seen: where a later subscription goes on.
    pub fn cursor(&self) -> Cursor {
        self.seen
    }

    /// Whether more is in the store than was told.
    pub(super) fn is_behind(&self) -> bool {
        self.reading.is_some()
    }

    /// The next stored event up to `until`, or nothing where this is it.
    fn poll_stored(&mut self, cx: &mut Context<'_>, until: Cursor) -> Poll<Result<Option<StoredEvent>>> {
        loop {
            while self.page.front().is_some_and(|stored| stored.seq <= until.seq) {
                if let Some(stored) = self.page.pop_front().filter(|stored| stored.seq > self.seen.seq) {
                    return Poll::Ready(Ok(Some(stored)));
                }
            }
            if self.seen.seq >= until.seq {
                return Poll::Ready(Ok(None));
            }
            let mut reading = self.reading.take().unwrap_or_else(|| {
                let (sessions, session) = (self.sessions.clone(), self.context.session_id.clone());
                let page = EventPage::after(self.seen.seq, PAGE);
                Box::pin(async move { sessions.list_events(&session, page).await })
            });
            match reading.as_mut().poll(cx) {
                Poll::Ready(Ok(page)) if page.is_empty() => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(page)) => self.page = page.into(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.reading = Some(reading);
                    return Poll::Pending;
                }
            }
        }
    }

    /// What this subscriber alone is told.
    fn alone(&self, data: EventData) -> Arc<Event> {
        Arc::new(Event::new(self.seen, self.at, self.context.clone(), data))
    }
}

impl Stream for Subscription {
    type Item = Arc<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        let this = &mut *self;
        while !this.over {
            let (until, told) = match this.bus.next(this.number, this.seen, cx.waker()) {
                Next::Event(event, told) => {
                    (this.seen, this.at) = (event.cursor(), event.timestamp);
                    this.told = Some(told);
                    return Poll::Ready(Some(event));
                }
                Next::Wait => return Poll::Pending,
                Next::End => break,
                Next::Stored(until, told) => (until, told),
            };
            let missed = this.told.replace(told).map_or(0, |before| told.saturating_sub(before));
            if missed > 0 {
                return Poll::Ready(Some(this.alone(EventData::Lagged { missed })));
            }
            match this.poll_stored(cx, until) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(stored))) => {
                    (this.seen, this.at) = (Cursor::from(stored.seq), stored.event.timestamp);
                    let mut context = (*this.context).clone();
                    context.turn_id = stored.event.turn_id;
                    let (context, data) = (Arc::new(context), stored.event.data);
                    let event = Event::new(this.seen, this.at, context, data);
                    return Poll::Ready(Some(Arc::new(event)));
                }
                Poll::Ready(Ok(None)) => this.seen = until,
                Poll::Ready(Err(error)) => {
                    this.over = true;
                    let error_code = error.kind().as_str().replace(' ', "_");
                    let failed = EventData::SubscriptionFailed { message: error.to_string(), error_code };
                    return Poll::Ready(Some(this.alone(failed)));
                }
            }
        }
        this.over = true;
        Poll::Ready(None)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.bus.unsubscribe(self.number);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("seen", &self.seen).finish_non_exhaustive()
    }
}

//! Requests whose answer is a stream of events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use agentx_core::{Cursor, Event, EventData, Subscription, TurnId};
use axum::{
    Extension,
    extract::{Path, State},
    http::HeaderMap,
    response::sse::{self, Sse},
};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use super::body::Body;
use crate::{
    failure::Failure,
    server::{Caller, Shared},
    service::{Method, RunningAgent},
    wire::{self, Wire},
};

/// How often a stream without events says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type Events = Sse<sse::KeepAliveStream<stream::BoxStream<'static, Result<sse::Event, Infallible>>>>;

/// Sends a message. The answer is the events from here to the end of the message's turn. Whoever loses the connection
/// asks again at `…/events`, with the last id in `Last-Event-ID`.
pub(super) async fn send(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    Body(mut params): Body,
) -> Result<Events, Failure> {
    params.insert("agentId".to_owned(), json!(id));
    // Counted before anything is looked for: an id that is none costs a look, too.
    shared.ask(&caller.owner).await?;
    let running = shared.service.agent_of_id(&caller.owner, &id).await?;
    // From before the message on: the first event is the message itself.
    let subscription = running.agent.subscribe();
    let answer = shared.do_asked(&caller.owner, Method::MessageSend, params).await?;
    let end = match (&answer.turn, answer.result.get("messageId").and_then(Value::as_str)) {
        (Some(turn), _) => End::Turn(turn.turn_id().clone()),
        (None, Some(message)) => End::Queued(message.to_owned()),
        (None, None) => End::Over,
    };
    told(&shared, caller, &running, until(end, subscription)).await
}

/// All events of an agent, from now on, or from behind `Last-Event-ID` on.
pub(super) async fn listen(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Events, Failure> {
    shared.ask(&caller.owner).await?;
    let running = shared.service.agent_of_id(&caller.owner, &id).await?;
    let subscription = match headers.get("last-event-id") {
        None => running.agent.subscribe(),
        Some(id) => {
            let cursor: Option<Cursor> = id.to_str().ok().and_then(wire::parse_cursor);
            let cursor =
                cursor.ok_or_else(|| Failure::params("Last-Event-ID is no cursor of this server"))?;
            running.agent.subscribe_from(cursor)
        }
    };
    told(&shared, caller, &running, subscription).await
}

/// Where the answer to a message ends.
enum End {
    /// Behind this turn.
    Turn(TurnId),
    /// Behind the turn that takes up this message.
    Queued(String),
    /// Here.
    Over,
}

fn until(end: End, subscription: Subscription) -> impl Stream<Item = Arc<Event>> + Send + 'static {
    stream::unfold((end, subscription), |(end, mut subscription)| async {
        if matches!(end, End::Over) {
            return None;
        }
        let event = subscription.next().await?;
        let end = end.behind(&event);
        Some((event, (end, subscription)))
    })
}

impl End {
    /// Where the answer ends, once this event is told.
    fn behind(self, event: &Event) -> Self {
        match (&event.data, self) {
            (EventData::ConversationStart { message_id }, Self::Queued(waiting))
                if message_id.as_str() == waiting =>
            {
                event.context.turn_id.clone().map_or(Self::Over, Self::Turn)
            }
            (EventData::TurnResponse { turn_id, .. }, Self::Turn(awaited)) if *turn_id == awaited => {
                Self::Over
            }
            (EventData::AgentStopped { .. } | EventData::SubscriptionFailed { .. }, _) => Self::Over,
            (_, end) => end,
        }
    }
}

async fn told(
    shared: &Arc<Shared>,
    caller: Caller,
    running: &RunningAgent,
    events: impl Stream<Item = Arc<Event>> + Send + 'static,
) -> Result<Events, Failure> {
    let listening = running.listeners.enter_freely();
    let places = (shared.connect()?, shared.connect_owner(&caller.owner).await?, listening);
    let owner = caller.owner.clone();
    let over = futures::future::select(Box::pin(shared.closed()), Box::pin(shared.lapsed(caller)));
    let events = events.take_until(over).map(move |event| {
        // For as long as it goes on.
        let _places = &places;
        let told = sse::Event::default().event(event.data.name()).id(wire::cursor(event.cursor()));
        Ok(told.data(wire::event(&owner, &event, Wire::Event)))
    });
    Ok(Sse::new(events.boxed()).keep_alive(sse::KeepAlive::new().interval(KEEP_ALIVE)))
}

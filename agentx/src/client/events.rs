use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use agentx_core::{Cursor, Event, Subscription};
use futures::{Stream, StreamExt};

use super::connection::{Connection, Listener};

/// The events of one conversation, from some point on, as they happen: of an agent in this process, or of a remote one.
///
/// Those that are stored come all, each once, in their order. A listener that is too slow misses some of the others, and is
/// told how many ([`EventData::Lagged`](crate::EventData::Lagged)).
///
/// A remote stream outlives lost connections and restarts of the server. It ends with
/// [`EventData::SubscriptionFailed`](crate::EventData::SubscriptionFailed) where it can't go on; its
/// [`cursor`](Self::cursor) is where another one may. A local one ends with its agent.
pub struct Events(Inner);

enum Inner {
    Local(Box<Subscription>),
    Remote(Remote),
}

struct Remote {
    listener: Listener,
    #[expect(dead_code, reason = "a stream keeps its connection")]
    connection: Connection,
}

impl Events {
    pub(super) fn local(subscription: Subscription) -> Self {
        Self(Inner::Local(Box::new(subscription)))
    }

    pub(super) fn remote(listener: Listener, connection: Connection) -> Self {
        Self(Inner::Remote(Remote { listener, connection }))
    }

    /// The place of the last event that came out of this stream: where a later one goes on.
    pub fn cursor(&self) -> Cursor {
        match &self.0 {
            Inner::Local(subscription) => subscription.cursor(),
            Inner::Remote(remote) => remote.listener.cursor(),
        }
    }
}

impl Stream for Events {
    type Item = Arc<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        match &mut self.0 {
            Inner::Local(subscription) => subscription.poll_next_unpin(cx),
            Inner::Remote(remote) => remote.listener.poll_next(cx),
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("cursor", &self.cursor()).finish_non_exhaustive()
    }
}

use std::{fmt, time::Duration};

use agentx_core::Result;

use super::{RemoteRuntime, connection::Connection};

/// Where a server is, and how patient its client is.
#[derive(Clone)]
#[must_use]
pub struct RemoteBuilder {
    pub(super) url: String,
    pub(super) key: Option<String>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) silence: Duration,
    pub(super) reconnect_within: Duration,
    pub(super) largest_frame: usize,
}

impl RemoteBuilder {
    pub(super) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            key: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            silence: Duration::from_secs(90),
            reconnect_within: Duration::from_mins(1),
            largest_frame: 32 << 20,
        }
    }

    /// With this API key or token. `Debug` does not show it.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Gives up an attempt to connect after this time; 10 seconds by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Gives up a request that has no answer after this time; 30 seconds by default. A turn may take longer: it is heard of
    /// by events.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Takes a connection for lost on which nothing was heard for this time; 90 seconds by default. A server says at least
    /// every 30 seconds that it is there.
    pub fn silence(mut self, silence: Duration) -> Self {
        self.silence = silence;
        self
    }

    /// Tries for this time to connect again where the connection is lost; 60 seconds by default, zero for never.
    pub fn reconnect_within(mut self, time: Duration) -> Self {
        self.reconnect_within = time;
        self
    }

    /// Takes no longer frames than this, in bytes; 32 MiB by default.
    pub fn largest_frame(mut self, bytes: usize) -> Self {
        self.largest_frame = bytes;
        self
    }

    /// Connects, and tries so once.
    ///
    /// # Errors
    /// `InvalidInput` for a URL that is none of `ws:` or `wss:`; `Unauthenticated` and `PermissionDenied` where the server
    /// refuses; `Unavailable` where there is none, and `TimedOut` where it does not answer; `Unsupported` where what
    /// answers does not speak WebSocket.
    pub async fn connect(self) -> Result<RemoteRuntime> {
        Ok(RemoteRuntime::new(Connection::open(self).await?))
    }
}

impl fmt::Debug for RemoteBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteBuilder")
            .field("url", &self.url)
            .field("key", &self.key.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}

//! A server: what it serves, and who may ask.

use std::{sync::Arc, time::Duration};

use agentx_core::{Repositories, Runtime};
use axum::{Router, http::HeaderMap};
use tokio::sync::watch;

use crate::{
    Owner, Quotas, WorkspaceFiles,
    auth::{self, Authenticator, Credentials},
    failure::{Code, Failure},
    http,
    metrics::Metrics,
    quota::Rate,
    service::{Answer, Method, Numbers, Object, Running, Service},
};

/// The largest frame or body that a client may send, in bytes: room for a few images.
const LARGEST_REQUEST: usize = 32 << 20;

/// How often a connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// How long a request for a turn waits for the turn's end before it is answered all the same. Clients of the protocol
/// give up after 30 seconds.
const TURN_WAIT: Duration = Duration::from_secs(25);

/// Agents over the network. Clones are the same server.
#[derive(Clone, Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What all connections and requests share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) service: Service,
    pub(crate) metrics: Metrics,
    rate: Rate,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) origins: Vec<String>,
    pub(crate) version: String,
    pub(crate) limits: Limits,
    /// Whether connections end.
    closing: watch::Sender<bool>,
}

/// Bounds of a server.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) request: usize,
    pub(crate) ping: Duration,
    pub(crate) turn_wait: Duration,
}

impl Server {
    /// Serves the agents of this runtime, which stores in these repositories. Without an authenticator it serves one
    /// owner, and only those who call it by a name of this machine.
    pub fn builder(runtime: Arc<Runtime>, repositories: Repositories) -> ServerBuilder {
        let (running, connections) = (Running::default(), Numbers::default());
        let quotas = Quotas::default();
        let rate = Rate::new(&quotas);
        let service = Service { runtime, repositories, running, files: None, connections, quotas };
        ServerBuilder {
            shared: Shared {
                service,
                rate,
                metrics: Metrics::new(),
                authenticator: None,
                origins: Vec::new(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                limits: Limits { request: LARGEST_REQUEST, ping: PING, turn_wait: TURN_WAIT },
                closing: watch::Sender::new(false),
            },
        }
    }

    /// Ends all connections and streams, also those that come: their clients are told that the server goes away. Turns go
    /// on; [`Runtime::shutdown`] ends them.
    pub fn close(&self) {
        self.shared.closing.send_replace(true);
    }

    /// The routes: `/ws`, `/api/…`, `/health` and `/ready`.
    pub fn router(&self) -> Router {
        http::router(self.shared.clone())
    }
}

/// Settings of a [`Server`].
#[derive(Debug)]
#[must_use]
pub struct ServerBuilder {
    shared: Shared,
}

impl ServerBuilder {
    /// Serves whom this authenticator knows, and nobody else.
    pub fn authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.shared.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Lets clients look at the files of their workspaces.
    pub fn workspace_files(mut self, files: impl WorkspaceFiles) -> Self {
        self.shared.service.files = Some(Arc::new(files));
        self
    }

    /// Lets pages of this origin speak to it, such as `https://chat.example`; those of its own always may.
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.shared.origins.push(origin.into());
        self
    }

    /// Bounds each owner.
    pub fn quotas(mut self, quotas: Quotas) -> Self {
        self.shared.rate = Rate::new(&quotas);
        self.shared.service.quotas = quotas;
        self
    }

    /// Tells this version in `/health`; that of this crate by default.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.shared.version = version.into();
        self
    }

    /// Takes frames and bodies of at most so many bytes; 32 MiB by default.
    pub fn largest_request(mut self, bytes: usize) -> Self {
        self.shared.limits.request = bytes;
        self
    }

    /// Asks connections so often whether they are still there, every 30 seconds by default. One that is silent until the
    /// next time is closed.
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.shared.limits.ping = interval;
        self
    }

    /// Answers a request for a turn when the turn is over, or after this time: 25 seconds by default.
    pub fn turn_wait(mut self, wait: Duration) -> Self {
        self.shared.limits.turn_wait = wait;
        self
    }

    /// The server.
    pub fn build(self) -> Server {
        Server { shared: Arc::new(self.shared) }
    }
}

impl Shared {
    /// Does what `owner` asks for, and counts it. What was begun is done, whether or not the asker is still there: half of
    /// a stop or of a deletion is worse than none.
    pub(crate) async fn call(
        self: &Arc<Self>,
        owner: &Owner,
        method: Method,
        params: Object,
    ) -> Result<Answer, Failure> {
        let done = match self.rate.admit(owner) {
            Ok(()) => {
                let (shared, owner) = (self.clone(), owner.clone());
                let doing = tokio::spawn(async move { shared.service.call(&owner, method, params).await });
                doing.await.unwrap_or_else(|_| Err(Failure::new(Code::Failed, "the request was given up")))
            }
            Err(failure) => Err(failure),
        };
        self.metrics.count(method, &done);
        done
    }

    /// Passes when connections end.
    pub(crate) fn closed(self: &Arc<Self>) -> impl Future<Output = ()> + Send + 'static {
        let mut closing = self.closing.subscribe();
        // The sender is gone with the server.
        async move { drop(closing.wait_for(|closing| *closing).await) }
    }

    /// Whether a request with these headers may come in at all.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> Result<(), Failure> {
        if auth::is_allowed(headers, &self.origins, self.authenticator.is_none()) {
            return Ok(());
        }
        Err(Failure::new(Code::Forbidden, "this page, or this name of the server, is not allowed"))
    }

    /// Whose these credentials are; none where they are nobody's.
    pub(crate) async fn owner(&self, credentials: &Credentials) -> Result<Option<Owner>, Failure> {
        match &self.authenticator {
            None => Ok(Some(Owner::local())),
            Some(authenticator) => Ok(authenticator.authenticate(credentials).await?),
        }
    }
}

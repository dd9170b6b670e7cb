//! A server: what it serves, and who may ask.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use agentx_core::{Agent, Repositories, Runtime, Timestamp};
use axum::{Router, http::HeaderMap};
use futures::future::join_all;
use tokio::{sync::watch, time};

use crate::{
    Owner, Quotas, WorkspaceFiles,
    auth::{self, Authenticator, Credentials, Identity, Scope},
    failure::{Code, Failure},
    http,
    llm::Llms,
    metrics::Metrics,
    quota::{Accounts, Gate, Place},
    service::{Answer, ChosenIds, Method, Numbers, Object, Running, Service},
    tenant::{self, Tenants},
};

/// The largest frame or body that a client may send, in bytes: room for a few images.
const LARGEST_REQUEST: usize = 32 << 20;

/// How many WebSocket connections and event streams are open at once.
const CONNECTIONS: usize = 20_000;

/// How long an agent that does nothing and that nobody listens to is kept.
const IDLE: Duration = Duration::from_mins(30);

/// One of so many may be open without anybody having said who it is.
const NOBODIES: usize = 4;

/// How often a connection is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);

/// How often it is looked whether who opened a connection or a stream may still have it.
const RECHECK: Duration = Duration::from_secs(10);

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
    /// All connections and streams, and those of them that are nobody's yet.
    connections: Gate,
    nobodies: Gate,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    pub(crate) origins: Vec<String>,
    pub(crate) version: String,
    pub(crate) limits: Limits,
    /// When it was last looked for agents that do nothing.
    looked: Mutex<Instant>,
    /// Whether connections end.
    closing: watch::Sender<bool>,
}

/// Bounds of a server.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) request: usize,
    pub(crate) connections: usize,
    pub(crate) ping: Duration,
    pub(crate) recheck: Duration,
    pub(crate) idle: Duration,
    pub(crate) turn_wait: Duration,
}

impl Server {
    /// Serves the agents of this runtime, which stores in these repositories. Without an authenticator it serves one
    /// owner, and only those who call it by a name of this machine.
    pub fn builder(runtime: Arc<Runtime>, repositories: Repositories) -> ServerBuilder {
        let (running, connections) = (Running::default(), Numbers::default());
        let (quotas, accounts) = (Quotas::default(), Accounts::default());
        let service = Service {
            runtime,
            repositories,
            running,
            files: None,
            connections,
            quotas,
            accounts,
            chosen: ChosenIds::default(),
            tenants: None,
            llms: None,
        };
        ServerBuilder {
            shared: Shared {
                service,
                connections: Gate::default(),
                nobodies: Gate::default(),
                metrics: Metrics::new(),
                authenticator: None,
                origins: Vec::new(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                limits: Limits {
                    request: LARGEST_REQUEST,
                    connections: CONNECTIONS,
                    ping: PING,
                    recheck: RECHECK,
                    idle: IDLE,
                    turn_wait: TURN_WAIT,
                },
                looked: Mutex::new(Instant::now()),
                closing: watch::Sender::new(false),
            },
        }
    }

    /// Ends all connections and streams, also those that come: their clients are told that the server goes away. Turns go
    /// on; [`Runtime::shutdown`] ends them.
    pub fn close(&self) {
        self.shared.closing.send_replace(true);
    }

    /// Interrupts the turns that run, as their users could, and waits until each is over and stored. One that waits for an
    /// approval goes on waiting.
    pub async fn interrupt(&self) {
        let at_work = self.shared.service.running.at_work();
        join_all(at_work.iter().map(Agent::interrupt)).await;
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

    /// Serves tenants: of owners, those alone whom this store has and does not keep out, whoever the authenticator says
    /// they are, and manages them at `/v1/tenants`.
    pub fn tenants(mut self, tenants: Tenants) -> Self {
        self.shared.service.tenants = Some(tenants);
        self
    }

    /// Keeps LLM definitions of owners: models of their own, which their images and messages name. The runtime's driver is
    /// an [`LlmDriver`](crate::llm::LlmDriver) on the same ones.
    pub fn llms(mut self, llms: Llms) -> Self {
        self.shared.service.llms = Some(llms);
        self
    }

    /// Lets an agent go that does nothing and that nobody listens to or asks for, after 30 minutes by default. What is left
    /// of it is its rows: its image takes another one up where it was left, under another id.
    pub fn idle_agents(mut self, after: Duration) -> Self {
        self.shared.limits.idle = after;
        self
    }

    /// Looks so often whether who opened a connection or a stream may still have it, every 10 seconds by default: a key
    /// that is revoked ends what it opened within this time, beside that in which the authenticator hears of it. An
    /// expiry is kept to the moment.
    pub fn recheck_interval(mut self, interval: Duration) -> Self {
        self.shared.limits.recheck = interval;
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

    /// Holds so many WebSocket connections and event streams open at once, 20,000 by default: fewer than the process may
    /// have files. A quarter of them may be nobody's.
    pub fn largest_connections(mut self, connections: usize) -> Self {
        self.shared.limits.connections = connections;
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
        match self.ask(owner).await {
            Ok(()) => self.do_asked(owner, method, params).await,
            Err(failure) => {
                let refused = Err(failure);
                self.metrics.count(method, &refused);
                refused
            }
        }
    }

    /// Does what is asked for, which was [counted](Self::ask) before.
    pub(crate) async fn do_asked(
        self: &Arc<Self>,
        owner: &Owner,
        method: Method,
        params: Object,
    ) -> Result<Answer, Failure> {
        let (shared, owner) = (self.clone(), owner.clone());
        let done = self.whole(async move { shared.service.call(&owner, method, params).await }).await;
        self.metrics.count(method, &done);
        self.let_go();
        done
    }

    /// Looks from time to time for agents that do nothing. A server that is asked nothing has no use for the room.
    fn let_go(self: &Arc<Self>) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.elapsed() < self.limits.idle / 4 {
            return;
        }
        *looked = Instant::now();
        let shared = self.clone();
        drop(tokio::spawn(async move {
            shared.service.running.let_go(&shared.service.runtime, shared.limits.idle).await;
        }));
    }

    /// Counts a request of this owner's.
    pub(crate) async fn ask(&self, owner: &Owner) -> Result<(), Failure> {
        let quotas = self.service.quotas_of(owner).await?;
        self.service.accounts.of(owner).ask(&quotas)
    }

    /// A place for one more connection or stream, of whoever it is.
    pub(crate) fn connect(&self) -> Result<Place, Failure> {
        self.connections.enter(self.limits.connections, "connections")
    }

    /// A place for one more that is nobody's yet: they leave room for those who said who they are.
    pub(crate) fn connect_nobody(&self) -> Result<Place, Failure> {
        self.nobodies.enter(self.limits.connections.div_ceil(NOBODIES), "connections without an owner")
    }

    /// A place for one more of this owner's.
    pub(crate) async fn connect_owner(&self, owner: &Owner) -> Result<Place, Failure> {
        let quotas = self.service.quotas_of(owner).await?;
        self.service.accounts.of(owner).connect(&quotas)
    }

    /// Does this to its end, whether or not the asker is still there.
    pub(crate) async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        tokio::spawn(work)
            .await
            .unwrap_or_else(|_| Err(Failure::new(Code::Failed, "the request was given up")))
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

    /// Whom these credentials stand for; none where they are nobody's.
    pub(crate) async fn identity(&self, credentials: &Credentials) -> Result<Option<Identity>, Failure> {
        let Some(authenticator) = &self.authenticator else {
            return Ok(Some(Identity::owner(Owner::local())));
        };
        let known = authenticator.authenticate(credentials).await?;
        let Some(identity) = known.filter(|identity| identity.holds_at(tenant::now())) else {
            return Ok(None);
        };
        if let (Scope::Owner(owner), Some(tenants)) = (&identity.scope, &self.service.tenants) {
            match tenants.find(owner).await? {
                None => return Ok(None),
                Some(tenant) if tenant.is_suspended => {
                    return Err(Failure::new(Code::Forbidden, "this tenant is suspended"));
                }
                Some(_) => {}
            }
        }
        Ok(Some(identity))
    }

    /// The owner that these credentials stand for; none where they are nobody's.
    pub(crate) async fn caller(&self, credentials: Credentials) -> Result<Option<Caller>, Failure> {
        match self.identity(&credentials).await? {
            Some(Identity { scope: Scope::Owner(owner), until, .. }) => {
                Ok(Some(Caller { owner, credentials, until }))
            }
            Some(_) => {
                Err(Failure::new(Code::Forbidden, "this key manages tenants, and has nothing of its own"))
            }
            None => Ok(None),
        }
    }

    /// Lets those pass who manage tenants: whoever has an administrator's key; without an authenticator whoever calls,
    /// who is of this machine.
    pub(crate) async fn administers(&self, credentials: &Credentials) -> Result<(), Failure> {
        if self.authenticator.is_none() {
            return Ok(());
        }
        match self.identity(credentials).await? {
            Some(Identity { scope: Scope::Admin, .. }) => Ok(()),
            Some(_) => Err(Failure::new(Code::Forbidden, "this needs an administrator's key")),
            None => Err(Failure::new(Code::Unauthorized, "who asks is not known")),
        }
    }

    /// Passes when a caller may no longer have what it opened.
    pub(crate) fn lapsed(self: &Arc<Self>, caller: Caller) -> impl Future<Output = ()> + Send + 'static {
        let shared = self.clone();
        async move {
            if shared.authenticator.is_none() {
                return std::future::pending().await;
            }
            loop {
                let left = caller.until.map(|until| until.since(tenant::now()));
                time::sleep(left.unwrap_or(Duration::MAX).min(shared.limits.recheck)).await;
                match shared.caller(caller.credentials.clone()).await {
                    Ok(Some(now)) if now.owner == caller.owner => {}
                    // What can't be found out ends nothing.
                    Err(failure) if failure.code != Code::Forbidden => {
                        if caller.until.is_some_and(|until| until <= tenant::now()) {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        }
    }
}

/// An owner that asks, and what it showed to say so.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) owner: Owner,
    pub(crate) credentials: Credentials,
    pub(crate) until: Option<Timestamp>,
}

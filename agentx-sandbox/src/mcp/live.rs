//! One run of a server: from its start to its end.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use agentx_core::{ErrorKind, Result};
use agentx_resource::Secret;
use rmcp::{
    ClientHandler, ClientLifecycleMode, Peer, RoleClient, ServiceError,
    model::{
        ClientCapabilities, ClientConfig, ClientRequest, Implementation, PaginatedRequestParams,
        ProgressNotificationParam, ProgressToken, ProtocolVersion, ServerResult, SubscriptionFilter, Tool,
    },
    service::{
        ClientInitializeError, NotificationContext, PeerRequestOptions, RunningService,
        serve_client_with_lifecycle,
    },
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{self, Instant},
};

use super::{
    McpLimits, McpServer,
    failure::Failure,
    server::Transport,
    stdio::{Record, Stdio},
};
use crate::{NodeRuntime, Offload, runtime::Redactor};

/// The longest list of tools.
const MAX_TOOLS: usize = 500;
const MAX_PAGES: usize = 100;
/// How long a server is tried to be told that a call was given up.
const TELL: Duration = Duration::from_secs(5);

/// What the sandbox gives to a connection.
#[derive(Debug, Default)]
pub(super) struct Place {
    runtime: Option<NodeRuntime>,
    secrets: Redactor,
}

impl Place {
    pub(super) fn new(runtime: Option<NodeRuntime>, secrets: Vec<Secret>) -> Self {
        Self { runtime, secrets: Redactor::new(secrets) }
    }

    pub(super) fn redact(&self, text: String) -> String {
        let text = self.secrets.text(text);
        match &self.runtime {
            Some(runtime) => runtime.redactor().text(text),
            None => text,
        }
    }

    pub(super) fn offload(&self) -> Option<&Offload> {
        self.runtime.as_ref()?.offload()
    }
}

/// A server that runs. Dropping it ends it.
pub(super) struct Live {
    peer: Peer<RoleClient>,
    service: Mutex<Option<RunningService<RoleClient, Notices>>>,
    notices: Notices,
    /// What is known of a child.
    record: Option<Arc<Record>>,
    /// Hears of changes from a server that must be asked to tell of them.
    listening: Option<JoinHandle<()>>,
}

impl Live {
    /// Starts a server and asks for its tools, within `limits.start`.
    pub(super) async fn start(server: &McpServer, place: &Place) -> Result<(Self, Vec<Tool>), Failure> {
        let record = Arc::new(Record::default());
        let started = async {
            // Servers of before July 2026 know `initialize` alone, and some end when they hear anything else first.
            let live = match Self::open(server, place, &record, ClientLifecycleMode::Initialize).await {
                Err(Opening::Refused(_)) => {
                    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
                    let mode = ClientLifecycleMode::Discover { preferred_versions };
                    Self::open(server, place, &record, mode).await
                }
                opened => opened,
            };
            let live = live.map_err(Opening::failure)?;
            let tools = live.list().await?;
            Ok((live, tools))
        };
        let result = match time::timeout(server.limits.start, started).await {
            Ok(result) => result,
            Err(_) => {
                let message = format!("the server did not start within {:?}", server.limits.start);
                Err(Failure::new(ErrorKind::TimedOut, message))
            }
        };
        result.map_err(|failure| match &server.transport {
            Transport::Stdio(_) => record.explain(failure),
            #[cfg(feature = "mcp-http")]
            Transport::Http(_) => failure,
        })
    }

    async fn open(
        server: &McpServer,
        place: &Place,
        record: &Arc<Record>,
        mode: ClientLifecycleMode,
    ) -> Result<Self, Opening> {
        let notices = Notices::default();
        let (service, record) = match &server.transport {
            Transport::Stdio(command) => {
                let Some(runtime) = &place.runtime else {
                    let message = "a server over stdio is a child of a sandbox, and there is none";
                    return Err(Opening::Failed(Failure::new(ErrorKind::InvalidInput, message)));
                };
                let close = server.limits.close;
                let stdio = Stdio::start(command, runtime, Arc::clone(record), close).await;
                let stdio = stdio.map_err(|error| Opening::Failed(error.into()))?;
                let service = serve_client_with_lifecycle(notices.clone(), stdio, mode).await?;
                (service, Some(Arc::clone(record)))
            }
            #[cfg(feature = "mcp-http")]
            Transport::Http(endpoint) => {
                let transport = super::http::transport(endpoint).map_err(Opening::Failed)?;
                (serve_client_with_lifecycle(notices.clone(), transport, mode).await?, None)
            }
        };
        let peer = service.peer().clone();
        let listening = listen(&peer, &notices);
        Ok(Self { peer, service: Mutex::new(Some(service)), notices, record, listening })
    }

    /// Whether nothing can be asked of it any more.
    pub(super) fn has_ended(&self) -> bool {
        self.peer.is_transport_closed() || self.record.as_ref().is_some_and(|record| record.has_ended())
    }

    /// What the server says of how to use it.
    pub(super) fn instructions(&self) -> Option<String> {
        self.peer.peer_info()?.instructions.clone()
    }

    /// Whether the server has told since this was last asked that its tools are others.
    pub(super) fn take_changed(&self) -> bool {
        self.notices.0.changed.swap(false, Ordering::Relaxed)
    }

    /// As if the server had told that its tools are others.
    pub(super) fn set_changed(&self) {
        self.notices.0.changed.store(true, Ordering::Relaxed);
    }

    /// All tools of the server.
    pub(super) async fn list(&self) -> Result<Vec<Tool>, Failure> {
        let mut tools = Vec::new();
        let mut params = None;
        for _ in 0..MAX_PAGES {
            let page = self.peer.list_tools(params).await.map_err(|error| self.explain(error.into()))?;
            tools.extend(page.tools);
            if tools.len() > MAX_TOOLS {
                let message = format!("the server has more than {MAX_TOOLS} tools");
                return Err(Failure::new(ErrorKind::LimitExceeded, message));
            }
            match page.next_cursor {
                None => return Ok(tools),
                cursor => params = Some(PaginatedRequestParams::default().with_cursor(cursor)),
            }
        }
        let message = format!("the server's list of tools has more than {MAX_PAGES} pages");
        Err(Failure::new(ErrorKind::LimitExceeded, message))
    }

    /// Asks the server, and waits for its answer within `limits`. Dropping the future tells the server that nobody
    /// waits any more.
    pub(super) async fn ask(
        &self,
        request: ClientRequest,
        limits: McpLimits,
    ) -> Result<ServerResult, Failure> {
        let begun = Instant::now();
        let sent = self.peer.send_cancellable_request(request, PeerRequestOptions::no_options());
        let mut sent = match time::timeout(limits.idle, sent).await {
            Ok(sent) => sent.map_err(|error| self.explain(error.into()))?,
            Err(_) => return Err(Failure::new(ErrorKind::TimedOut, "the server takes no more requests")),
        };
        let abandoned = Abandoned::new(&self.peer, &sent.id);
        let progress = self.notices.watch(&sent.progress_token);
        let last = begun + limits.call;
        loop {
            let until = last.min(Instant::now() + limits.idle);
            tokio::select! {
                biased;
                answer = &mut sent.rx => {
                    abandoned.disarm();
                    let answer = answer.unwrap_or(Err(ServiceError::TransportClosed));
                    return answer.map_err(|error| {
                        // What did not reach the server was not carried out.
                        let sent = !matches!(error, ServiceError::TransportSend(_) | ServiceError::McpError(_));
                        let failure = self.explain(error.into());
                        if sent { failure.lost() } else { failure }
                    });
                }
                () = progress.heard() => {}
                () = time::sleep_until(until) => {
                    let message = format!("no answer within {:?}; the server was told to give up", until - begun);
                    return Err(self.explain(Failure { retry: agentx_core::Retry::Never, ..Failure::new(ErrorKind::TimedOut, message) }));
                }
            }
        }
    }

    /// Ends the server: its input is closed, it is given `close` to end by itself, and then killed.
    pub(super) async fn close(&self, close: Duration) {
        let service = lock(&self.service).take();
        if let Some(mut service) = service {
            // The time that the transport takes itself, and some for the way there.
            let closed = service.close_with_timeout(close + TELL).await;
            drop(closed);
        }
    }

    fn explain(&self, failure: Failure) -> Failure {
        match &self.record {
            Some(record) => record.explain(failure),
            None => failure,
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

/// Why a server could not be opened.
enum Opening {
    /// It answered to the first message that it does not want it.
    Refused(Failure),
    Failed(Failure),
}

impl Opening {
    fn failure(self) -> Failure {
        match self {
            Self::Refused(failure) | Self::Failed(failure) => failure,
        }
    }
}

impl From<ClientInitializeError> for Opening {
    fn from(error: ClientInitializeError) -> Self {
        match error {
            ClientInitializeError::JsonRpcError(_) => Self::Refused(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

/// Asks a server of the latest version, which tells of changes only where it was asked to, for those of its tools.
fn listen(peer: &Peer<RoleClient>, notices: &Notices) -> Option<JoinHandle<()>> {
    let info = peer.peer_info()?;
    let tells = info.capabilities.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true));
    if info.protocol_version.has_initialize() || !tells {
        return None;
    }
    let (peer, changed) = (peer.clone(), notices.clone());
    Some(tokio::spawn(async move {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let Ok(mut subscription) = peer.listen(filter).await else { return };
        // What was missed while nobody listened is asked for once.
        while let Ok(Some(_)) = subscription.next().await {
            changed.0.changed.store(true, Ordering::Relaxed);
        }
        changed.0.changed.store(true, Ordering::Relaxed);
    }))
}

/// What a server tells by itself. It gets nothing from here: no files, no model and no answer of a user.
#[derive(Clone, Default)]
struct Notices(Arc<Heard>);

#[derive(Default)]
struct Heard {
    changed: AtomicBool,
    progress: Mutex<HashMap<ProgressToken, Arc<Notify>>>,
}

impl Notices {
    fn watch(&self, token: &ProgressToken) -> Progress {
        let heard = Arc::new(Notify::new());
        lock(&self.0.progress).insert(token.clone(), Arc::clone(&heard));
        Progress { notices: self.clone(), token: token.clone(), heard }
    }
}

impl ClientHandler for Notices {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(
            ClientCapabilities::default(),
            Implementation::new("agentx", env!("CARGO_PKG_VERSION")),
        )
        .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        if let Some(heard) = lock(&self.0.progress).get(&params.progress_token) {
            heard.notify_one();
        }
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.0.changed.store(true, Ordering::Relaxed);
    }
}

/// The progress of one call.
struct Progress {
    notices: Notices,
    token: ProgressToken,
    heard: Arc<Notify>,
}

impl Progress {
    async fn heard(&self) {
        self.heard.notified().await;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        lock(&self.notices.0.progress).remove(&self.token);
    }
}

/// Tells the server when it is dropped that nobody waits for an answer any more.
struct Abandoned {
    peer: Option<Peer<RoleClient>>,
    id: rmcp::model::RequestId,
}

impl Abandoned {
    fn new(peer: &Peer<RoleClient>, id: &rmcp::model::RequestId) -> Self {
        Self { peer: Some(peer.clone()), id: id.clone() }
    }

    fn disarm(mut self) {
        self.peer = None;
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        use rmcp::model::{CancelledNotification, CancelledNotificationParam};
        // Without a runtime the connection has ended too.
        let (Some(peer), Ok(runtime)) = (self.peer.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let notification =
            CancelledNotification::new(CancelledNotificationParam::new(Some(self.id.clone()), None));
        drop(runtime.spawn(async move {
            // Who can't be told has ended, or does not listen.
            let told = time::timeout(TELL, peer.send_notification(notification.into())).await;
            drop(told);
        }));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

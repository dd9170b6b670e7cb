use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use agentx_core::{Model, ModelRequest, ModelStream, Result};
use agentx_resource::{ApiSupply, BoxFuture, Clock, LLMProvider};

use super::{
    MessagesSettings, ResponseInfo, Skipped, Transport, call, count, request::Refused, timers::Timers,
};

/// How long the end of the response may take to follow the end of the answer. A connection is used again only if it
/// did.
const END_WAIT: Duration = Duration::from_millis(100);

/// A model behind the Messages API. A clone is the same client, and one client serves any number of calls at a time.
///
/// The supply is asked for at each try, so that a key can rotate. A failure that may pass (an overload, a rate limit, a
/// broken connection) is tried again, by default twice: silently before the answer has shown anything, and after it at
/// most once, with [`ModelEvent::Restarted`](agentx_core::ModelEvent::Restarted).
///
/// An image or a document that the API refuses is left out, with a note to the model in its place, and the request is
/// made again: [`ModelEvent::Omitted`](agentx_core::ModelEvent::Omitted) tells of it, once for each.
///
/// ```
/// # #[cfg(feature = "reqwest")] {
/// use std::sync::Arc;
///
/// use agentx_core::ToolLoop;
/// use agentx_driver_claude::messages::{MessagesModel, MessagesSettings, ReqwestTransport};
/// use agentx_resource::{ApiSupply, memory::{ManualClock, MemoryLlmProvider}};
///
/// let supply = MemoryLlmProvider::new("fixed", ApiSupply::new("sk-ant-…"));
/// // A program takes the clock of its runtime.
/// let clock = ManualClock::default();
/// let model = MessagesModel::new(Arc::new(supply), ReqwestTransport::new()?, Arc::new(clock))
///     .with_settings(MessagesSettings::default().with_max_tokens(4096));
/// let driver = ToolLoop::new(model);
/// # let _ = driver; }
/// # Ok::<(), agentx_core::Error>(())
/// ```
#[derive(Clone)]
pub struct MessagesModel {
    client: Arc<Client>,
}

#[derive(Clone)]
pub(super) struct Client {
    pub supply: Arc<dyn LLMProvider<ApiSupply>>,
    pub transport: Arc<dyn Transport>,
    pub clock: Arc<dyn Clock>,
    pub settings: MessagesSettings,
    /// For what may stand still no longer than the settings say.
    pub idle: Timers,
    /// For the end of a response.
    pub end: Timers,
    /// Told of a supply that the API has refused.
    pub on_refused: Option<OnRefused>,
    seen: Arc<Mutex<Seen>>,
}

/// What is done about a supply that the API has refused.
pub(super) type OnRefused = Arc<dyn Fn(ApiSupply) -> BoxFuture<'static, ()> + Send + Sync>;

/// What all calls have seen so far.
#[derive(Default)]
struct Seen {
    skipped: Skipped,
    refused: Arc<Refused>,
    response: Option<ResponseInfo>,
}

impl MessagesModel {
    /// A client with default settings.
    pub fn new(
        supply: Arc<dyn LLMProvider<ApiSupply>>,
        transport: impl Transport,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (transport, settings) = (Arc::new(transport), MessagesSettings::default());
        let (idle, end) =
            (Timers::new(clock.clone(), settings.idle_timeout), Timers::new(clock.clone(), END_WAIT));
        let (on_refused, seen) = (None, Arc::default());
        Self { client: Arc::new(Client { supply, transport, clock, settings, idle, end, on_refused, seen }) }
    }

    /// With these settings. It shares the connections of the client that it is made of.
    pub fn with_settings(self, settings: MessagesSettings) -> Self {
        let idle = Timers::new(self.client.clock.clone(), settings.idle_timeout);
        Self { client: Arc::new(Client { settings, idle, ..Client::clone(&self.client) }) }
    }

    /// With something that is done when the API does not know a key (status 401): whoever supplies it reads it anew. Where
    /// another key is supplied then, the request is made once more with that one.
    pub fn with_on_refused<F>(self, told: impl Fn(ApiSupply) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let on_refused: OnRefused = Arc::new(move |supply| Box::pin(told(supply)));
        let client = Client { on_refused: Some(on_refused), ..Client::clone(&self.client) };
        Self { client: Arc::new(client) }
    }

    /// How much of all answers so far was passed over, since this version has no place for it.
    pub fn skipped(&self) -> Skipped {
        self.client.lock().skipped
    }

    /// What the head of the latest response of any call said, refusals included: the request's id and how much is left
    /// of the rate limits. None before the first.
    pub fn last_response(&self) -> Option<ResponseInfo> {
        self.client.lock().response.clone()
    }

    /// How many input tokens this request would have, by the API's own count.
    ///
    /// # Errors
    /// As those of a call; `Corrupt` for an answer that is no count.
    pub async fn count_tokens(&self, request: &ModelRequest) -> Result<u64> {
        count::count(&self.client, request).await
    }
}

impl Client {
    pub(super) fn skip(&self, skipped: Skipped) {
        if skipped != Skipped::default() {
            self.lock().skipped += skipped;
        }
    }

    pub(super) fn responded(&self, response: ResponseInfo) {
        self.lock().response = Some(response);
    }

    pub(super) fn refused(&self) -> Arc<Refused> {
        self.lock().refused.clone()
    }

    pub(super) fn refuse(&self, refused: Refused) {
        self.lock().refused = Arc::new(refused);
    }

    /// What stands here is never half changed, so what is behind a poisoned lock is right.
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Model for MessagesModel {
    fn name(&self) -> &str {
        &self.client.settings.model
    }

    fn call(&self, request: ModelRequest) -> ModelStream {
        call::start(self.client.clone(), request)
    }
}

impl fmt::Debug for MessagesModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessagesModel")
            .field("settings", &self.client.settings)
            .field("supply", &self.client.supply.name())
            .field("transport", &self.client.transport)
            .finish_non_exhaustive()
    }
}

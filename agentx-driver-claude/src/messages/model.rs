use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use agentx_core::{Model, ModelRequest, ModelStream};
use agentx_resource::{ApiSupply, Clock, LLMProvider};

use super::{MessagesSettings, Skipped, Transport, call};

/// A model behind the Messages API. A clone is the same client, and one client serves any number of calls at a time.
///
/// The supply is asked for at each try, so that a key can rotate. A failure that may pass (an overload, a rate limit, a
/// broken connection) is tried again, by default twice: silently before the first event was told, and after it at
/// most once, with [`ModelEvent::Restarted`](agentx_core::ModelEvent::Restarted).
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

pub(super) struct Client {
    pub supply: Arc<dyn LLMProvider<ApiSupply>>,
    pub transport: Arc<dyn Transport>,
    pub clock: Arc<dyn Clock>,
    pub settings: MessagesSettings,
    skipped: Arc<Mutex<Skipped>>,
}

impl MessagesModel {
    /// A client with default settings.
    pub fn new(
        supply: Arc<dyn LLMProvider<ApiSupply>>,
        transport: impl Transport,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (transport, settings) = (Arc::new(transport), MessagesSettings::default());
        Self { client: Arc::new(Client { supply, transport, clock, settings, skipped: Arc::default() }) }
    }

    /// With these settings. It shares the connections of the client that it is made of.
    pub fn with_settings(self, settings: MessagesSettings) -> Self {
        let Client { supply, transport, clock, skipped, .. } = &*self.client;
        let (supply, transport, clock) = (supply.clone(), transport.clone(), clock.clone());
        Self { client: Arc::new(Client { supply, transport, clock, settings, skipped: skipped.clone() }) }
    }

    /// How much of all answers so far was passed over, since this version has no place for it.
    pub fn skipped(&self) -> Skipped {
        *self.client.lock()
    }
}

impl Client {
    pub(super) fn skip(&self, skipped: Skipped) {
        *self.lock() += skipped;
    }

    /// Counts are never half changed, so those behind a poisoned lock are right.
    fn lock(&self) -> std::sync::MutexGuard<'_, Skipped> {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
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

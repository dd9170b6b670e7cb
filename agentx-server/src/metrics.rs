//! What a server counts.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{failure::Failure, service::Method};

/// One kind of request, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    outcome: &'static str,
}

/// The counters of a server. Their labels are of a fixed set: nothing that a client says is one.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    connections: Gauge,
    agents: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("agentx");
        let (requests, connections, agents) = (Family::default(), Gauge::default(), Gauge::default());
        registry.register("requests", "Requests, by method and outcome", requests.clone());
        registry.register("connections", "WebSocket connections that are open", connections.clone());
        registry.register("agents", "Agents that run", agents.clone());
        Self { registry, requests, connections, agents }
    }

    /// Counts a request that is done.
    pub(crate) fn count<T>(&self, method: Method, done: &Result<T, Failure>) {
        let outcome = done.as_ref().map_or_else(|failure| failure.code.name(), |_| "ok");
        self.requests.get_or_create(&Request { method: method.name(), outcome }).inc();
    }

    /// Counts a connection for as long as this lives.
    pub(crate) fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }

    pub(crate) fn encode(&self, agents: usize) -> Result<String, fmt::Error> {
        self.agents.set(i64::try_from(agents).unwrap_or(i64::MAX));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A connection that is open.
pub(crate) struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

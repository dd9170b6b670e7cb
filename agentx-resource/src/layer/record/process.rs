use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Port, not_live, request};
use crate::{
    Child, ExecEvent, ExecRequest, Process, ProcessCapabilities, Result, Signal, TerminalSize,
    cassette::{Call, Cassette, Recordable},
};

#[derive(Debug)]
pub(super) struct RecordedProcess {
    port: Port<dyn Process>,
    capabilities: ProcessCapabilities,
    shown: Arc<BTreeSet<String>>,
}

impl RecordedProcess {
    pub(super) fn new(
        port: Port<dyn Process>,
        capabilities: ProcessCapabilities,
        shown: Arc<BTreeSet<String>>,
    ) -> Self {
        Self { port, capabilities, shown }
    }
}

#[async_trait]
impl Process for RecordedProcess {
    fn capabilities(&self) -> ProcessCapabilities {
        self.capabilities.clone()
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        let call = self.port.call("process.spawn", request::exec(&request, &self.shown)).await?;
        let mut inner = None;
        let spawned = call.answer(async {
            let child = self.port.live()?.spawn(request).await?;
            let id = child.id().to_owned();
            inner = Some(child);
            Ok(id)
        });
        let id = spawned.await?;
        Ok(Box::new(RecordedChild {
            id,
            cassette: self.port.cassette.clone(),
            name: format!("{} call {}", self.port.name, call.number()),
            events: call,
            inner,
        }))
    }
}

#[derive(Debug)]
struct RecordedChild {
    id: String,
    cassette: Cassette,
    name: String,
    /// Its events are further answers to its start.
    events: Call,
    inner: Option<Box<dyn Child>>,
}

impl RecordedChild {
    fn live(&self) -> Result<&dyn Child> {
        self.inner.as_deref().ok_or_else(not_live)
    }

    async fn call(&self, operation: &'static str, request: Value) -> Result<Call> {
        self.cassette.call(operation, &self.name, request).await
    }
}

#[async_trait]
impl Child for RecordedChild {
    fn id(&self) -> &str {
        &self.id
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        let call = self.call("child.write_stdin", json!({"data": data.to_record()})).await?;
        call.answer(async { self.live()?.write_stdin(data).await }).await
    }

    async fn close_stdin(&self) -> Result<()> {
        let call = self.call("child.close_stdin", json!({})).await?;
        call.answer(async { self.live()?.close_stdin().await }).await
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        self.events.next(async { self.live()?.next_event().await }).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let call = self.call("child.signal", json!({"signal": request::signal(signal)})).await?;
        call.answer(async { self.live()?.signal(signal).await }).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let call = self.call("child.resize", request::size(size)).await?;
        call.answer(async { self.live()?.resize(size).await }).await
    }

    async fn kill(&self) -> Result<()> {
        let call = self.call("child.kill", json!({})).await?;
        call.answer(async { self.live()?.kill().await }).await
    }
}

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Around, Operation, Verb};
use crate::{
    Child, ExecEvent, ExecRequest, Invocation, Process, ProcessCapabilities, Result, Signal, TerminalSize,
};

#[derive(Debug)]
pub(super) struct AroundProcess<A> {
    inner: Arc<dyn Process>,
    around: A,
}

impl<A: Around> AroundProcess<A> {
    pub(super) fn new(inner: Arc<dyn Process>, around: A) -> Self {
        Self { inner, around }
    }
}

#[async_trait]
impl<A: Around> Process for AroundProcess<A> {
    fn capabilities(&self) -> ProcessCapabilities {
        self.inner.capabilities()
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        // A script or an argument may hold a secret.
        let operation = match &request.invocation {
            Invocation::Program { program, .. } => self.around.begin(Verb::Spawn, program).await,
            Invocation::Shell { .. } => self.around.begin(Verb::Spawn, "shell").await,
        };
        let inner = operation.step(self.inner.spawn(request)).await?;
        Ok(Box::new(AroundChild { inner, operation: Mutex::new(Some(Arc::new(operation))) }))
    }
}

#[derive(Debug)]
struct AroundChild<O> {
    inner: Box<dyn Child>,
    /// Until the events end.
    operation: Mutex<Option<Arc<O>>>,
}

impl<O: Operation> AroundChild<O> {
    fn operation(&self) -> Option<Arc<O>> {
        self.operation.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn end(&self) {
        self.operation.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[async_trait]
impl<O: Operation> Child for AroundChild<O> {
    fn id(&self) -> &str {
        self.inner.id()
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        let Some(operation) = self.operation() else { return self.inner.write_stdin(data).await };
        let length = data.len();
        operation.wait(self.inner.write_stdin(data)).await?;
        operation.sent(length);
        Ok(())
    }

    async fn close_stdin(&self) -> Result<()> {
        let Some(operation) = self.operation() else { return self.inner.close_stdin().await };
        operation.step(self.inner.close_stdin()).await
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        let Some(operation) = self.operation() else { return self.inner.next_event().await };
        let event = operation.wait(self.inner.next_event()).await?;
        match &event {
            Some(ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes)) => operation.received(bytes.len()),
            Some(_) => {}
            None => self.end(),
        }
        Ok(event)
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let Some(operation) = self.operation() else { return self.inner.signal(signal).await };
        operation.step(self.inner.signal(signal)).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let Some(operation) = self.operation() else { return self.inner.resize(size).await };
        operation.step(self.inner.resize(size)).await
    }

    async fn kill(&self) -> Result<()> {
        let Some(operation) = self.operation() else { return self.inner.kill().await };
        operation.step(self.inner.kill()).await
    }
}

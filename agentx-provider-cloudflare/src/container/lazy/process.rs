use std::sync::Arc;

use agentx_resource::{
    Child, ErrorKind, ExecEvent, ExecRequest, Process, ProcessCapabilities, Result, Signal, TerminalSize,
};
use async_trait::async_trait;
use bytes::Bytes;

use super::state::{Running, Shared, Warm};

/// Commands where the tree is.
#[derive(Debug)]
pub(super) struct LazyProcess {
    shared: Arc<Shared>,
}

impl LazyProcess {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

#[async_trait]
impl Process for LazyProcess {
    fn capabilities(&self) -> ProcessCapabilities {
        self.shared.options.process.clone()
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        let (warm, running) = self.shared.start().await?;
        match warm.container.process().spawn(request).await {
            Ok(child) => {
                Ok(Box::new(LazyChild { child, warm, shared: Arc::clone(&self.shared), _running: running }))
            }
            Err(error) => Err(self.shared.judge(&warm, error).await),
        }
    }
}

struct LazyChild {
    child: Box<dyn Child>,
    warm: Arc<Warm>,
    shared: Arc<Shared>,
    _running: Running,
}

impl LazyChild {
    async fn judged<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            // That is what a command says which does not read, and not its container.
            Err(error) if error.kind() == ErrorKind::Unavailable && error.operation() == "write_stdin" => {
                Err(error)
            }
            Err(error) => Err(self.shared.judge(&self.warm, error).await),
            Ok(value) => Ok(value),
        }
    }
}

impl std::fmt::Debug for LazyChild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LazyChild").field("child", &self.child).finish_non_exhaustive()
    }
}

#[async_trait]
impl Child for LazyChild {
    fn id(&self) -> &str {
        self.child.id()
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        self.judged(self.child.write_stdin(data).await).await
    }

    async fn close_stdin(&self) -> Result<()> {
        self.judged(self.child.close_stdin().await).await
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        self.judged(self.child.next_event().await).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.judged(self.child.signal(signal).await).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.judged(self.child.resize(size).await).await
    }

    async fn kill(&self) -> Result<()> {
        self.judged(self.child.kill().await).await
    }
}

//! Commands within the bounds of their owner.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use agentx::{
    Result,
    local::TreeGroup,
    resource::{
        Child, ExecEvent, ExecRequest, ExitStatus, Process, ProcessCapabilities, ResourceLimits, Signal,
        TerminalSize,
    },
};
use async_trait::async_trait;
use bytes::Bytes;

use crate::disk::{Place, Watched};

/// Runs commands with these limits. Where the disk is bounded, none writes a larger file than there is room for, and one
/// that makes it full is ended.
#[derive(Debug)]
pub(super) struct BoundedProcess {
    pub(super) inner: Arc<dyn Process>,
    pub(super) limits: ResourceLimits,
    pub(super) place: Option<Place>,
    /// What holds the commands of the owner together is there as long as there can be any.
    pub(super) _group: Option<Arc<TreeGroup>>,
}

#[async_trait]
impl Process for BoundedProcess {
    fn capabilities(&self) -> ProcessCapabilities {
        self.inner.capabilities()
    }

    async fn spawn(&self, mut request: ExecRequest) -> Result<Box<dyn Child>> {
        request.limits = least(request.limits, self.limits);
        let Some(place) = &self.place else { return self.inner.spawn(request).await };
        let beginning = place.begin().await?;
        let mut told = VecDeque::new();
        let file_size = *beginning.file_size.as_ref().unwrap_or_else(|why| {
            told.push_back(notice(&format!("{why}. This command can delete files, and write to none.")));
            &0
        });
        request.limits = least(request.limits, ResourceLimits::default().with_file_size(file_size));
        let child = self.inner.spawn(request).await?;
        Ok(Box::new(BoundedChild { command: beginning.watch(child), told: Mutex::new(told) }))
    }
}

/// The smaller one of each.
fn least(one: ResourceLimits, other: ResourceLimits) -> ResourceLimits {
    fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
    let mut limits = ResourceLimits::default();
    limits.memory = least(one.memory, other.memory);
    limits.cpu_time = least(one.cpu_time, other.cpu_time);
    limits.file_size = least(one.file_size, other.file_size);
    limits.open_files = least(one.open_files, other.open_files);
    limits.processes = least(one.processes, other.processes);
    limits
}

/// What the server has to say of a command, which reads it in its output.
fn notice(text: &str) -> ExecEvent {
    ExecEvent::Stderr(format!("[{text}]\n").into())
}

#[derive(Debug)]
struct BoundedChild {
    command: Arc<Watched>,
    /// What is told next.
    told: Mutex<VecDeque<ExecEvent>>,
}

impl BoundedChild {
    fn next_told(&self) -> Option<ExecEvent> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[async_trait]
impl Child for BoundedChild {
    fn id(&self) -> &str {
        self.command.child.id()
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        self.command.child.write_stdin(data).await
    }

    async fn close_stdin(&self) -> Result<()> {
        self.command.child.close_stdin().await
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        if let Some(event) = self.next_told() {
            return Ok(Some(event));
        }
        let event = self.command.child.next_event().await?;
        if let (Some(ExecEvent::Exited(ExitStatus::Killed)), Some(why)) = (&event, self.command.ended()) {
            self.told.lock().unwrap_or_else(PoisonError::into_inner).extend(event);
            return Ok(Some(notice(&format!("The command was ended: {why}. Delete what is not needed."))));
        }
        Ok(event)
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.command.child.signal(signal).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.command.child.resize(size).await
    }

    async fn kill(&self) -> Result<()> {
        self.command.child.kill().await
    }
}

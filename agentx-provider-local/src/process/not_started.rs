use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use agentx_resource::{
    Child, ErrorKind, ExecEvent, ExecRequest, ExitStatus, LimitedOutput, OutputStream, Result, Signal, Stdin,
    TerminalSize,
};
use async_trait::async_trait;
use bytes::Bytes;

use super::{
    error,
    input::{not_piped, not_read},
    program::Refusal,
};

/// A command whose program could not be run: it says so and exits, as under a shell.
#[derive(Debug)]
pub(super) struct NotStarted {
    id: String,
    live_stdin: bool,
    events: Mutex<VecDeque<ExecEvent>>,
}

impl NotStarted {
    pub(super) fn new(id: &str, program: &str, refusal: Refusal, request: &ExecRequest) -> Self {
        let mut keep = LimitedOutput::new(OutputStream::Stderr, request.output_limit);
        let mut events: VecDeque<_> = keep.push(refusal.message(program).as_bytes()).into_iter().collect();
        events.extend(std::iter::from_fn(|| keep.finish()));
        events.push_back(ExecEvent::Exited(ExitStatus::Code(refusal.code())));
        Self { id: id.to_owned(), live_stdin: request.stdin == Stdin::Piped, events: Mutex::new(events) }
    }
}

#[async_trait]
impl Child for NotStarted {
    fn id(&self) -> &str {
        &self.id
    }

    async fn write_stdin(&self, _: Bytes) -> Result<()> {
        Err(if self.live_stdin { not_read("it was not started") } else { not_piped() })
    }

    async fn close_stdin(&self) -> Result<()> {
        Ok(())
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        Ok(self.events.lock().unwrap_or_else(PoisonError::into_inner).pop_front())
    }

    async fn signal(&self, _: Signal) -> Result<()> {
        Ok(())
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Err(error(ErrorKind::Unsupported, "resize").with_message("the command has no terminal"))
    }

    async fn kill(&self) -> Result<()> {
        Ok(())
    }
}

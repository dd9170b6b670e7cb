use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use agentx_resource::{Child, ExecEvent, ExecRequest, ExitStatus, OutputStream, Result, Stdin};
use async_trait::async_trait;
use bytes::Bytes;

use super::{
    input::{not_piped, not_read},
    output::{Keep, Step},
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
        let mut keep = Keep::new(OutputStream::Stderr, request.output_limit);
        let mut events: VecDeque<_> = keep.piece(refusal.message(program).as_bytes()).into_iter().collect();
        if let Step::Event(event) = keep.end() {
            events.push_back(event);
        }
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

    async fn kill(&self) -> Result<()> {
        Ok(())
    }
}

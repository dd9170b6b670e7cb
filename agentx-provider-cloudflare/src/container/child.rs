use std::fmt;

use agentx_resource::{Child, ErrorKind, ExecEvent, Result, Signal, TerminalSize};
use async_trait::async_trait;
use bytes::Bytes;
use futures::lock::Mutex;
use reqwest::StatusCode;

use super::{
    events::Events,
    http::{Request, fail},
    process::{EndOnDrop, Place},
    wire::{Control, STDIN_BYTES},
};

/// A command that runs in a container.
pub(super) struct ContainerChild {
    place: Place,
    events: Mutex<Events>,
    piped: bool,
    /// The number of the last piece of input that was sent.
    input: Mutex<u64>,
    _end: EndOnDrop,
}

impl ContainerChild {
    pub(super) fn new(place: Place, events: Events, piped: bool, end: EndOnDrop) -> Self {
        Self { place, events: Mutex::new(events), piped, input: Mutex::new(0), _end: end }
    }

    async fn control(&self, operation: &'static str, control: Control) -> Result<()> {
        let body = serde_json::to_vec(&control)
            .map_err(|source| fail(ErrorKind::InvalidInput, operation).with_source(source))?;
        let body = Bytes::from(body);
        let request = || Request::post(operation, self.place.path("/control")).json(body.clone());
        self.place.insist(operation, request).await?;
        Ok(())
    }
}

/// Shows neither input nor output: they may hold secrets.
impl fmt::Debug for ContainerChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerChild").field("id", &self.place.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Child for ContainerChild {
    fn id(&self) -> &str {
        &self.place.id
    }

    async fn write_stdin(&self, mut data: Bytes) -> Result<()> {
        if !self.piped {
            return Err(fail(ErrorKind::Unsupported, "write_stdin")
                .with_message("the command was started without `Stdin::Piped`"));
        }
        // One writer at a time, so that each one's bytes stay together.
        let mut last = self.input.lock().await;
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(STDIN_BYTES));
            *last += 1;
            let request = || {
                Request::post("write_stdin", self.place.path("/stdin"))
                    .with("piece", last.to_string())
                    .bytes(piece.clone())
            };
            // While the command does not read, the server says so now and then, and is asked again.
            while self.place.insist("write_stdin", request).await? == StatusCode::ACCEPTED {}
        }
        Ok(())
    }

    async fn close_stdin(&self) -> Result<()> {
        if !self.piped {
            return Ok(());
        }
        // Behind what is being written.
        let _last = self.input.lock().await;
        self.control("close_stdin", Control::CloseStdin).await
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        self.events.lock().await.next().await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let control = Control::signal(signal).ok_or_else(|| {
            fail(ErrorKind::Unsupported, "signal").with_message("a signal that this version does not know")
        })?;
        self.control("signal", control).await
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.control("resize", Control::Resize(size.into())).await
    }

    async fn kill(&self) -> Result<()> {
        self.control("kill", Control::Kill).await
    }
}

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::Duration,
};

use agentx_resource::{Child, Error, ErrorKind, ExecRequest, Process, ProcessCapabilities, Result, Stdin};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::{
    child::ContainerChild,
    events::Events,
    http::{Effect, Http, Request, fail},
    wire::{self, Command},
};

/// How often the end of a command that was given up is sent, when it does not arrive. The server ends by itself what
/// nobody listens to.
const END_TRIES: u32 = 3;
/// How long after a first try the second one comes; twice as long after that the next.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Commands in a container.
///
/// A command runs at the server, as its own process runs it, and its events come over one connection, numbered. When that
/// breaks, or is silent for too long, another one takes it up behind the last event: nothing is lost and nothing is told
/// twice. The server holds up to 4 MiB of events that were not taken, and then the command waits.
///
/// Dropping a [`Child`] sends its end to the server. When that does not arrive, or the host is killed, the server ends the
/// command by itself: 30 seconds after the last listener went, unless it was told otherwise.
///
/// A command whose server is gone is an error of `next_event`, `Lost` as a rule, and its outcome
/// [`Lost`](agentx_resource::ExitStatus::Lost): nothing is made up.
#[derive(Clone, Debug)]
pub struct ContainerProcess {
    http: Arc<Http>,
    capabilities: ProcessCapabilities,
}

impl ContainerProcess {
    pub(super) fn new(http: Arc<Http>, capabilities: ProcessCapabilities) -> Self {
        Self { http, capabilities }
    }
}

#[async_trait]
impl Process for ContainerProcess {
    fn capabilities(&self) -> ProcessCapabilities {
        self.capabilities.clone()
    }

    async fn spawn(&self, request: ExecRequest) -> Result<Box<dyn Child>> {
        let runtime =
            Handle::try_current().map_err(|source| fail(ErrorKind::Internal, "spawn").with_source(source))?;
        let body = serde_json::to_vec(&Command::new(&request)?)
            .map_err(|source| fail(ErrorKind::InvalidInput, "spawn").with_source(source))?;
        if body.len() > wire::COMMAND_BYTES {
            let message =
                format!("a command of {} bytes, and {} are allowed", body.len(), wire::COMMAND_BYTES);
            return Err(fail(ErrorKind::LimitExceeded, "spawn").with_message(message));
        }
        let place = Place { http: Arc::clone(&self.http), runtime, id: random_id() };
        // Made before the command is, so that it ends with this future whatever the server has done.
        let end = EndOnDrop(place.clone());
        let response = place.start(body.into()).await?;
        let events = Events::new(place.clone(), response);
        let piped = matches!(request.stdin, Stdin::Piped);
        Ok(Box::new(ContainerChild::new(place, events, piped, end)))
    }
}

/// A command at the server.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) http: Arc<Http>,
    runtime: Handle,
    pub(super) id: String,
}

impl Place {
    pub(super) fn path(&self, rest: &str) -> String {
        format!("{}/commands/{}{rest}", wire::PREFIX, self.id)
    }

    /// Starts the command. Where the answer is lost it is asked for again: the id says that it is the same command.
    async fn start(&self, body: Bytes) -> Result<reqwest::Response> {
        let again_until = Instant::now() + self.http.options.reattach;
        let mut wait = FIRST_WAIT;
        let mut may_run = false;
        loop {
            let request = Request::post("spawn", self.path("")).with("after", "0").json(body.clone());
            let failed = match self.http.send(request).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            may_run |= failed.error.kind() != ErrorKind::Unavailable;
            if failed.is_answer || !may_run {
                return Err(failed.error);
            }
            if Instant::now() + wait >= again_until {
                return Err(lost("spawn", failed.error));
            }
            sleep(wait).await;
            wait *= 2;
        }
    }

    /// Sends a request that the server takes once, however often it comes.
    pub(super) async fn insist(
        &self,
        operation: &'static str,
        make: impl Fn() -> Request + Send,
    ) -> Result<StatusCode> {
        let again_until = Instant::now() + self.http.options.reattach;
        let mut wait = FIRST_WAIT;
        loop {
            match self.http.tell(make()).await {
                Ok(status) => return Ok(status),
                Err(failed) if failed.is_answer => return Err(failed.error),
                Err(failed) if Instant::now() + wait >= again_until => {
                    return Err(lost(operation, failed.error));
                }
                Err(_) => sleep(wait).await,
            }
            wait *= 2;
        }
    }
}

/// Nobody answers any more.
pub(super) fn lost(operation: &'static str, source: Error) -> Error {
    fail(ErrorKind::Lost, operation)
        .with_message("the container does not answer any more")
        .with_source(source)
}

/// Ends the command at the server.
#[derive(Debug)]
pub(super) struct EndOnDrop(Place);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let place = self.0.clone();
        self.0.runtime.spawn(async move {
            let mut wait = FIRST_WAIT;
            for _ in 0..END_TRIES {
                let request = Request::new("drop", Effect::Change, Method::DELETE, place.path(""));
                match place.http.tell(request).await {
                    Err(failed) if !failed.is_answer => sleep(wait).await,
                    // What is said to be gone has ended with its container.
                    _ => return,
                }
                wait *= 2;
            }
        });
    }
}

/// 128 bits that no other command has, as hexadecimal.
pub(super) fn random_id() -> String {
    // Keyed by the system's random numbers.
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ() {
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}

use std::time::Duration;

use agentx_resource::{Error, ErrorKind, Retry};

/// The most that is told of what the API says, in characters.
const SHOWN: usize = 500;

/// What errors name as the provider.
pub(crate) const PROVIDER: &str = "cloudflare";

/// An error of this client.
pub(crate) fn fail(kind: ErrorKind, operation: &'static str) -> Error {
    Error::new(kind, operation).with_provider(PROVIDER)
}

/// What a request that failed has done on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, for certain.
    None,
    /// That is not known.
    Unknown,
}

/// Why an attempt failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) message: String,
    pub(crate) effect: Effect,
    /// Whether it may pass, and the time that the API asks for. Never `Exhausted`.
    pub(crate) retry: Retry,
}

/// A failure that stayed, and after how many attempts.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    pub(crate) tried: u32,
}

impl Failure {
    /// One that will come again, and that had no effect. What it says is bounded, and without control characters.
    pub(crate) fn new(kind: ErrorKind, message: impl AsRef<str>) -> Self {
        let shown = message.as_ref().chars().take(SHOWN);
        let message = shown.map(|each| if each.is_control() { ' ' } else { each }).collect();
        Self { kind, message, effect: Effect::None, retry: Retry::Never }
    }

    /// One after which nothing is known of the effect.
    pub(crate) fn unknown(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }

    /// One that may pass.
    pub(crate) fn passing(mut self, wait: Option<Duration>) -> Self {
        self.retry = Retry::After(wait);
        self
    }

    /// The error that a caller sees. `changes`: whether the request was one that changes something.
    pub(crate) fn told(self, operation: &'static str, changes: bool, tried: u32) -> Error {
        let retry = match self.retry {
            Retry::After(_) if tried > 1 => Retry::Exhausted,
            retry => retry,
        };
        if changes && self.effect == Effect::Unknown {
            // Trying again could do it twice.
            let message = format!("{}: {}", self.kind, self.message);
            return fail(ErrorKind::Lost, operation).with_message(message);
        }
        fail(self.kind, operation).with_message(self.message).with_retry(retry)
    }
}

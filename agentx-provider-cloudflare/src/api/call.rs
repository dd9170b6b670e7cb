//! One operation: its attempts, and what is made of each answer.

use std::{
    error::Error as _,
    time::{Duration, UNIX_EPOCH},
};

use agentx_resource::{ErrorKind, Result, Retry, Secret};
use bytes::{Bytes, BytesMut};
use reqwest::{
    Method, Response,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};

use super::{Answer, CloudflareApi, Effect, Failed, Failure};

/// The first wait before another attempt. Each further one is twice as long.
const WAIT: Duration = Duration::from_millis(200);

/// The longest wait that this client takes upon itself.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A request.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// From the base on, with a `/` before it.
    pub(crate) path: &'a str,
    /// JSON; none where empty.
    pub(crate) body: Bytes,
    /// Whether it changes something, so that it may not be repeated unless it had no effect.
    pub(crate) changes: bool,
    /// The most bytes that an answer may have.
    pub(crate) limit: usize,
}

impl CloudflareApi {
    /// Makes the request, and again where that is safe and may help, until `read` can read the answer.
    #[cfg(feature = "kv")]
    pub(crate) async fn call<T: Send>(
        &self,
        operation: &'static str,
        call: Call<'_>,
        read: impl Fn(&Answer) -> Result<T, Failure> + Send + Sync,
    ) -> Result<T> {
        let answered = self.tried(&call, read).await?;
        answered.map_err(|failed| failed.failure.told(operation, call.changes, failed.tried))
    }

    /// The same, which leaves it to the caller what to make of a failure.
    pub(crate) async fn tried<T: Send>(
        &self,
        call: &Call<'_>,
        read: impl Fn(&Answer) -> Result<T, Failure> + Send + Sync,
    ) -> Result<Result<T, Failed>> {
        let (mut tried, mut renewed) = (0, false);
        let mut token = self.token.get().await?;
        loop {
            let failure = match self.attempt(call, &token).await.and_then(|answer| read(&answer)) {
                Ok(result) => return Ok(Ok(result)),
                Err(failure) => failure,
            };
            // The token that was refused would be refused again, and so may a third.
            if failure.kind == ErrorKind::Unauthenticated && !renewed {
                renewed = true;
                let now = self.token.get().await?;
                if now != token {
                    token = now;
                    continue;
                }
            }
            tried += 1;
            let safe = !call.changes || failure.effect == Effect::None;
            let failed = |tried| Ok(Err(Failed { failure: redacted(failure.clone(), &token), tried }));
            if !safe || !matches!(failure.retry, Retry::After(_)) || tried > self.retries {
                return failed(tried);
            }
            match self.pause(failure.retry, tried) {
                Some(wait) => self.clock.sleep(wait).await,
                // It is for the caller to wait for so long, and then it may help.
                None => return failed(1),
            }
        }
    }

    /// Waits before another attempt, after so many; false where the API asks for more time than is waited here, or
    /// where there were attempts enough.
    #[cfg(feature = "d1")]
    pub(crate) async fn waits(&self, retry: Retry, tried: u32) -> bool {
        if !matches!(retry, Retry::After(_)) || tried > self.retries {
            return false;
        }
        match self.pause(retry, tried) {
            Some(wait) => self.clock.sleep(wait).await,
            None => return false,
        }
        true
    }

    /// How long to wait before the next attempt; none where the API asks for more than is waited here.
    fn pause(&self, retry: Retry, tried: u32) -> Option<Duration> {
        let doubled = WAIT.saturating_mul(1 << (tried - 1).min(16));
        // Several that failed together do not come again together.
        let nanos = self.clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
        let own = doubled + doubled.mul_f64(f64::from(nanos % 1000) / 1000.0);
        match retry {
            Retry::After(Some(asked)) if asked > LONGEST_WAIT => None,
            Retry::After(Some(asked)) => Some(asked.max(own.min(LONGEST_WAIT))),
            _ => Some(own.min(LONGEST_WAIT)),
        }
    }

    async fn attempt(&self, call: &Call<'_>, token: &Secret) -> Result<Answer, Failure> {
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
            .map_err(|_| Failure::new(ErrorKind::Unauthenticated, "the token can't be sent"))?;
        bearer.set_sensitive(true);
        let mut request = self
            .client
            .request(call.method.clone(), format!("{}{}", self.base, call.path))
            .timeout(self.timeout)
            .header(AUTHORIZATION, bearer);
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json").body(call.body.clone());
        }
        let response = request.send().await.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let retry_after = seconds(response.headers());
        let is_json = is_json(response.headers());
        let success = response.status().is_success();
        match body(response, call.limit).await {
            Ok(body) => Ok(Answer { status, retry_after, is_json, body }),
            Err(failure) if success => Err(failure),
            // The status alone says what is to be known.
            Err(_) => Ok(Answer { status, retry_after, is_json: false, body: Bytes::new() }),
        }
    }
}

/// The whole body; `Truncated` for one that ends before its stated end.
async fn body(mut response: Response, limit: usize) -> Result<Bytes, Failure> {
    let too_large = || {
        Failure::new(ErrorKind::LimitExceeded, format!("the answer has more than {limit} bytes")).unknown()
    };
    let mut bytes = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > limit => return Err(too_large()),
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes.freeze()),
            Err(error) => {
                let kind = if error.is_timeout() { ErrorKind::TimedOut } else { ErrorKind::Truncated };
                let message = told("the answer broke off", &error);
                return Err(Failure::new(kind, message).unknown().passing(None));
            }
        }
    }
}

/// There was no response.
fn failed(error: &reqwest::Error) -> Failure {
    if error.is_builder() {
        return Failure::new(ErrorKind::InvalidInput, told("the request can't be made", error));
    }
    let kind = if error.is_timeout() { ErrorKind::TimedOut } else { ErrorKind::Unavailable };
    let failure = Failure::new(kind, told("the API can't be reached", error)).passing(None);
    // Without a connection nothing was sent.
    if error.is_connect() { failure } else { failure.unknown() }
}

fn told(what: &str, error: &reqwest::Error) -> String {
    match cause(error) {
        Some(cause) => format!("{what}: {cause}"),
        None => what.to_owned(),
    }
}

/// What the network said, below all that the client says of it. The address is not shown: it may hold a secret.
fn cause(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}

fn redacted(mut failure: Failure, token: &Secret) -> Failure {
    failure.message = token.redact(&failure.message).into_owned();
    failure
}

/// Cloudflare names seconds, never a date.
fn seconds(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

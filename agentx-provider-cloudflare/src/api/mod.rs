//! Cloudflare's REST API, as far as D1 and KV need it: one client with a token that may rotate, bounded in time and
//! bytes, and sure of what it may repeat.

mod answer;
mod call;
mod failure;
mod token;

#[cfg(feature = "kv")]
use std::time::SystemTime;
use std::{fmt, sync::Arc, time::Duration};

use agentx_resource::{Clock, ErrorKind, Result};
use reqwest::Client;

pub use self::token::ApiToken;
pub(crate) use self::{
    answer::{Answer, Envelope},
    call::Call,
    failure::{Effect, Failed, Failure, fail},
};
use crate::client;

/// Where Cloudflare's API lives.
const PUBLIC: &str = "https://api.cloudflare.com/client/v4";

/// How long one attempt may take, answer included. A query of D1 may run for 30 seconds.
const TIMEOUT: Duration = Duration::from_mins(1);

/// How often an operation is tried again by default.
const RETRIES: u32 = 3;

/// An account's REST API. A clone shares its connections.
///
/// Each attempt ends after 60 seconds, unless another bound is given. What fails in a way that may pass is tried again up
/// to three times, unless another count is given: with growing waits, or after the time that the API names; where it
/// names more than 30 seconds, the error says so and the caller decides. A request that changes something is repeated
/// only where it is certain that it had no effect.
///
/// It connects within 10 seconds, follows no redirect and uses no proxy. It needs a tokio runtime.
///
/// ```
/// use std::sync::Arc;
///
/// use agentx_provider_cloudflare::{ApiToken, CloudflareApi};
/// use agentx_resource::memory::ManualClock;
///
/// // A program takes the clock of its runtime, and reads the token from where it keeps secrets.
/// let clock = Arc::new(ManualClock::default());
/// let api = CloudflareApi::new("023e105f4ecef8ad9ca31a8372d0c353", ApiToken::value("…"), clock)?;
/// assert!(!format!("{api:?}").contains('…'));
/// # Ok::<(), agentx_resource::Error>(())
/// ```
#[derive(Clone)]
pub struct CloudflareApi {
    client: Client,
    base: Arc<str>,
    token: ApiToken,
    clock: Arc<dyn Clock>,
    timeout: Duration,
    retries: u32,
}

impl CloudflareApi {
    /// The API of the account with this id, as the dashboard shows it.
    ///
    /// # Errors
    /// `InvalidInput` for what can't be an id; `Internal` where TLS can't be set up.
    pub fn new(account: &str, token: ApiToken, clock: Arc<dyn Clock>) -> Result<Self> {
        if !is_id(account) {
            return Err(fail(ErrorKind::InvalidInput, "open api").with_message("not the id of an account"));
        }
        Self::at(format!("{PUBLIC}/accounts/{account}"), token, clock)
    }

    /// The API at `base`, up to and without `/d1` and `/storage/kv`: a gateway of one's own, or the local server of
    /// wrangler (`http://127.0.0.1:8787/cdn-cgi/local/explorer/api`).
    ///
    /// # Errors
    /// `InvalidInput` for what is no HTTP address; `Internal` where TLS can't be set up.
    pub fn at(base: impl Into<String>, token: ApiToken, clock: Arc<dyn Clock>) -> Result<Self> {
        let base = base.into();
        let base = base.trim_end_matches('/');
        if !reqwest::Url::parse(base).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
            return Err(fail(ErrorKind::InvalidInput, "open api").with_message("not an HTTP address"));
        }
        let client = client::builder()?.build().map_err(|error| {
            fail(ErrorKind::Internal, "open api")
                .with_message("the HTTP client can't be set up")
                .with_source(error.without_url())
        })?;
        Ok(Self { client, base: base.into(), token, clock, timeout: TIMEOUT, retries: RETRIES })
    }

    /// With this bound on each attempt.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With so many further attempts.
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The time by the clock of the API's user.
    #[cfg(feature = "kv")]
    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

/// Shows neither the token nor where the API lives, which may hold a secret of a gateway.
impl fmt::Debug for CloudflareApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudflareApi")
            .field("token", &self.token)
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

/// Whether this can be the id of an account, a database or a namespace.
pub(crate) fn is_id(id: &str) -> bool {
    const LONGEST: usize = 64;
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

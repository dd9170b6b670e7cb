//! The way to a bucket: where it is, who asks, and how often.

mod keys;
mod transport;
mod usage;

use std::{fmt, sync::Arc, time::Duration};

use agentx_resource::{Error, ErrorKind, LLMProvider, ResourcePath, Result, memory::MemoryLlmProvider};
use object_store::{
    BackoffConfig, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
    prefix::PrefixStore,
};

pub use self::{keys::R2Keys, usage::R2Usage};
use self::{keys::Supplied, transport::Transport};
pub(super) use self::{transport::Attempts, usage::Counters};
use super::{error::PROVIDER, key};
use crate::client;

/// How often a request is repeated by default, and for how long in all.
const RETRIES: usize = 5;
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a server may be silent within an answer, by default.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A bucket of R2, and how it is reached.
///
/// ```
/// use agentx_provider_cloudflare::{R2Bucket, R2FileSystem, R2Keys};
///
/// let keys = R2Keys::new("the access key's id", "its secret");
/// let bucket = R2Bucket::new("023e105f4ecef8ad9ca31a8372d0c353", "agents", keys);
/// let fs = R2FileSystem::connect(&bucket.with_prefix("tenants/7"))?;
/// # Ok::<(), agentx_resource::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct R2Bucket {
    /// The bucket's name.
    pub name: String,
    /// Where the S3 API lives: `https://<account id>.r2.cloudflarestorage.com`.
    pub endpoint: String,
    /// Who supplies the keys. It is asked at each request, so that they can rotate.
    pub keys: Arc<dyn LLMProvider<R2Keys>>,
    /// What all keys begin with, followed by a `/`. Empty for the whole bucket.
    pub prefix: String,
    /// How often a request is repeated that met an overload (429, 5xx) or a broken connection; 5 by default. The waits
    /// grow from 100 ms to 15 s.
    pub retries: usize,
    /// How long after a request began it is repeated no more; 1 minute by default.
    pub retry_timeout: Duration,
    /// How long the server may be silent within an answer; 30 seconds by default.
    pub idle_timeout: Duration,
}

impl R2Bucket {
    /// The bucket `name` of the account with this id.
    pub fn new(account: impl fmt::Display, name: impl Into<String>, keys: R2Keys) -> Self {
        Self {
            name: name.into(),
            endpoint: format!("https://{account}.r2.cloudflarestorage.com"),
            keys: Arc::new(MemoryLlmProvider::new("r2 keys", keys)),
            prefix: String::new(),
            retries: RETRIES,
            retry_timeout: RETRY_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
        }
    }

    /// At another endpoint: that of a jurisdiction (`https://<account id>.eu.r2.cloudflarestorage.com`), of a local
    /// server, or of another store with the API of S3 and its conditional writes.
    pub fn with_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// With the keys that `provider` supplies from now on.
    pub fn with_keys_from(mut self, provider: Arc<dyn LLMProvider<R2Keys>>) -> Self {
        self.keys = provider;
        self
    }

    /// The part of the bucket whose keys begin with `prefix` and a `/`.
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// With so many repetitions, within this time.
    pub fn with_retries(mut self, retries: usize, timeout: Duration) -> Self {
        (self.retries, self.retry_timeout) = (retries, timeout);
        self
    }

    /// With this bound on the server's silence.
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// The store, as a file system takes it.
    pub(super) fn open(&self, usage: Arc<Counters>) -> Result<Arc<dyn ObjectStore>> {
        let address =
            self.endpoint.strip_prefix("https://").or_else(|| self.endpoint.strip_prefix("http://"));
        if address.is_none_or(str::is_empty) {
            return Err(refused("the endpoint is no HTTP address"));
        }
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if self.name.is_empty() || !self.name.bytes().all(named) {
            return Err(refused("a bucket has no such name"));
        }
        let prefix = ResourcePath::new(format!("/{}", self.prefix))?;
        let prefix = key::object(&prefix, "connect")?;
        let client = client::builder()?
            .read_timeout(self.idle_timeout)
            .build()
            .map_err(|error| fault("the HTTP client can't be set up").with_source(error.without_url()))?;
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: self.retries,
            retry_timeout: self.retry_timeout,
        };
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint.trim_end_matches('/'))
            .with_bucket_name(&self.name)
            .with_region("auto")
            .with_virtual_hosted_style_request(false)
            .with_credentials(Arc::new(Supplied(Arc::clone(&self.keys))))
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // R2 knows no tags.
            .with_disable_tagging(true)
            .with_retry(retry)
            .with_http_connector(Transport { client, usage })
            .build()
            .map_err(|error| fault("the S3 client can't be set up").with_source(error))?;
        if prefix.is_root() {
            return Ok(Arc::new(store));
        }
        Ok(Arc::new(PrefixStore::new(store, prefix)))
    }
}

fn refused(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, "connect").with_provider(PROVIDER).with_message(message)
}

fn fault(message: &'static str) -> Error {
    Error::new(ErrorKind::Internal, "connect").with_provider(PROVIDER).with_message(message)
}

/// Shows no key.
impl fmt::Debug for R2Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("R2Bucket")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .field("keys", &self.keys)
            .field("prefix", &self.prefix)
            .field("retries", &self.retries)
            .field("retry_timeout", &self.retry_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> R2Bucket {
        R2Bucket::new("account", "bucket", R2Keys::new("the-key-id", "the-secret"))
    }

    #[test]
    fn what_can_not_be_opened_is_refused() {
        assert!(bucket().open(Arc::default()).is_ok());
        assert!(bucket().with_prefix("a/b").open(Arc::default()).is_ok());
        let wrong = [
            bucket().with_endpoint("account.r2.cloudflarestorage.com"),
            bucket().with_endpoint("https://"),
            R2Bucket { name: "a/b".to_owned(), ..bucket() },
            R2Bucket { name: String::new(), ..bucket() },
        ];
        for bucket in wrong {
            assert_eq!(
                bucket.open(Arc::default()).unwrap_err().kind(),
                ErrorKind::InvalidInput,
                "{bucket:?}"
            );
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?} {:?}", bucket(), super::super::R2FileSystem::connect(&bucket()).unwrap());
        assert!(shown.contains("bucket") && !shown.contains("the-"), "{shown}");
    }
}

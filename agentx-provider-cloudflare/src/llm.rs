use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use agentx_resource::{ApiSupply, Clock, Env, Error, ErrorKind, LLMProvider, Result, Secret};
use async_trait::async_trait;
use futures::lock::Mutex;

/// What errors name as the provider.
const PROVIDER: &str = "env supply";

/// How long a supply is good by default.
const TTL: Duration = Duration::from_mins(1);

/// A key for a model API out of settings: the secrets of a platform, a KV namespace, any [`Env`]. A clone shares what is
/// cached.
///
/// The key is read again after a minute, unless another time is given, so that it can rotate without a restart; and at
/// once after [`EnvSupply::refused`], so that a key which was revoked costs no more than one request. Of many that ask at
/// once, one reads. White space around a key is dropped; a key that is empty or holds anything but visible ASCII is
/// `InvalidInput`. The key is never in `Debug` or in an error.
///
/// ```
/// use std::sync::Arc;
///
/// use agentx_provider_cloudflare::EnvSupply;
/// use agentx_resource::{LLMProvider, memory::{ManualClock, MemoryEnv}};
///
/// # futures::executor::block_on(async {
/// let settings = MemoryEnv::new([("ANTHROPIC_API_KEY", "first")])?;
/// let clock = Arc::new(ManualClock::default());
/// let supply = EnvSupply::new(Arc::new(settings.clone()), "ANTHROPIC_API_KEY", clock);
/// let first = supply.provide().await?;
/// settings.set("ANTHROPIC_API_KEY", "second")?;
/// assert_eq!(supply.provide().await?, first, "for a minute");
/// supply.refused(&first).await;
/// assert_eq!(supply.provide().await?.key.expose(), "second");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct EnvSupply {
    env: Arc<dyn Env>,
    key: String,
    base_url: Option<String>,
    clock: Arc<dyn Clock>,
    ttl: Duration,
    /// A supply, and until when it is good. Held while one is read.
    cached: Arc<Mutex<Option<(ApiSupply, SystemTime)>>>,
}

impl EnvSupply {
    /// The key that `env` has under the name `key`.
    ///
    /// An environment that caches for itself keeps an old key for as long: give a [`KvEnv`](crate::KvEnv) without
    /// that, by `with_ttl(Duration::ZERO)`.
    pub fn new(env: Arc<dyn Env>, key: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { env, key: key.into(), base_url: None, clock, ttl: TTL, cached: Arc::default() }
    }

    /// The API lives where the setting `name` says; at the driver's default place while it is not set or empty.
    pub fn with_base_url_from(mut self, name: impl Into<String>) -> Self {
        self.base_url = Some(name.into());
        self.cached = Arc::default();
        self
    }

    /// With a supply that is good for so long.
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self.cached = Arc::default();
        self
    }

    /// Says that the API has refused `supply`. Where it is what is cached, it is read again.
    pub async fn refused(&self, supply: &ApiSupply) {
        let mut cached = self.cached.lock().await;
        if cached.as_ref().is_some_and(|(known, _)| known == supply) {
            *cached = None;
        }
    }

    async fn read(&self) -> Result<ApiSupply> {
        let found = self.env.get(&self.key).await?.map(Secret::new);
        let found = found.ok_or_else(|| self.fail(ErrorKind::NotFound, "the setting is not set"))?;
        let key = found.expose().trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.fail(ErrorKind::InvalidInput, "a key is visible ASCII, and not empty"));
        }
        let supply = ApiSupply::new(key);
        let Some(name) = &self.base_url else { return Ok(supply) };
        let url = self.env.get(name).await?.unwrap_or_default();
        Ok(match url.trim() {
            "" => supply,
            url => supply.with_base_url(url),
        })
    }

    fn fail(&self, kind: ErrorKind, problem: &'static str) -> Error {
        Error::new(kind, "provide").with_path(&self.key).with_provider(PROVIDER).with_message(problem)
    }
}

#[async_trait]
impl LLMProvider<ApiSupply> for EnvSupply {
    fn name(&self) -> &str {
        &self.key
    }

    async fn provide(&self) -> Result<ApiSupply> {
        let mut cached = self.cached.lock().await;
        let now = self.clock.now();
        if let Some((supply, until)) = &*cached
            && now < *until
        {
            return Ok(supply.clone());
        }
        // What is too old is not given where nothing newer can be had.
        *cached = None;
        let supply = self.read().await?;
        *cached = now.checked_add(self.ttl).map(|until| (supply.clone(), until));
        Ok(supply)
    }
}

/// Shows the names of settings, and no value.
impl fmt::Debug for EnvSupply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvSupply")
            .field("key", &self.key)
            .field("base_url", &self.base_url)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use agentx_resource::memory::{ManualClock, MemoryEnv};
    use futures::executor::block_on;

    use super::*;

    fn supply(settings: &[(&str, &str)]) -> (EnvSupply, MemoryEnv, ManualClock) {
        let (env, clock) = (MemoryEnv::new(settings.iter().copied()).unwrap(), ManualClock::default());
        (EnvSupply::new(Arc::new(env.clone()), "KEY", Arc::new(clock.clone())), env, clock)
    }

    #[test]
    fn a_key_is_good_for_its_time_and_not_after_it() {
        let (supply, env, clock) = supply(&[("KEY", " one\n"), ("URL", "http://a")]);
        let supply = supply.with_base_url_from("URL").with_ttl(Duration::from_secs(10));
        let first = block_on(supply.provide()).unwrap();
        assert_eq!((first.key.expose(), first.base_url.as_deref()), ("one", Some("http://a")));
        env.set("KEY", "two").unwrap();
        env.unset("URL");
        clock.advance(Duration::from_secs(9));
        assert_eq!(block_on(supply.provide()).unwrap(), first);
        clock.advance(Duration::from_secs(1));
        assert_eq!(block_on(supply.provide()).unwrap(), ApiSupply::new("two"));
        env.unset("KEY");
        clock.advance(Duration::from_secs(10));
        assert_eq!(block_on(supply.provide()).unwrap_err().kind(), ErrorKind::NotFound, "not the old one");
    }

    #[test]
    fn only_a_refusal_of_what_is_cached_counts() {
        let (supply, env, _) = supply(&[("KEY", "one")]);
        let first = block_on(supply.provide()).unwrap();
        env.set("KEY", "two").unwrap();
        block_on(supply.refused(&ApiSupply::new("older")));
        assert_eq!(block_on(supply.provide()).unwrap(), first);
        block_on(supply.refused(&first));
        assert_eq!(block_on(supply.provide()).unwrap().key.expose(), "two");
        env.set("KEY", "three").unwrap();
        block_on(supply.refused(&first));
        assert_eq!(block_on(supply.provide()).unwrap().key.expose(), "two", "told too late");
    }

    #[test]
    fn an_unusable_key_is_refused_and_never_shown() {
        for key in ["", "  \n", "sk-se cret", "sk-secret\u{e9}"] {
            let (supply, ..) = supply(&[("KEY", key)]);
            let error = block_on(supply.provide()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{key:?}");
            assert!(!format!("{error:?}{supply:?}").contains("sk-se"));
        }
    }
}

//! Settings from a KV namespace, over its REST API.

mod cache;
mod fetch;
mod usage;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use agentx_resource::{Env, Error, ErrorKind, Result, Secret};
use async_trait::async_trait;

pub use self::usage::KvUsage;
use self::{
    cache::{Cache, Known},
    usage::Counters,
};
use crate::api::{CloudflareApi, is_id};

/// What errors name as the provider.
const PROVIDER: &str = "kv";

/// How long a value is good by default: KV itself shows a change elsewhere within about this time.
const TTL: Duration = Duration::from_mins(1);

/// Settings in a KV namespace. A clone is the same namespace, and shares what is cached.
///
/// A setting is a key, below a prefix where one is given; its value is text. Values are kept in memory for a minute,
/// unless another time is given: at most 1024 of them and 4 MiB, wiped when they go. That nothing is set under a name is
/// kept as well. Keys that can't be names of settings (with `=` or NUL) are passed over.
///
/// KV is eventually consistent: a change may take a minute to be seen everywhere, besides the time that it is cached here.
///
/// # Bounds
/// A value has at most 1 MiB, all settings together 16 MiB and 10,000 names; beyond, it is `LimitExceeded`.
///
/// ```
/// use std::time::Duration;
///
/// use agentx_provider_cloudflare::{CloudflareApi, KvEnv};
///
/// # fn main() -> agentx_resource::Result<()> { Ok(()) }
/// fn settings(api: &CloudflareApi) -> agentx_resource::Result<KvEnv> {
///     let env = KvEnv::new(api.clone(), "0f2ac74b498b48028cb68387c421e279")?;
///     Ok(env.with_prefix("agent/").with_ttl(Duration::from_secs(10)))
/// }
/// ```
#[derive(Clone)]
pub struct KvEnv {
    api: CloudflareApi,
    namespace: Arc<str>,
    prefix: Arc<str>,
    ttl: Duration,
    cache: Arc<Mutex<Cache>>,
    usage: Arc<Counters>,
}

impl KvEnv {
    /// The namespace with this id (not its name).
    ///
    /// # Errors
    /// `InvalidInput` for what can't be an id. Whether the namespace is there shows with the first setting.
    pub fn new(api: CloudflareApi, namespace: impl Into<Arc<str>>) -> Result<Self> {
        let namespace = namespace.into();
        if !is_id(&namespace) {
            return Err(Error::new(ErrorKind::InvalidInput, "open namespace")
                .with_path(&namespace)
                .with_provider(PROVIDER)
                .with_message("not the id of a namespace"));
        }
        let (prefix, ttl) = ("".into(), TTL);
        Ok(Self { api, namespace, prefix, ttl, cache: Arc::default(), usage: Arc::default() })
    }

    /// With the settings whose keys begin with `prefix`, which is no part of their names. It caches for itself.
    pub fn with_prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.prefix = prefix.into();
        self.cache = Arc::default();
        self
    }

    /// With values that are good for so long; none is kept for zero. It caches for itself.
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self.cache = Arc::default();
        self
    }

    /// Forgets what is cached, so that the next look asks KV.
    pub fn forget(&self) {
        *self.lock() = Cache::default();
    }

    /// What was used until now.
    pub fn usage(&self) -> KvUsage {
        self.usage.snapshot()
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        // A cache that was left in the middle of a change holds what it held.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Env for KvEnv {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        check(key)?;
        let now = self.api.now();
        if let Some(known) = self.lock().get(key, now) {
            return Ok(known.into_text());
        }
        let found = Known::from(self.fetch("get", key).await?);
        self.lock().put(key, found.clone(), now, self.ttl);
        Ok(found.into_text())
    }

    async fn get_all(&self) -> Result<BTreeMap<String, String>> {
        let now = self.api.now();
        let shown = |all: &BTreeMap<String, Secret>| {
            all.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect()
        };
        if let Some(known) = self.lock().all(now) {
            return Ok(shown(&known));
        }
        let all = Arc::new(self.fetch_all().await?);
        self.lock().put_all(all.clone(), now, self.ttl);
        Ok(shown(&all))
    }
}

/// Shows no value, and no name of a setting.
impl fmt::Debug for KvEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvEnv")
            .field("namespace", &self.namespace)
            .field("prefix", &self.prefix)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

fn check(key: &str) -> Result<()> {
    if is_name(key) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidInput, "get")
        .with_path(key)
        .with_provider(PROVIDER)
        .with_message("not a name of a setting"))
}

fn is_name(key: &str) -> bool {
    !key.is_empty() && !key.contains(['=', '\0'])
}

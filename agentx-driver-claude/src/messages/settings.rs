use std::time::Duration;

use serde_json::{Map, Value};

/// How a [`MessagesModel`](super::MessagesModel) asks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessagesSettings {
    /// The model, where a request names none.
    pub model: String,
    /// The most tokens of an answer, where a request says nothing; a thinking budget comes on top.
    pub max_tokens: u32,
    /// The version of the API.
    pub version: ApiVersion,
    /// Whether the API is to keep the beginning of the conversation for the next call.
    pub cache: PromptCache,
    /// How often a call is tried again after a failure that may pass.
    pub retries: u32,
    /// The longest time without progress, before the answer and within it. What says nothing, as a ping, is no
    /// progress. A standstill is noticed after this time, at the latest after twice of it.
    pub idle_timeout: Duration,
    /// How the key is sent.
    pub auth: Auth,
    /// The betas that are asked for, sent as `anthropic-beta`.
    pub betas: Vec<String>,
    /// Fields that are added to each request as they are, such as `mcp_servers`, `metadata` or `service_tier`. A field
    /// that this crate writes itself is refused.
    pub extra: Map<String, Value>,
}

impl MessagesSettings {
    /// The model by default.
    pub const DEFAULT_MODEL: &str = "claude-sonnet-5-5";

    /// With this model by default.
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// With this limit on answers by default.
    pub fn with_max_tokens(mut self, max_tokens: u32) -> Self {
        self.max_tokens = max_tokens;
        self
    }

    /// With this version of the API.
    pub fn with_version(mut self, version: ApiVersion) -> Self {
        self.version = version;
        self
    }

    /// With this use of the API's cache.
    pub fn with_cache(mut self, cache: PromptCache) -> Self {
        self.cache = cache;
        self
    }

    /// With so many retries.
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// With this bound on a standstill.
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.idle_timeout = idle_timeout;
        self
    }

    /// With the key sent like this.
    pub fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// With one more beta.
    pub fn with_beta(mut self, beta: impl Into<String>) -> Self {
        self.betas.push(beta.into());
        self
    }

    /// With one more field in each request.
    pub fn with_extra(mut self, field: impl Into<String>, value: Value) -> Self {
        self.extra.insert(field.into(), value);
        self
    }
}

/// [`MessagesSettings::DEFAULT_MODEL`], 16,384 tokens, version 2023-06-01, five minutes of cache, 2 retries and
/// 10 minutes without progress; the key as `x-api-key`, no betas, no extra fields.
impl Default for MessagesSettings {
    fn default() -> Self {
        Self {
            model: Self::DEFAULT_MODEL.to_owned(),
            max_tokens: 16_384,
            version: ApiVersion::default(),
            cache: PromptCache::default(),
            retries: 2,
            idle_timeout: Duration::from_mins(10),
            auth: Auth::default(),
            betas: Vec::new(),
            extra: Map::new(),
        }
    }
}

/// The version of the API, sent as `anthropic-version`.
///
/// What this crate sends is valid under each: no sampling parameters, no documents in assistant messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApiVersion {
    /// `2023-06-01`, which every gateway understands.
    #[default]
    V2023_06_01,
    /// `2026-10-21`.
    V2026_10_21,
}

impl ApiVersion {
    /// The version's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2023_06_01 => "2023-06-01",
            Self::V2026_10_21 => "2026-10-21",
        }
    }
}

/// How the key is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// As `x-api-key`, the way of the API itself.
    #[default]
    ApiKey,
    /// As `authorization: Bearer …`, the way of access tokens and of some gateways.
    Bearer,
}

/// Whether the API keeps the beginning of a conversation, so that the next call pays less for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PromptCache {
    /// It does not: for gateways that refuse `cache_control`, and for calls that are made once.
    Off,
    /// For five minutes since the last use.
    #[default]
    FiveMinutes,
    /// For an hour since the last use; writing costs more.
    OneHour,
}

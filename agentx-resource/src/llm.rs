use std::fmt;

use async_trait::async_trait;

use crate::{Result, Secret};

/// Who supplies a model: what a driver needs to reach one, asked for anew each time, so that a key can rotate.
///
/// The supply is a plain value (such as [`ApiSupply`]), never a client: a test's fake is one line. The parameter
/// stands on the trait, so `dyn LLMProvider<ApiSupply>` works.
#[async_trait]
pub trait LLMProvider<TSupply: Send + 'static>: fmt::Debug + Send + Sync + 'static {
    /// The provider's name, for messages to people.
    fn name(&self) -> &str;

    /// The supply as it is now. Cheap: a provider that must fetch it caches it.
    ///
    /// # Errors
    /// `NotFound` where there is no supply (an unset variable, a missing file), `InvalidInput` for one that can't
    /// be used; whatever the platform reports.
    async fn provide(&self) -> Result<TSupply>;
}

/// Access to a model API over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiSupply {
    /// The key that is sent with each request.
    pub key: Secret,
    /// Where the API lives, without a path: `https://api.anthropic.com`. The driver's own default where absent.
    pub base_url: Option<String>,
}

impl ApiSupply {
    /// A supply with this key, at the driver's default place.
    pub fn new(key: impl Into<Secret>) -> Self {
        Self { key: key.into(), base_url: None }
    }

    /// Names the place of the API.
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }
}

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;

use super::lock;
use crate::{LLMProvider, Result};

/// Supplies what it was given. A clone is the same provider.
///
/// ```
/// use agentx_resource::{ApiSupply, LLMProvider, memory::MemoryLlmProvider};
///
/// # futures::executor::block_on(async {
/// let provider = MemoryLlmProvider::new("fixed", ApiSupply::new("old key"));
/// provider.set(ApiSupply::new("new key"));
/// assert_eq!(provider.provide().await?.key.expose(), "new key");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryLlmProvider<TSupply> {
    name: Arc<str>,
    supply: Arc<Mutex<TSupply>>,
}

impl<TSupply> MemoryLlmProvider<TSupply> {
    /// A provider of this name, which supplies `supply`.
    pub fn new(name: impl Into<Arc<str>>, supply: TSupply) -> Self {
        Self { name: name.into(), supply: Arc::new(Mutex::new(supply)) }
    }

    /// Supplies `supply` from now on, as when a key is rotated.
    pub fn set(&self, supply: TSupply) {
        *lock(&self.supply) = supply;
    }
}

/// Shows the name, not the supply, which may hold a secret.
impl<TSupply> fmt::Debug for MemoryLlmProvider<TSupply> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLlmProvider").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl<TSupply: Clone + Send + 'static> LLMProvider<TSupply> for MemoryLlmProvider<TSupply> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn provide(&self) -> Result<TSupply> {
        Ok(lock(&self.supply).clone())
    }
}

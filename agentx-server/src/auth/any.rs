use std::sync::Arc;

use agentx_core::Result;
use async_trait::async_trait;

use super::{Authenticator, Credentials, Identity};

/// Asks several authenticators, one after another: whom the first one knows comes in.
#[derive(Clone, Debug, Default)]
pub struct AnyOf(Vec<Arc<dyn Authenticator>>);

impl AnyOf {
    /// Nobody: nobody gets in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks this one, too, behind those that are there.
    pub fn or(mut self, authenticator: impl Authenticator) -> Self {
        self.0.push(Arc::new(authenticator));
        self
    }
}

/// One that can't find out does not keep the others from it; its error is told where none knows.
#[async_trait]
impl Authenticator for AnyOf {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Option<Identity>> {
        let mut failed = None;
        for authenticator in &self.0 {
            match authenticator.authenticate(credentials).await {
                Ok(Some(identity)) => return Ok(Some(identity)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }
}

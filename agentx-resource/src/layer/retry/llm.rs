use std::sync::Arc;

use async_trait::async_trait;

use super::Retry;
use crate::{LLMProvider, Result};

#[derive(Debug)]
pub(super) struct RetryLlmProvider<P: ?Sized> {
    inner: Arc<P>,
    retry: Retry,
}

impl<P: ?Sized> RetryLlmProvider<P> {
    pub(super) fn new(inner: Arc<P>, retry: Retry) -> Self {
        Self { inner, retry }
    }
}

#[async_trait]
impl<S: Send + 'static, P: LLMProvider<S> + ?Sized> LLMProvider<S> for RetryLlmProvider<P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn provide(&self) -> Result<S> {
        self.retry.run(|| self.inner.provide()).await
    }
}

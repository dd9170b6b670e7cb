use std::sync::Arc;

use async_trait::async_trait;

use super::{Around, Operation, Verb};
use crate::{LLMProvider, Result};

#[derive(Debug)]
pub(super) struct AroundLlmProvider<P: ?Sized, A> {
    inner: Arc<P>,
    around: A,
}

impl<P: ?Sized, A: Around> AroundLlmProvider<P, A> {
    pub(super) fn new(inner: Arc<P>, around: A) -> Self {
        Self { inner, around }
    }
}

#[async_trait]
impl<S, P, A> LLMProvider<S> for AroundLlmProvider<P, A>
where
    S: Send + 'static,
    P: LLMProvider<S> + ?Sized,
    A: Around,
{
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn provide(&self) -> Result<S> {
        self.around.begin(Verb::Provide, self.inner.name()).await.step(self.inner.provide()).await
    }
}

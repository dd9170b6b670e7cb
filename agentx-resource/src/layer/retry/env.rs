use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::Retry;
use crate::{Env, Result};

#[derive(Debug)]
pub(super) struct RetryEnv {
    inner: Arc<dyn Env>,
    retry: Retry,
}

impl RetryEnv {
    pub(super) fn new(inner: Arc<dyn Env>, retry: Retry) -> Self {
        Self { inner, retry }
    }
}

#[async_trait]
impl Env for RetryEnv {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        self.retry.run(|| self.inner.get(key)).await
    }

    async fn get_all(&self) -> Result<BTreeMap<String, String>> {
        self.retry.run(|| self.inner.get_all()).await
    }
}

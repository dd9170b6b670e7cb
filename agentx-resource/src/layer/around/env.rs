use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::{Around, Operation, Verb};
use crate::{Env, Result};

#[derive(Debug)]
pub(super) struct AroundEnv<A> {
    inner: Arc<dyn Env>,
    around: A,
}

impl<A: Around> AroundEnv<A> {
    pub(super) fn new(inner: Arc<dyn Env>, around: A) -> Self {
        Self { inner, around }
    }
}

#[async_trait]
impl<A: Around> Env for AroundEnv<A> {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        self.around.begin(Verb::Get, key).await.step(self.inner.get(key)).await
    }

    async fn get_all(&self) -> Result<BTreeMap<String, String>> {
        self.around.begin(Verb::GetAll, "").await.step(self.inner.get_all()).await
    }
}

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use serde_json::json;

use super::Port;
use crate::{LLMProvider, Result};

pub(super) struct RecordedLlmProvider<S> {
    port: Port<dyn LLMProvider<S>>,
    stand_in: Arc<dyn Fn() -> S + Send + Sync>,
}

impl<S> RecordedLlmProvider<S> {
    pub(super) fn new(port: Port<dyn LLMProvider<S>>, stand_in: Arc<dyn Fn() -> S + Send + Sync>) -> Self {
        Self { port, stand_in }
    }
}

#[async_trait]
impl<S: Send + 'static> LLMProvider<S> for RecordedLlmProvider<S> {
    fn name(&self) -> &str {
        self.port.live.as_ref().map_or(&*self.port.name, |live| live.name())
    }

    async fn provide(&self) -> Result<S> {
        let call = self.port.call("llm.provide", json!({})).await?;
        let mut supply = None;
        let provided = call.answer(async {
            supply = Some(self.port.live()?.provide().await?);
            Ok(())
        });
        provided.await?;
        Ok(supply.unwrap_or_else(|| (self.stand_in)()))
    }
}

impl<S> fmt::Debug for RecordedLlmProvider<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedLlmProvider").field("name", &self.port.name).finish_non_exhaustive()
    }
}

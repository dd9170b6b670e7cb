use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use agentx_resource::{ApiSupply, LLMProvider, Result};
use async_trait::async_trait;

use super::LlmProviderFault as Fault;
use crate::llm::KEY;

/// A supplier of the suite's key with one fault.
pub struct FaultyLlmProvider {
    fault: Fault,
    supplied: AtomicUsize,
    ready: AtomicBool,
}

impl FaultyLlmProvider {
    /// A supplier with this fault.
    pub fn new(fault: Fault) -> Self {
        Self { fault, supplied: AtomicUsize::new(0), ready: AtomicBool::new(false) }
    }
}

impl fmt::Debug for FaultyLlmProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (self.fault == Fault::ShowsKey).then_some(KEY);
        f.debug_struct("FaultyLlmProvider")
            .field("fault", &self.fault)
            .field("key", &shown)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl LLMProvider<ApiSupply> for FaultyLlmProvider {
    fn name(&self) -> &str {
        if self.fault == Fault::Nameless { "" } else { "faulty" }
    }

    async fn provide(&self) -> Result<ApiSupply> {
        let earlier = self.supplied.fetch_add(1, Ordering::Relaxed);
        Ok(match self.fault {
            Fault::KeepsNewline => ApiSupply::new(format!("{KEY}\n")),
            Fault::HandsOutOnce if earlier > 0 => ApiSupply::new(""),
            Fault::HandsOutUnready if earlier > 0 => {
                ApiSupply::new(if self.ready.load(Ordering::SeqCst) { KEY } else { "" })
            }
            Fault::HandsOutUnready => {
                tokio::task::yield_now().await;
                self.ready.store(true, Ordering::SeqCst);
                ApiSupply::new(KEY)
            }
            _ => ApiSupply::new(KEY),
        })
    }
}

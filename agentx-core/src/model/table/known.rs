//! The facts of the table that comes with the library.

use super::{ModelCapabilities, ModelInfo, ModelTable, Prices};

/// The day of the facts below.
const AS_OF: &str = "2026-11-22";

const MILLION: u64 = 1_000_000;

/// What all models of the table can do.
const BASE: ModelCapabilities = ModelCapabilities {
    streaming: true,
    tools: true,
    images: true,
    documents: true,
    thinking: true,
    thinking_budget: false,
    effort: true,
    structured_output: true,
    prompt_cache: true,
};

/// Models whose thinking has a budget, and of which the newer have an effort too.
const WITH_BUDGET: ModelCapabilities = ModelCapabilities { thinking_budget: true, ..BASE };
const WITHOUT_EFFORT: ModelCapabilities = ModelCapabilities { effort: false, ..WITH_BUDGET };

/// Dollars for a million tokens, input and output.
const fn dollars(input: u64, output: u64) -> Prices {
    Prices::new(input * MILLION, output * MILLION)
}

impl ModelTable {
    /// The models that the library knows, with their list prices. The table says of which day it is.
    pub fn known() -> Self {
        let large = |prices, capabilities| info(MILLION, 128_000, prices, capabilities);
        let small = |prices, capabilities| info(200_000, 64_000, prices, capabilities);
        Self::empty(AS_OF)
            .with("claude-fable-5-2", large(dollars(8, 40).with_cache_read(200_000), BASE))
            .with("claude-fable-5-1", large(dollars(10, 50).with_cache_read(250_000), BASE))
            .with("claude-fable-5", large(dollars(10, 50), BASE))
            .with("claude-opus-5-5", large(dollars(4, 20).with_cache_read(200_000), BASE))
            .with("claude-opus-5", large(dollars(5, 25), BASE))
            .with("claude-opus-4-8", large(dollars(5, 25), BASE))
            .with("claude-opus-4-7", large(dollars(5, 25), BASE))
            .with("claude-opus-4-6", large(dollars(5, 25), WITH_BUDGET))
            .with("claude-opus-4-5", small(dollars(5, 25), WITH_BUDGET))
            .with("claude-sonnet-5-5", large(dollars(2, 10).with_cache_read(100_000), BASE))
            .with("claude-sonnet-5", large(dollars(2, 10), BASE))
            .with("claude-sonnet-4-6", info(MILLION, 64_000, dollars(3, 15), WITH_BUDGET))
            .with("claude-sonnet-4-5", small(dollars(3, 15), WITHOUT_EFFORT))
            .with("claude-haiku-5-5", large(Prices::new(100_000, 500_000).with_long_prompt(100_000, 5), BASE))
            .with("claude-haiku-4-5", small(dollars(1, 5), WITHOUT_EFFORT))
    }
}

fn info(context_window: u64, max_output: u64, prices: Prices, capabilities: ModelCapabilities) -> ModelInfo {
    ModelInfo { context_window, max_output, capabilities, prices: Some(prices) }
}

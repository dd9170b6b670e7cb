use serde::{Deserialize, Serialize};

use crate::{MicroDollars, Usage};

/// What a model costs: millionths of a dollar for a million tokens of each kind. A price of `$3` is `3_000_000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Prices {
    /// Input that has nothing to do with a cache.
    pub input: u64,
    /// Output, thinking included.
    pub output: u64,
    /// Input written to a cache for five minutes.
    pub cache_write_5m: u64,
    /// Input written to a cache for an hour.
    pub cache_write_1h: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Where long prompts cost more, what they cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_prompt: Option<LongPrompt>,
}

/// The prices of calls with a long prompt. They hold for all tokens of such a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LongPrompt {
    /// Prompts of more tokens than this, cached or not, are long.
    pub above: u64,
    /// By how much each price is multiplied.
    pub factor: u64,
}

impl Prices {
    /// Prices of input and output, and for a cache what is usual: writing costs 1.25 times the input for five minutes
    /// and twice for an hour, reading a tenth.
    pub const fn new(input: u64, output: u64) -> Self {
        Self {
            input,
            output,
            cache_write_5m: input / 4 * 5,
            cache_write_1h: input * 2,
            cache_read: input / 10,
            long_prompt: None,
        }
    }

    /// With this price of reading from a cache.
    pub const fn with_cache_read(mut self, price: u64) -> Self {
        self.cache_read = price;
        self
    }

    /// With prompts of more than `above` tokens at `factor` times the price.
    pub const fn with_long_prompt(mut self, above: u64, factor: u64) -> Self {
        self.long_prompt = Some(LongPrompt { above, factor });
        self
    }

    /// What a model call cost that used so much, rounded up to a millionth of a dollar. What providers charge for beside
    /// tokens, such as searches, is not part of it.
    pub fn cost(&self, usage: &Usage) -> MicroDollars {
        let written_1h = usage.cache_creation_1h_input_tokens.min(usage.cache_creation_input_tokens);
        let kinds = [
            (usage.input_tokens, self.input),
            (usage.output_tokens, self.output),
            (usage.cache_creation_input_tokens - written_1h, self.cache_write_5m),
            (written_1h, self.cache_write_1h),
            (usage.cache_read_input_tokens, self.cache_read),
        ];
        let factor = match self.long_prompt {
            Some(long) if usage.total_input() > long.above => long.factor,
            _ => 1,
        };
        // Each product fits in 128 bits; what does not fit in the end is the highest price that there is.
        let sum = kinds.iter().fold(0_u128, |sum, (tokens, price)| {
            sum.saturating_add(u128::from(*tokens) * u128::from(*price))
        });
        let micros = sum.saturating_mul(u128::from(factor)).div_ceil(1_000_000);
        MicroDollars::new(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> Usage {
        let mut usage = Usage::new(1000, 100);
        usage.cache_creation_input_tokens = 30;
        usage.cache_creation_1h_input_tokens = 10;
        usage.cache_read_input_tokens = 2000;
        usage
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let prices = Prices::new(4_000_000, 20_000_000).with_cache_read(200_000);
        // 1000·4 + 100·20 + 20·5 + 10·8 + 2000·0.2
        assert_eq!(prices.cost(&usage()), MicroDollars::new(4000 + 2000 + 100 + 80 + 400));
    }

    #[test]
    fn a_part_of_a_millionth_counts_as_one() {
        let prices = Prices::new(10_000, 50_000);
        assert_eq!(prices.cost(&Usage::new(1, 0)), MicroDollars::new(1));
        assert_eq!(prices.cost(&Usage::default()), MicroDollars::new(0));
        let endless = Usage::new(u64::MAX, u64::MAX);
        assert_eq!(Prices::new(u64::MAX / 2, u64::MAX).cost(&endless), MicroDollars::new(u64::MAX));
    }

    #[test]
    fn a_long_prompt_costs_more_for_all_its_tokens() {
        let prices = Prices::new(1_000_000, 5_000_000).with_long_prompt(3030, 5);
        assert_eq!(prices.cost(&usage()).as_micros(), 1000 + 500 + 25 + 20 + 200);
        let mut longer = usage();
        longer.cache_read_input_tokens += 10;
        assert_eq!(prices.cost(&longer).as_micros(), 5 * (1000 + 500 + 25 + 20 + 201));
    }
}

use serde::{Deserialize, Serialize};

/// What a model call, or a whole turn, used. Counts are the provider's own, in tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Usage {
    /// Input that was neither read from a cache nor written to one.
    pub input_tokens: u64,
    /// Output, thinking included.
    pub output_tokens: u64,
    /// Input written to the provider's cache.
    pub cache_creation_input_tokens: u64,
    /// Of these, what is kept for an hour instead of some minutes.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_creation_1h_input_tokens: u64,
    /// Input read from the provider's cache.
    pub cache_read_input_tokens: u64,
    /// Of the output, what was thinking.
    #[serde(skip_serializing_if = "is_zero")]
    pub thinking_tokens: u64,
    /// Searches of the web that the provider made.
    #[serde(skip_serializing_if = "is_zero")]
    pub web_search_requests: u64,
    /// Pages of the web that the provider fetched.
    #[serde(skip_serializing_if = "is_zero")]
    pub web_fetch_requests: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Usage {
    /// So much input and output, no cache.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, ..Self::default() }
    }

    /// All input: fresh, written to the cache, and read from it.
    pub fn total_input(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.cache_creation_input_tokens)
            .saturating_add(self.cache_read_input_tokens)
    }

    /// What was used since it was `before`.
    #[must_use]
    pub(crate) fn since(&self, before: &Self) -> Self {
        let left = |now: u64, before: u64| now.saturating_sub(before);
        Self {
            input_tokens: left(self.input_tokens, before.input_tokens),
            output_tokens: left(self.output_tokens, before.output_tokens),
            cache_creation_input_tokens: left(
                self.cache_creation_input_tokens,
                before.cache_creation_input_tokens,
            ),
            cache_creation_1h_input_tokens: left(
                self.cache_creation_1h_input_tokens,
                before.cache_creation_1h_input_tokens,
            ),
            cache_read_input_tokens: left(self.cache_read_input_tokens, before.cache_read_input_tokens),
            thinking_tokens: left(self.thinking_tokens, before.thinking_tokens),
            web_search_requests: left(self.web_search_requests, before.web_search_requests),
            web_fetch_requests: left(self.web_fetch_requests, before.web_fetch_requests),
        }
    }

    /// All input and output.
    pub fn total(&self) -> u64 {
        self.total_input().saturating_add(self.output_tokens)
    }
}

/// Adds the use of another call.
impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        let add = |sum: &mut u64, count: u64| *sum = sum.saturating_add(count);
        add(&mut self.input_tokens, other.input_tokens);
        add(&mut self.output_tokens, other.output_tokens);
        add(&mut self.cache_creation_input_tokens, other.cache_creation_input_tokens);
        add(&mut self.cache_creation_1h_input_tokens, other.cache_creation_1h_input_tokens);
        add(&mut self.cache_read_input_tokens, other.cache_read_input_tokens);
        add(&mut self.thinking_tokens, other.thinking_tokens);
        add(&mut self.web_search_requests, other.web_search_requests);
        add(&mut self.web_fetch_requests, other.web_fetch_requests);
    }
}

//! What is known of models: what they can do, how much they take, and what they cost.

mod known;
mod price;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::price::{LongPrompt, Prices};
use crate::{MicroDollars, Usage};

/// Facts about models, by name, as they were on one day. Prices change: an application that goes by them brings its own
/// where they differ.
///
/// ```
/// use agentx_core::{ModelTable, Usage};
///
/// let table = ModelTable::known();
/// let cost = table.cost("claude-haiku-4-5-20251001", &Usage::new(1_000_000, 100_000));
/// assert_eq!(cost.map(|cost| cost.to_string()).as_deref(), Some("$1.500000"));
/// assert_eq!(table.cost("a-model-of-tomorrow", &Usage::new(1, 1)), None);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ModelTable {
    /// The day of the facts, as `2026-11-22`.
    pub as_of: String,
    /// The models, by name.
    models: BTreeMap<String, ModelInfo>,
}

/// What is known of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ModelInfo {
    /// The tokens that a request and its answer may have together.
    pub context_window: u64,
    /// The most tokens of an answer.
    pub max_output: u64,
    /// What it can do.
    pub capabilities: ModelCapabilities,
    /// What it costs, where that is known.
    pub prices: Option<Prices>,
}

/// What a model can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct ModelCapabilities {
    /// It tells its answer piece by piece.
    pub streaming: bool,
    /// It calls tools.
    pub tools: bool,
    /// It looks at images.
    pub images: bool,
    /// It reads PDF files.
    pub documents: bool,
    /// It thinks before it answers.
    pub thinking: bool,
    /// How many tokens it thinks can be set. Others decide that themselves.
    pub thinking_budget: bool,
    /// How much it thinks and says can be set by an effort.
    pub effort: bool,
    /// It answers in the shape of a JSON schema.
    pub structured_output: bool,
    /// The provider keeps the beginning of a prompt, and charges less for it the next time.
    pub prompt_cache: bool,
}

impl ModelInfo {
    /// A model with this window and this limit on an answer, in tokens, of which nothing else is known.
    pub fn new(context_window: u64, max_output: u64) -> Self {
        Self { context_window, max_output, ..Self::default() }
    }

    /// With these capabilities.
    pub fn with_capabilities(mut self, capabilities: ModelCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// At these prices.
    pub fn with_prices(mut self, prices: Prices) -> Self {
        self.prices = Some(prices);
        self
    }
}

impl ModelTable {
    /// A table without models, of this day.
    pub fn empty(as_of: impl Into<String>) -> Self {
        Self { as_of: as_of.into(), models: BTreeMap::new() }
    }

    /// The same table with this model, in place of what it said of it before.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, info: ModelInfo) -> Self {
        self.models.insert(name.into(), info);
        self
    }

    /// What is known of a model: by its name, or by the name without a date at its end (`-20251001`) or a mark behind it
    /// (`[1m]`).
    pub fn get(&self, name: &str) -> Option<&ModelInfo> {
        let base = name.split_once('[').map_or(name, |(base, _)| base);
        self.models.get(name).or_else(|| self.models.get(base)).or_else(|| self.models.get(undated(base)))
    }

    /// What a model call cost that used so much, rounded up. None where the model or its price is not known.
    pub fn cost(&self, model: &str, usage: &Usage) -> Option<MicroDollars> {
        Some(self.get(model)?.prices?.cost(usage))
    }

    /// All models, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ModelInfo)> {
        self.models.iter().map(|(name, info)| (name.as_str(), info))
    }
}

/// [`ModelTable::known`].
impl Default for ModelTable {
    fn default() -> Self {
        Self::known()
    }
}

fn undated(name: &str) -> &str {
    match name.rsplit_once('-') {
        Some((base, date)) if date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()) => base,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_found_with_a_date_and_with_a_mark() {
        let table = ModelTable::known();
        let opus = table.get("claude-opus-5-5");
        assert!(opus.is_some());
        assert_eq!(table.get("claude-opus-5-5[1m]"), opus);
        assert_eq!(table.get("claude-opus-5-5-20260922"), opus);
        assert_eq!(table.get("claude-opus-5-5-latest"), None);
        assert_eq!(table.get("[1m]"), None);
    }

    #[test]
    fn an_application_has_the_last_word() {
        let mine = ModelInfo::new(1000, 100).with_prices(Prices::new(3_000_000, 4_000_000));
        let table = ModelTable::known().with("claude-opus-5-5", mine.clone());
        assert_eq!(table.get("claude-opus-5-5"), Some(&mine));
        assert_eq!(table.cost("claude-opus-5-5", &Usage::new(1, 1)), Some(MicroDollars::new(7)));
        assert_ne!(ModelTable::known().get("claude-opus-5-5"), Some(&mine));
        let json = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<ModelTable>(&json).unwrap(), table);
    }

    #[test]
    fn what_is_known_makes_sense() {
        for (name, info) in ModelTable::known().iter() {
            assert!(info.max_output < info.context_window, "{name}");
            let prices = info.prices.unwrap();
            assert!(prices.cache_read < prices.input && prices.input < prices.cache_write_5m, "{name}");
            assert!(
                prices.cache_write_5m < prices.cache_write_1h && prices.cache_write_1h < prices.output,
                "{name}"
            );
        }
    }
}

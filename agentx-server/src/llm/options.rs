//! What clients say of how a model answers, in the words of the protocol.

use agentx_core::{Effort, Error, ErrorKind, ModelInfo, ModelSettings, Result, Thinking};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

/// The key of an image's metadata, and of what is sent with a message, that says how much the model thinks.
pub(crate) const THINKING: &str = "thinking";

/// The key of an image's metadata, and of what is sent with a message, that has what is of one provider alone.
pub(crate) const PROVIDER_OPTIONS: &str = "providerOptions";

/// The fewest and the most tokens that a client may have a model think.
const BUDGET: std::ops::RangeInclusive<u32> = 1_024..=32_768;

/// How much a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Disabled,
    Low,
    Medium,
    High,
}

/// What is of one provider alone, as far as there is a setting for it. Anything else is refused by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProviderOptions {
    anthropic: Anthropic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Anthropic {
    thinking: Option<AnthropicThinking>,
    #[serde(deserialize_with = "effort")]
    effort: Option<Effort>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum AnthropicThinking {
    Disabled {},
    Adaptive {},
    Enabled {
        #[serde(deserialize_with = "budget")]
        budget_tokens: u32,
    },
}

/// How a model is to answer. What is not said is none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct AnswerOptions {
    thinking: Option<Level>,
    provider: ProviderOptions,
}

impl AnswerOptions {
    /// What was stored under these keys.
    ///
    /// # Errors
    /// `Corrupt` for what no client could have said.
    pub(super) fn of<'a>(stored: impl Fn(&str) -> Option<&'a Value>) -> Result<Self> {
        let corrupt = |error| Error::new(ErrorKind::Corrupt, "read options of a model").with_source(error);
        let thinking = stored(THINKING).map(Level::deserialize).transpose().map_err(corrupt)?;
        let provider = stored(PROVIDER_OPTIONS).map(ProviderOptions::deserialize).transpose();
        Ok(Self { thinking, provider: provider.map_err(corrupt)?.unwrap_or_default() })
    }

    /// Sets what is said for a model of which this is known.
    pub(super) fn apply(self, settings: &mut ModelSettings, model: Option<&ModelInfo>) {
        if let Some(level) = self.thinking {
            level.apply(settings, model);
        }
        let Anthropic { thinking, effort, disable_parallel_tool_use } = self.provider.anthropic;
        settings.thinking = thinking.map(AnthropicThinking::setting).or(settings.thinking);
        settings.effort = effort.or(settings.effort);
        settings.parallel_tool_calls =
            disable_parallel_tool_use.map(|is_disabled| !is_disabled).or(settings.parallel_tool_calls);
    }
}

impl Level {
    /// A model whose thinking has a budget gets one; another judges by itself, and is told how much it is to do.
    fn apply(self, settings: &mut ModelSettings, model: Option<&ModelInfo>) {
        let (effort, budget) = match self {
            Self::Disabled => {
                settings.thinking = Some(Thinking::Off);
                return;
            }
            Self::Low => (Effort::Low, 2_048),
            Self::Medium => (Effort::Medium, 8_192),
            Self::High => (Effort::High, 24_576),
        };
        if model.is_some_and(|model| model.capabilities.thinking_budget) {
            settings.thinking = Some(Thinking::Budget(budget));
        } else {
            settings.thinking = Some(Thinking::Adaptive);
            settings.effort = Some(effort);
        }
    }
}

impl AnthropicThinking {
    fn setting(self) -> Thinking {
        match self {
            Self::Disabled {} => Thinking::Off,
            Self::Adaptive {} => Thinking::Adaptive,
            Self::Enabled { budget_tokens } => Thinking::Budget(budget_tokens),
        }
    }
}

fn effort<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Effort>, D::Error> {
    let Some(name) = Option::<String>::deserialize(from)? else { return Ok(None) };
    Ok(Some(match name.as_str() {
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => return Err(D::Error::custom("effort is none of low, medium, high, xhigh and max")),
    }))
}

fn budget<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let tokens = u32::deserialize(from)?;
    if BUDGET.contains(&tokens) {
        return Ok(tokens);
    }
    let (least, most) = (BUDGET.start(), BUDGET.end());
    Err(D::Error::custom(format!("budgetTokens is {tokens}, and may be from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use agentx_core::ModelTable;
    use serde_json::json;

    use super::*;

    fn set(said: &Value, model: &str) -> ModelSettings {
        let mut settings = ModelSettings::default();
        let table = ModelTable::known();
        AnswerOptions::of(|key| said.get(key)).unwrap().apply(&mut settings, table.get(model));
        settings
    }

    #[test]
    fn a_level_is_a_budget_or_an_effort_as_the_model_has_it() {
        let low = json!({"thinking": "low"});
        let adaptive = ModelSettings::default().with_thinking(Thinking::Adaptive).with_effort(Effort::Low);
        assert_eq!(set(&low, "claude-opus-5-5"), adaptive);
        assert_eq!(set(&low, "a-model-of-tomorrow"), adaptive);
        let budget = ModelSettings::default().with_thinking(Thinking::Budget(2_048));
        assert_eq!(set(&low, "claude-haiku-4-5-20251001"), budget);
        let off = ModelSettings::default().with_thinking(Thinking::Off);
        assert_eq!(set(&json!({"thinking": "disabled"}), "claude-opus-5-5"), off);
        assert_eq!(set(&json!({}), "claude-opus-5-5"), ModelSettings::default());
    }

    #[test]
    fn what_is_of_a_provider_alone_counts_more_than_the_level() {
        let said = json!({"thinking": "low", "providerOptions": {"anthropic": {
            "thinking": {"type": "enabled", "budgetTokens": 4_096}, "effort": "max", "disableParallelToolUse": true,
        }}});
        let expected = ModelSettings::default()
            .with_thinking(Thinking::Budget(4_096))
            .with_effort(Effort::Max)
            .with_parallel_tool_calls(false);
        assert_eq!(set(&said, "claude-opus-5-5"), expected);
    }

    #[test]
    fn what_has_no_setting_is_refused_by_its_name() {
        for (said, told) in [
            (json!({"openai": {}}), "openai"),
            (json!({"anthropic": {"cacheControl": {}}}), "cacheControl"),
            (json!({"anthropic": {"effort": "heroic"}}), "effort"),
            (
                json!({"anthropic": {"thinking": {"type": "enabled", "budgetTokens": 1_000_000}}}),
                "budgetTokens",
            ),
            (json!({"anthropic": {"thinking": {"type": "enabled"}}}), "budgetTokens"),
            (json!({"anthropic": {"thinking": {"type": "adaptive", "x": 1}}}), "x"),
        ] {
            let refused = ProviderOptions::deserialize(&said).unwrap_err().to_string();
            assert!(refused.contains(told), "{said}: {refused}");
        }
    }
}

//! The request as it stands on the wire, borrowed from what it is made of.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, value::RawValue};

use crate::messages::PromptCache;

#[derive(Serialize)]
pub(super) struct Body<'a> {
    pub model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Cow<'a, str>>,
    // Tools, system and messages: the order in which the API reads its cache.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub system: Vec<Block<'a>>,
    pub messages: Vec<Message<'a>>,
    #[serde(flatten)]
    pub extra: Extra<'a>,
}

/// The fields that the body has by itself.
pub(super) const FIELDS: [&str; 11] = [
    "model",
    "max_tokens",
    "stream",
    "stop_sequences",
    "thinking",
    "output_config",
    "tool_choice",
    "container",
    "tools",
    "system",
    "messages",
];

/// Fields of the caller's own.
pub(super) struct Extra<'a>(pub Option<&'a Map<String, Value>>);

impl Serialize for Extra<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.into_iter().flatten())
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Thinking {
    Enabled {
        budget_tokens: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<&'static str>,
    },
    Adaptive {
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<&'static str>,
    },
    BetweenTools {
        #[serde(skip_serializing_if = "Option::is_none")]
        display: Option<&'static str>,
    },
    Disabled,
}

#[derive(Serialize)]
pub(super) struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<Format<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Format<'a> {
    JsonSchema { schema: &'a Value },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToolChoice<'a> {
    Auto {
        #[serde(skip_serializing_if = "Option::is_none")]
        disable_parallel_tool_use: Option<bool>,
    },
    Any {
        #[serde(skip_serializing_if = "Option::is_none")]
        disable_parallel_tool_use: Option<bool>,
    },
    Tool {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        disable_parallel_tool_use: Option<bool>,
    },
    None,
}

/// A tool of the host, or one of the provider, which goes as it was given.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Tool<'a> {
    Host(HostTool<'a>),
    Server(&'a Value),
}

#[derive(Serialize)]
pub(super) struct HostTool<'a> {
    pub name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub description: &'a str,
    pub input_schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_control: Option<CacheControl>,
    #[serde(flatten)]
    pub options: Extra<'a>,
}

/// The fields that a tool of the host has by itself.
pub(super) const TOOL_FIELDS: [&str; 4] = ["name", "description", "input_schema", "cache_control"];

#[derive(Serialize)]
pub(super) struct Message<'a> {
    pub role: Role,
    pub content: Vec<Block<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    User,
    Assistant,
}

/// A block: what it says, and whether the cache is to end behind it. `Raw` comes from the API itself and goes back as
/// it is.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Block<'a> {
    Typed(Typed<'a>),
    Raw(&'a RawValue),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Typed<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        citations: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Image {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: &'a Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        caller: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    ToolResult {
        tool_use_id: &'a str,
        #[serde(skip_serializing_if = "Answer::is_empty")]
        content: Answer<'a>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
}

/// What a tool answered.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Answer<'a> {
    Text(Cow<'a, str>),
    Blocks(Vec<Block<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Text { media_type: &'static str, data: String },
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum CacheControl {
    Ephemeral {
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<&'static str>,
    },
}

impl CacheControl {
    pub(super) fn of(cache: PromptCache) -> Option<Self> {
        match cache {
            PromptCache::Off => None,
            PromptCache::FiveMinutes => Some(Self::Ephemeral { ttl: None }),
            PromptCache::OneHour => Some(Self::Ephemeral { ttl: Some("1h") }),
        }
    }
}

impl<'a> Block<'a> {
    pub(super) fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Typed(Typed::Text { text: text.into(), citations: None, cache_control: None })
    }

    /// Where the block says whether the cache ends behind it; thinking and raw blocks can't.
    pub(super) fn cache_control(&mut self) -> Option<&mut Option<CacheControl>> {
        match self {
            Self::Typed(
                Typed::Text { cache_control, .. }
                | Typed::Image { cache_control, .. }
                | Typed::Document { cache_control, .. }
                | Typed::ToolUse { cache_control, .. }
                | Typed::ToolResult { cache_control, .. },
            ) => Some(cache_control),
            Self::Typed(Typed::Thinking { .. }) | Self::Raw(_) => None,
        }
    }
}

impl Answer<'_> {
    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.trim().is_empty(),
            Self::Blocks(blocks) => blocks.is_empty(),
        }
    }
}

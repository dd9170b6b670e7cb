use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

/// Settings of a model call. What is not set is the model client's own default.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ModelSettings {
    /// The model's name.
    pub model: Option<String>,
    /// The most tokens that it may answer with.
    pub max_tokens: Option<u32>,
    /// Whether and how long it thinks before it speaks.
    pub thinking: Option<Thinking>,
    /// Whether its thinking is shown.
    pub thinking_display: Option<ThinkingDisplay>,
    /// How much it does for an answer.
    pub effort: Option<Effort>,
    /// Texts at which it stops.
    pub stop_sequences: Vec<String>,
    /// Which tools it may or must call.
    pub tool_choice: Option<ToolChoice>,
    /// Whether it may call several tools in one answer.
    pub parallel_tool_calls: Option<bool>,
    /// A JSON schema that the text of its answer must follow.
    pub output_schema: Option<Arc<Value>>,
    /// Tools that the provider itself runs, such as a web search, each as its API writes them.
    pub server_tools: Arc<[Value]>,
}

/// How a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Thinking {
    /// Not at all.
    Off,
    /// As much as the question needs, in the model's own judgement.
    Adaptive,
    /// Only between one tool call and the next.
    BetweenTools,
    /// Up to so many tokens.
    Budget(u32),
}

/// How a model's thinking is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ThinkingDisplay {
    /// As a summary.
    Summarized,
    /// Not at all: it is signed, and empty.
    Omitted,
}

/// How much a model does for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effort {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Much.
    High,
    /// More than much.
    XHigh,
    /// All that it can.
    Max,
}

/// Which tools a model may or must call.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolChoice {
    /// It decides.
    Auto,
    /// It must call one, whichever; in a [`ToolLoop`](crate::ToolLoop) this is asked of the first answer alone.
    Any,
    /// It must call this one; in a [`ToolLoop`](crate::ToolLoop) this is asked of the first answer alone.
    Tool(String),
    /// It may call none.
    None,
}

impl ToolChoice {
    /// Whether it leaves the model no choice but to call a tool.
    pub fn is_forced(&self) -> bool {
        matches!(self, Self::Any | Self::Tool(_))
    }
}

impl ModelSettings {
    /// With this model.
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// With this limit on the answer.
    pub fn with_max_tokens(mut self, max_tokens: u32) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// With this kind of thinking.
    pub fn with_thinking(mut self, thinking: Thinking) -> Self {
        self.thinking = Some(thinking);
        self
    }

    /// With thinking that is shown like this.
    pub fn with_thinking_display(mut self, display: ThinkingDisplay) -> Self {
        self.thinking_display = Some(display);
        self
    }

    /// With this effort.
    pub fn with_effort(mut self, effort: Effort) -> Self {
        self.effort = Some(effort);
        self
    }

    /// Stopping at these texts.
    pub fn with_stop_sequences(mut self, sequences: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.stop_sequences = sequences.into_iter().map(Into::into).collect();
        self
    }

    /// With this choice of tools.
    pub fn with_tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = Some(choice);
        self
    }

    /// With or without several tool calls in one answer.
    pub fn with_parallel_tool_calls(mut self, allowed: bool) -> Self {
        self.parallel_tool_calls = Some(allowed);
        self
    }

    /// With text that follows this JSON schema.
    pub fn with_output_schema(mut self, schema: Value) -> Self {
        self.output_schema = Some(Arc::new(schema));
        self
    }

    /// With these tools that the provider itself runs.
    pub fn with_server_tools(mut self, tools: impl IntoIterator<Item = Value>) -> Self {
        self.server_tools = tools.into_iter().collect();
        self
    }
}

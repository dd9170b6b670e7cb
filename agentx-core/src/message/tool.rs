use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ContentPart, json_size};

/// How deep JSON from a model or a tool may be nested. It is stored inside of a message, and parsers of JSON read 127
/// levels: what is deeper would make a session that can't be read again.
const MAX_DEPTH: usize = 100;

/// A model's request to run a tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolCall {
    /// The call's id, by which its result refers to it.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The tool's input; an object.
    pub input: Value,
    /// What the model sent, where it was no JSON object, or one nested more than 100 deep. Such a call is never run, and
    /// `input` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub malformed: Option<String>,
}

impl ToolCall {
    /// A call.
    pub fn new(id: impl Into<String>, name: impl Into<String>, input: Value) -> Self {
        Self { id: id.into(), name: name.into(), input, malformed: None }
    }

    /// A call from the JSON text that a model sent. No text at all means an empty object.
    pub fn from_json(id: impl Into<String>, name: impl Into<String>, json: &str) -> Self {
        let empty = || Value::Object(serde_json::Map::new());
        let (input, malformed) = match serde_json::from_str(json) {
            _ if json.trim().is_empty() => (empty(), None),
            Ok(input) if Self::is_input(&input) => (input, None),
            Ok(_) | Err(_) => (empty(), Some(json.to_owned())),
        };
        Self { id: id.into(), name: name.into(), input, malformed }
    }

    /// Whether this can be a call's input: an object that can be stored.
    pub(crate) fn is_input(value: &Value) -> bool {
        value.is_object() && !is_deeper(value, MAX_DEPTH)
    }
}

/// The answer to one tool call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ToolResult {
    /// The call that this answers.
    pub tool_call_id: String,
    /// The tool's name.
    pub tool_name: String,
    /// What it answers.
    pub output: ToolOutput,
    /// The input with which the call ran, where it was another than the model's: a permission, a hook or whoever
    /// approved the call put it in place. The model is told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
}

impl ToolResult {
    /// An answer.
    pub fn new(tool_call_id: impl Into<String>, tool_name: impl Into<String>, output: ToolOutput) -> Self {
        Self { tool_call_id: tool_call_id.into(), tool_name: tool_name.into(), output, input: None }
    }
}

/// What a tool answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ToolOutput {
    /// Text.
    Text(String),
    /// Data.
    Json(Value),
    /// A failure, told in text.
    ErrorText(String),
    /// A failure, told as data.
    ErrorJson(Value),
    /// The call was not allowed to run; the reason is for the model.
    ExecutionDenied(String),
    /// Text, images and files.
    Content(Vec<ContentPart>),
    /// An output that this version does not know, kept as it is.
    #[serde(untagged)]
    Other(Value),
}

impl ToolOutput {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A failure, told in text.
    pub fn error(text: impl Into<String>) -> Self {
        Self::ErrorText(text.into())
    }

    /// Whether the call failed or was denied.
    pub fn is_error(&self) -> bool {
        matches!(self, Self::ErrorText(_) | Self::ErrorJson(_) | Self::ExecutionDenied(_))
    }

    /// The output, if it holds no more than `limit` bytes: longer text keeps its beginning and says what is missing,
    /// longer data is an error, and so is data that is nested too deep to be stored.
    pub(crate) fn bounded(self, limit: usize) -> Self {
        match self {
            Self::Json(data) | Self::ErrorJson(data) | Self::Other(data) if is_deeper(&data, MAX_DEPTH) => {
                Self::ErrorText(format!("The tool's output is nested more than {MAX_DEPTH} deep."))
            }
            Self::Text(text) => Self::Text(cut(text, limit)),
            Self::ErrorText(text) => Self::ErrorText(cut(text, limit)),
            Self::ExecutionDenied(text) => Self::ExecutionDenied(cut(text, limit)),
            Self::Json(_) | Self::ErrorJson(_) | Self::Content(_) | Self::Other(_) => match self.size() {
                size if size > limit => {
                    Self::ErrorText(format!("The tool's output has {size} bytes, and {limit} are allowed."))
                }
                _ => self,
            },
        }
    }

    /// The bytes of its content.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::ErrorText(text) | Self::ExecutionDenied(text) => text.len(),
            Self::Json(value) | Self::ErrorJson(value) | Self::Other(value) => json_size(value),
            Self::Content(parts) => parts.iter().map(ContentPart::size).sum(),
        }
    }

    /// The output as text: JSON in its short form, images and files by their type.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) | Self::ErrorText(text) | Self::ExecutionDenied(text) => text.clone(),
            Self::Json(value) | Self::ErrorJson(value) | Self::Other(value) => value.to_string(),
            Self::Content(parts) => parts
                .iter()
                .map(|part| match part {
                    ContentPart::Text { text } => text.clone(),
                    ContentPart::Image { media_type, .. } | ContentPart::File { media_type, .. } => {
                        format!("[{media_type}]")
                    }
                    ContentPart::Other(value) => value.to_string(),
                })
                .collect(),
        }
    }
}

fn is_deeper(value: &Value, limit: usize) -> bool {
    match value {
        Value::Array(items) => {
            limit == 0 || items.iter().any(|item| is_deeper(item, limit.saturating_sub(1)))
        }
        Value::Object(fields) => {
            limit == 0 || fields.values().any(|field| is_deeper(field, limit.saturating_sub(1)))
        }
        _ => false,
    }
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let end = text.floor_char_boundary(limit);
        let missing = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("\n[{missing} more bytes are left out]"));
    }
    text
}

impl From<String> for ToolOutput {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for ToolOutput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Value> for ToolOutput {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_bounded() {
        assert_eq!(ToolOutput::text("äbc").bounded(1), ToolOutput::text("\n[4 more bytes are left out]"));
        assert_eq!(ToolOutput::text("abc").bounded(3), ToolOutput::text("abc"));
        assert!(ToolOutput::Json(serde_json::json!(["abcdef"])).bounded(5).is_error());
    }

    #[test]
    fn what_is_nested_too_deep_to_be_stored_is_refused() {
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert_eq!(ToolCall::from_json("1", "t", &nested(MAX_DEPTH)).malformed, None);
        for depth in [MAX_DEPTH + 1, 127, 10_000] {
            assert_eq!(ToolCall::from_json("1", "t", &nested(depth)).malformed, Some(nested(depth)));
        }
        let output =
            |depth: usize| ToolOutput::Json((0..depth).fold(Value::Null, |value, _| vec![value].into()));
        assert!(!output(MAX_DEPTH).bounded(1000).is_error());
        assert!(output(MAX_DEPTH + 1).bounded(1000).is_error());
    }

    #[test]
    fn input_that_is_no_object_is_malformed() {
        assert_eq!(ToolCall::from_json("1", "t", " ").malformed, None);
        assert_eq!(ToolCall::from_json("1", "t", r#"{"a":1}"#).input["a"], 1);
        for json in [r#"{"a":"#, "[1]", "\"x\"", "null"] {
            let call = ToolCall::from_json("1", "t", json);
            assert_eq!(call.malformed.as_deref(), Some(json));
            assert_eq!(call.input, serde_json::json!({}));
        }
    }
}

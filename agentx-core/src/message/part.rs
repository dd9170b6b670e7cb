use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ToolCall, json_size};

/// A part of what a user says or a tool answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum ContentPart {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// The image's bytes in base64.
        data: String,
        /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
        media_type: String,
    },
    /// Another file, such as a PDF.
    File {
        /// The file's bytes in base64.
        data: String,
        /// Its media type.
        media_type: String,
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
    },
    /// A part that this version does not know, kept as it is.
    #[serde(untagged)]
    Other(Value),
}

impl ContentPart {
    /// A text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// The text, where it is a text part.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text { text } => Some(text),
            _ => None,
        }
    }

    /// The bytes of its content.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text { text } => text.len(),
            Self::Image { data, .. } | Self::File { data, .. } => data.len(),
            Self::Other(value) => json_size(value),
        }
    }
}

/// A part of what a model says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
#[non_exhaustive]
pub enum AssistantPart {
    /// Text for the user.
    Text {
        /// The text.
        text: String,
    },
    /// The model's thinking.
    Thinking {
        /// The thinking, or a summary of it.
        reasoning: String,
        /// The provider's signature over it. A signed thinking is sent back unchanged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// A call of a tool.
    ToolCall(ToolCall),
    /// A block that only its provider understands (a server tool, a citation list, redacted thinking), kept to the
    /// byte, so that it can be sent back.
    Opaque {
        /// Whose block it is, such as `anthropic`.
        provider: String,
        /// The block's own JSON text.
        json: String,
    },
    /// A part that this version does not know, kept as it is.
    #[serde(untagged)]
    Other(Value),
}

impl AssistantPart {
    /// A text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// The bytes of its content.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Text { text } => text.len(),
            Self::Thinking { reasoning, signature } => {
                reasoning.len() + signature.as_ref().map_or(0, String::len)
            }
            Self::ToolCall(call) => json_size(&call.input) + call.malformed.as_ref().map_or(0, String::len),
            Self::Opaque { json, .. } => json.len(),
            Self::Other(value) => json_size(value),
        }
    }
}

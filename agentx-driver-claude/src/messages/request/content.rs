use std::borrow::Cow;

use agentx_core::{ContentPart, ToolOutput, ToolResult};
use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    Refused,
    wire::{Answer, Block, Source, Typed},
};

/// A part as a block; none where there is nothing to say, since the API refuses blank text.
pub(super) fn block<'a>(part: &'a ContentPart, refused: &Refused) -> Option<Block<'a>> {
    match part {
        ContentPart::Text { text } => (!text.trim().is_empty()).then(|| Block::text(text.as_str())),
        ContentPart::Image { data, media_type } => Some(file(media_type, data, None, refused)),
        ContentPart::File { data, media_type, filename } => {
            Some(file(media_type, data, filename.as_deref(), refused))
        }
        ContentPart::Other(value) => Some(Block::text(value.to_string())),
        // A part of a later version of the domain.
        _ => None,
    }
}

/// What a failure without a message says: the API refuses an error without content.
const NO_MESSAGE: &str = "The tool failed without a word.";

pub(super) fn tool_result<'a>(result: &'a ToolResult, refused: &Refused) -> Block<'a> {
    let content = match &result.output {
        ToolOutput::Content(parts) => {
            Answer::Blocks(parts.iter().filter_map(|part| block(part, refused)).collect())
        }
        ToolOutput::ErrorText(text) | ToolOutput::ExecutionDenied(text) if text.trim().is_empty() => {
            Answer::Text(Cow::Borrowed(NO_MESSAGE))
        }
        ToolOutput::Text(text) | ToolOutput::ErrorText(text) | ToolOutput::ExecutionDenied(text) => {
            Answer::Text(Cow::Borrowed(text))
        }
        other => Answer::Text(Cow::Owned(other.to_text())),
    };
    Block::Typed(Typed::ToolResult {
        tool_use_id: &result.tool_call_id,
        content,
        is_error: result.output.is_error(),
        cache_control: None,
    })
}

fn image<'a>(media_type: &'a str, data: &'a str) -> Block<'a> {
    Block::Typed(Typed::Image { source: Source::Base64 { media_type, data }, cache_control: None })
}

/// Images, PDFs and text are what the API reads. Of anything else the model is told that it is there: a refusal would
/// stand in the history and end every later turn.
fn file<'a>(media_type: &'a str, data: &'a str, filename: Option<&'a str>, refused: &Refused) -> Block<'a> {
    if let Some(note) = refused.note(media_type, data) {
        return Block::text(note);
    }
    let document = |source| Block::Typed(Typed::Document { source, title: filename, cache_control: None });
    if matches!(media_type, "image/png" | "image/jpeg" | "image/gif" | "image/webp") {
        return image(media_type, data);
    }
    if media_type == "application/pdf" {
        return document(Source::Base64 { media_type, data });
    }
    match text(media_type, data) {
        Some(data) => document(Source::Text { media_type: "text/plain", data }),
        None => Block::text(format!("[file {}: {media_type}]", filename.unwrap_or("without a name"))),
    }
}

fn text(media_type: &str, data: &str) -> Option<String> {
    let is_text =
        media_type.starts_with("text/") || matches!(media_type, "application/json" | "application/xml");
    let text = String::from_utf8(BASE64_STANDARD.decode(data).ok().filter(|_| is_text)?).ok()?;
    (!text.trim().is_empty()).then_some(text)
}

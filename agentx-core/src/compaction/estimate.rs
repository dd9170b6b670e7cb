//! How many tokens something has, before any model has counted it.

use crate::{AssistantPart, ContentPart, MessageBody, ToolOutput};

/// Bytes of text for one token: fewer than models need, so that an estimate is rather too high.
const BYTES_PER_TOKEN: u64 = 3;
/// What an image has, at most and as a rule.
const IMAGE: u64 = 1600;
/// Bytes of a file in base64 for one token.
const FILE_BYTES_PER_TOKEN: u64 = 8;
/// What surrounds a message.
const MESSAGE: u64 = 8;

/// The tokens of so many bytes of text.
pub(crate) fn tokens_of_text(bytes: usize) -> u64 {
    (bytes as u64).div_ceil(BYTES_PER_TOKEN)
}

/// The tokens of messages.
pub(crate) fn tokens_of(messages: &[MessageBody]) -> u64 {
    messages.iter().map(of_message).sum()
}

fn of_message(message: &MessageBody) -> u64 {
    let content = match message {
        MessageBody::User { content } | MessageBody::Summary { content, .. } => {
            content.iter().map(of_part).sum()
        }
        MessageBody::Assistant(message) => message.content.iter().map(of_assistant).sum(),
        MessageBody::Tool(result) => of_output(&result.output),
        _ => 0,
    };
    MESSAGE + content
}

fn of_assistant(part: &AssistantPart) -> u64 {
    tokens_of_text(part.size())
}

/// The tokens of a tool's output.
pub(super) fn of_output(output: &ToolOutput) -> u64 {
    match output {
        ToolOutput::Content(parts) => parts.iter().map(of_part).sum(),
        other => tokens_of_text(other.size()),
    }
}

fn of_part(part: &ContentPart) -> u64 {
    match part {
        ContentPart::Image { .. } => IMAGE,
        ContentPart::File { data, .. } => (data.len() as u64).div_ceil(FILE_BYTES_PER_TOKEN),
        other => tokens_of_text(other.size()),
    }
}

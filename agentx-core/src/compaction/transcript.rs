//! A conversation as text, within bounds.

use std::fmt::Write;

use crate::{AssistantPart, ContentPart, MessageBody};

/// Writes messages down, each with at most `each` bytes of content and all with about `total`. Where that is too little
/// the middle is left out.
pub(super) fn transcript(messages: &[MessageBody], each: usize, total: usize) -> String {
    let written: Vec<_> = messages.iter().map(|message| write(message, each)).collect();
    let whole: usize = written.iter().map(String::len).sum();
    if whole <= total {
        return written.concat();
    }
    // What came first says what it is about, and what came last where it stands.
    let head = fitting(written.iter(), total / 4);
    let tail = fitting(written.iter().skip(head).rev(), total - total / 4);
    let left_out = written.len() - head - tail;
    let mut text = written.iter().take(head).map(String::as_str).collect::<String>();
    let _ = writeln!(text, "[{left_out} messages are left out here]\n");
    text.extend(written.iter().skip(head + left_out).map(String::as_str));
    text
}

/// How many of these fit.
fn fitting<'a>(written: impl Iterator<Item = &'a String>, total: usize) -> usize {
    let mut left = total;
    written
        .take_while(|text| match left.checked_sub(text.len()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        })
        .count()
}

fn write(message: &MessageBody, each: usize) -> String {
    match message {
        MessageBody::User { content } | MessageBody::Summary { content, .. } => {
            format!("User:\n{}\n\n", cut(&parts(content), each))
        }
        MessageBody::Assistant(message) => {
            let mut text = "Assistant:\n".to_owned();
            for part in &message.content {
                match part {
                    AssistantPart::Text { text: said } => text.push_str(&cut(said, each)),
                    AssistantPart::ToolCall(call) => {
                        let _ = write!(text, "[calls {}: {}]", call.name, cut(&call.input.to_string(), each));
                    }
                    AssistantPart::Thinking { .. } => continue,
                    AssistantPart::Opaque { json, .. } => text.push_str(&cut(json, each.min(500))),
                    AssistantPart::Other(value) => text.push_str(&cut(&value.to_string(), each.min(500))),
                }
                text.push('\n');
            }
            text.push('\n');
            text
        }
        MessageBody::Tool(result) => {
            let failed = if result.output.is_error() { " failed" } else { "" };
            format!("Tool {}{failed}:\n{}\n\n", result.tool_name, cut(&result.output.to_text(), each))
        }
        _ => String::new(),
    }
}

fn parts(content: &[ContentPart]) -> String {
    content
        .iter()
        .map(|part| match part {
            ContentPart::Text { text } => text.clone(),
            ContentPart::Image { media_type, .. } | ContentPart::File { media_type, .. } => {
                format!("[{media_type}]")
            }
            ContentPart::Other(value) => value.to_string(),
        })
        .collect()
}

/// The text, or its beginning and its end.
pub(super) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(limit / 2);
    let tail = text.ceil_char_boundary(text.len() - limit / 2);
    let (before, after) = (text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default());
    format!("{before}\n[{} bytes are left out]\n{after}", tail - head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_left_out_and_both_ends_stay() {
        let messages: Vec<_> = (0..100).map(|n| MessageBody::user(format!("message {n:03}"))).collect();
        let whole = transcript(&messages, 100, 1 << 20);
        assert_eq!(whole.matches("User:").count(), 100);
        let text = transcript(&messages, 100, 400);
        assert!(text.contains("message 000") && text.contains("message 099"), "{text}");
        assert!(text.contains("messages are left out here") && text.len() < 500, "{text}");
        assert!(transcript(&messages, 100, 0).contains("[100 messages"));
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(cut("äöü", 6), "äöü");
        assert_eq!(cut("ääää", 6), "ä\n[4 bytes are left out]\nä");
    }
}

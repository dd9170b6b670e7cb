use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::wire::{Answer, Block, Body, Source, Typed};
use crate::messages::error::ApiFailure;

/// Images and documents that the API refused, each with the reason. They stand in a history for ever, and each later
/// request would be refused for them; the model is told of them in words instead.
#[derive(Clone, Debug, Default)]
pub(in crate::messages) struct Refused(HashMap<u64, String>);

/// The most that are remembered. Whatever is forgotten is learnt again, by one more refusal.
const REMEMBERED: usize = 1024;

/// The longest reason that a model is told, in bytes.
const REASON: usize = 200;

impl Refused {
    /// What the model reads instead of the data, where that was refused.
    pub(super) fn note(&self, media_type: &str, data: &str) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let reason = self.0.get(&fingerprint(media_type, data))?;
        Some(format!("[{media_type} left out, the API refused it: {reason}]"))
    }

    /// Notes what the failure is about, as far as it is about images or documents of this body, and returns what each
    /// is, with the reason.
    pub(super) fn learn(&mut self, failed: &ApiFailure, body: &Body<'_>) -> Vec<(String, String)> {
        let reason = reason(&failed.message);
        let mut learnt = Vec::new();
        for (media_type, data) in blamed(&failed.message, body) {
            if self.0.len() >= REMEMBERED {
                self.0.clear();
            }
            if self.0.insert(fingerprint(media_type, data), reason.clone()).is_none() {
                learnt.push((media_type.to_owned(), reason.clone()));
            }
        }
        learnt
    }
}

/// The data is not kept, and nobody gains by making two images look alike here.
fn fingerprint(media_type: &str, data: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (media_type, data).hash(&mut hasher);
    hasher.finish()
}

/// The images and documents that a refusal is about: those at the place that it names; where it names none, those that
/// are new in this request, or else all.
fn blamed<'b>(message: &str, body: &'b Body<'_>) -> Vec<(&'b str, &'b str)> {
    let words = message.to_ascii_lowercase();
    if !["image", "pdf", "document"].iter().any(|word| words.contains(word)) {
        return Vec::new();
    }
    if let Some(place) = Place::find(message) {
        let block = body.messages.get(place.message).and_then(|message| message.content.get(place.block));
        let mut found = Vec::new();
        match (block, place.part) {
            (Some(Block::Typed(Typed::ToolResult { content: Answer::Blocks(parts), .. })), Some(part)) => {
                if let Some(part) = parts.get(part) {
                    media(part, &mut found);
                }
            }
            (Some(block), _) => media(block, &mut found),
            (None, _) => {}
        }
        return found;
    }
    let (mut new, mut all) = (Vec::new(), Vec::new());
    for (index, message) in body.messages.iter().enumerate() {
        for block in &message.content {
            media(block, &mut all);
            if index + 1 == body.messages.len() {
                media(block, &mut new);
            }
        }
    }
    if new.is_empty() { all } else { new }
}

/// The images and documents in a block.
fn media<'b>(block: &'b Block<'_>, found: &mut Vec<(&'b str, &'b str)>) {
    match block {
        Block::Typed(
            Typed::Image { source: Source::Base64 { media_type, data }, .. }
            | Typed::Document { source: Source::Base64 { media_type, data }, .. },
        ) => found.push((media_type, data)),
        Block::Typed(Typed::ToolResult { content: Answer::Blocks(parts), .. }) => {
            for part in parts {
                media(part, found);
            }
        }
        _ => {}
    }
}

/// A place in a request, as in `messages.2.content.0.tool_result.content.1.image.source: …`.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    message: usize,
    block: usize,
    part: Option<usize>,
}

impl Place {
    fn find(message: &str) -> Option<Self> {
        let path = message.get(message.find("messages.")?..)?;
        let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_');
        let words: Vec<_> = path.get(..end.unwrap_or(path.len()))?.split('.').collect();
        let after = |name: &str, nth: usize| {
            let mut places = words.iter().enumerate().filter(|(_, word)| **word == name);
            let (at, _) = places.nth(nth)?;
            words.get(at + 1)?.parse().ok()
        };
        Some(Self { message: after("messages", 0)?, block: after("content", 0)?, part: after("content", 1) })
    }
}

/// The reason without the place, which moves with the history.
fn reason(message: &str) -> String {
    let text = match message.split_once(": ") {
        Some((place, text)) if Place::find(place).is_some() => text,
        _ => message,
    };
    text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= REASON).map(|(_, c)| c).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_place() {
        let place = |message, block, part| Some(Place { message, block, part });
        for (message, expected) in [
            ("messages.0.content.1.image.source.base64.data: too large", place(0, 1, None)),
            ("messages.12.content.0.tool_result.content.3.image.source: bad", place(12, 0, Some(3))),
            ("Error in messages.2.content.4: Could not process image", place(2, 4, None)),
            ("messages.0: all messages must have content", None),
            ("messages.x.content.1.image", None),
            ("Could not process image", None),
        ] {
            assert_eq!(Place::find(message), expected, "{message}");
        }
    }

    #[test]
    fn the_reason_has_no_place_and_an_end() {
        assert_eq!(reason("messages.0.content.1.image.source: it is: odd"), "it is: odd");
        assert_eq!(reason("Could not: process"), "Could not: process");
        assert!(reason(&"ä".repeat(999)).len() <= REASON);
    }
}

//! What a server answers to a call, for a model.

use agentx_core::{ContentPart, ToolOutput};
use base64::{Engine, engine::general_purpose::STANDARD};
use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

use super::{failure::cut, live::Place};
use crate::tools::{Content, Long, MAX_RESULT_CHARS, sniff};

/// The most that the images of one answer may have, in bytes of base64: what model APIs take of one image.
const MAX_IMAGES: usize = 5 << 20;
/// How much of an image's base64 says what it is; a multiple of four.
const SNIFFED: usize = 64;

/// Makes an output of a result: its texts, its images as far as a model can see them, and a note for all else. What is
/// too long is put away where the sandbox has a place for it.
pub(super) async fn output(result: CallToolResult, place: &Place, call_id: &str) -> ToolOutput {
    let mut parts = Parts::default();
    for block in result.content {
        parts.push(block);
    }
    if let (Some(structured), true) = (&result.structured_content, parts.is_without_text()) {
        parts.text(structured.to_string());
    }
    let mut parts = parts.0;
    for part in &mut parts {
        if let ContentPart::Text { text } = part {
            *text = place.redact(std::mem::take(text));
        }
    }
    if result.is_error == Some(true) {
        let text = shorten(join(&parts), place, call_id).await;
        return ToolOutput::ErrorText(if text.is_empty() { "The tool failed.".to_owned() } else { text });
    }
    let texts = parts.iter().filter_map(ContentPart::as_text);
    if parts.iter().all(|part| part.as_text().is_some()) {
        let text = shorten(join(&parts), place, call_id).await;
        return ToolOutput::Text(if text.is_empty() { "(no output)".to_owned() } else { text });
    }
    // Texts that are too long together are put away together, with the images behind them.
    if texts.map(str::len).sum::<usize>() > MAX_RESULT_CHARS {
        let text = parts.iter().filter_map(ContentPart::as_text).collect::<Vec<_>>().join("\n");
        let text = ContentPart::text(shorten(text, place, call_id).await);
        parts.retain(|part| part.as_text().is_none());
        parts.insert(0, text);
    }
    ToolOutput::Content(parts)
}

async fn shorten(text: String, place: &Place, call_id: &str) -> String {
    let long = Long {
        text,
        dropped: 0,
        name: &format!("mcp-{call_id}"),
        otherwise: "ask for less of it to see them",
    };
    long.shorten(place.offload()).await
}

fn join(parts: &[ContentPart]) -> String {
    let texts = parts.iter().map(|part| match part {
        ContentPart::Text { text } => text.clone(),
        ContentPart::Image { media_type, .. } => format!("[{media_type}]"),
        // Nothing else is made here.
        _ => String::new(),
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[derive(Default)]
struct Parts(Vec<ContentPart>);

impl Parts {
    fn text(&mut self, text: String) {
        self.0.push(ContentPart::text(text));
    }

    /// Whether nothing says in words what the structured content says as data.
    fn is_without_text(&self) -> bool {
        self.0.iter().all(|part| part.as_text().is_none())
    }

    fn push(&mut self, block: ContentBlock) {
        match block {
            ContentBlock::Text(text) => self.text(text.text),
            ContentBlock::Image(image) => self.data("image", &image.mime_type, image.data),
            ContentBlock::Audio(audio) => self.data("audio", &audio.mime_type, audio.data),
            ContentBlock::ResourceLink(link) => {
                let about = [Some(link.name), link.mime_type, link.description];
                let about: Vec<_> = about.into_iter().flatten().map(|text| cut(&text)).collect();
                self.text(format!("[a resource of the server: {} ({})]", cut(&link.uri), about.join("; ")));
            }
            ContentBlock::Resource(resource) => match resource.resource {
                ResourceContents::TextResourceContents { uri, text, .. } => {
                    self.text(format!("[{}]\n{text}", cut(&uri)));
                }
                ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                    self.data(&cut(&uri), mime_type.as_deref().unwrap_or("of no stated type"), blob);
                }
                _ => self.text("[a resource of a kind that is not known here]".to_owned()),
            },
            _ => self.text("[content of a kind that is not known here]".to_owned()),
        }
    }

    /// An image where it is one that a model can see; its own bytes say what it is, not the server.
    fn data(&mut self, what: &str, stated: &str, data: String) {
        let images = self.0.iter().map(|part| match part {
            ContentPart::Image { data, .. } => data.len(),
            _ => 0,
        });
        let room = MAX_IMAGES.saturating_sub(images.sum());
        let start = STANDARD.decode(data.get(..data.len().min(SNIFFED)).unwrap_or_default());
        match start.map(|start| sniff(&start)) {
            Ok(Content::Image(media_type)) if data.len() <= room && is_base64(&data) => {
                self.0.push(ContentPart::Image { data, media_type: media_type.to_owned() });
            }
            _ => self.text(format!("[{what}: {}, {} bytes of base64, not shown]", cut(stated), data.len())),
        }
    }
}

fn is_base64(data: &str) -> bool {
    STANDARD.decode(data).is_ok()
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use serde_json::{Value, json};

    use super::*;

    const PIXEL: &str =
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

    fn told(result: Value) -> ToolOutput {
        let result = serde_json::from_value(result).unwrap();
        block_on(output(result, &Place::default(), "1"))
    }

    #[test]
    fn text_is_text_and_an_error_is_an_error() {
        let content = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(told(json!({"content": content})), ToolOutput::text("a\nb"));
        assert_eq!(told(json!({"content": content, "isError": true})), ToolOutput::error("a\nb"));
        assert_eq!(told(json!({"content": []})), ToolOutput::text("(no output)"));
        assert_eq!(told(json!({"content": [], "isError": true})), ToolOutput::error("The tool failed."));
    }

    #[test]
    fn data_is_told_where_no_text_tells_it() {
        let data = json!({"a": [1]});
        assert_eq!(told(json!({"structuredContent": data})), ToolOutput::text(r#"{"a":[1]}"#));
        let both = json!({"content": [{"type": "text", "text": "one"}], "structuredContent": data});
        assert_eq!(told(both), ToolOutput::text("one"));
    }

    #[test]
    fn images_are_what_their_bytes_say() {
        let image = |mime: &str, data: &str| json!({"type": "image", "mimeType": mime, "data": data});
        let blob = json!({"type": "resource", "resource": {"uri": "x://y", "blob": PIXEL}});
        let ToolOutput::Content(parts) = told(json!({"content": [image("image/webp", PIXEL), blob]})) else {
            panic!("no images")
        };
        for part in parts {
            assert_eq!(
                part,
                ContentPart::Image { data: PIXEL.to_owned(), media_type: "image/png".to_owned() }
            );
        }
        for (data, mime) in
            [("AAAA", "image/png"), ("%%%", "image/png"), (&format!("{PIXEL}%"), "image/<png>")]
        {
            let text = told(json!({"content": [image(mime, data)]}));
            let expected = format!("[image: {mime}, {} bytes of base64, not shown]", data.len());
            assert_eq!(text, ToolOutput::text(expected));
        }
    }

    #[test]
    fn images_beyond_the_bound_are_noted() {
        // A PNG's beginning, and then much more.
        let large = format!("{}{}", &PIXEL[..64], "A".repeat(MAX_IMAGES / 2));
        let image = json!({"type": "image", "mimeType": "image/png", "data": large});
        let ToolOutput::Content(parts) =
            told(json!({"content": [image, image, {"type": "text", "text": "x"}]}))
        else {
            panic!("no image")
        };
        assert!(matches!(parts[0], ContentPart::Image { .. }));
        assert!(parts[1].as_text().unwrap().contains("not shown"));
        assert_eq!(parts.len(), 3);
    }

    #[test]
    fn links_sounds_and_resources_are_told_in_words() {
        let content = json!([
            {"type": "resource_link", "uri": "file:///a.txt", "name": "a", "mimeType": "text/plain"},
            {"type": "resource", "resource": {"uri": "file:///b.txt", "text": "inside"}},
            {"type": "audio", "mimeType": "audio/wav", "data": "AAAA"},
        ]);
        let expected = "[a resource of the server: file:///a.txt (a; text/plain)]\n[file:///b.txt]\ninside\n\
                        [audio: audio/wav, 4 bytes of base64, not shown]";
        assert_eq!(told(json!({"content": content})), ToolOutput::text(expected));
    }

    #[test]
    fn long_text_is_cut_in_its_middle_also_beside_an_image() {
        let long = "x".repeat(20_000);
        let text = json!({"type": "text", "text": long});
        let image = json!({"type": "image", "mimeType": "image/png", "data": PIXEL});
        let ToolOutput::Text(alone) = told(json!({"content": [text, text]})) else { panic!("no text") };
        assert!(alone.len() < 30_000 && alone.contains("characters left out; ask for less"), "{alone}");
        let ToolOutput::Content(parts) = told(json!({"content": [text, image, text]})) else {
            panic!("no image")
        };
        assert_eq!(parts[0].as_text().unwrap(), alone);
        assert_eq!(parts.len(), 2);
    }
}

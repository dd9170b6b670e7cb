use agentx_core::{ContentPart, ToolOutput};
use serde_json::{Value, value::RawValue};

/// The results of calls that a message in the user's name has.
pub(super) fn results(message: &RawValue) -> Vec<(String, ToolOutput)> {
    let message: Value = serde_json::from_str(message.get()).unwrap_or_default();
    let blocks = message.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let results = blocks.iter().filter(|block| block.get("type").is_some_and(|kind| kind == "tool_result"));
    results
        .filter_map(|block| {
            let call = block.get("tool_use_id")?.as_str()?.to_owned();
            let is_error = block.get("is_error").and_then(Value::as_bool).unwrap_or_default();
            Some((call, output(block.get("content").unwrap_or(&Value::Null), is_error)))
        })
        .collect()
}

fn output(content: &Value, is_error: bool) -> ToolOutput {
    let parts: Vec<_> = match content {
        Value::String(text) => vec![ContentPart::text(text)],
        other => other.as_array().into_iter().flatten().map(part).collect(),
    };
    let text: Option<String> = parts.iter().map(ContentPart::as_text).collect();
    match text {
        Some(text) if is_error => ToolOutput::ErrorText(text),
        Some(text) => ToolOutput::Text(text),
        None => ToolOutput::Content(parts),
    }
}

fn part(block: &Value) -> ContentPart {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let source = block.get("source");
    let in_source = |key: &str| text(source.and_then(|source| source.get(key)));
    match (block.get("type").and_then(Value::as_str), in_source("data").zip(in_source("media_type"))) {
        (Some("text"), _) => ContentPart::text(text(block.get("text")).unwrap_or_default()),
        (Some("image"), Some((data, media_type))) => ContentPart::Image { data, media_type },
        _ => ContentPart::Other(block.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn results_are_read_in_each_of_their_forms() {
        let image =
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}});
        let block = |id: &str, content: Value, is_error: bool| json!({"type": "tool_result", "tool_use_id": id, "content": content, "is_error": is_error});
        let message = json!({"role": "user", "content": [
            {"type": "text", "text": "a note"},
            block("a", json!("words"), false),
            block("b", json!([{"type": "text", "text": "no"}]), true),
            block("c", json!([{"type": "text", "text": "see"}, image]), false),
            {"type": "tool_result", "tool_use_id": "d"},
            {"type": "tool_result"},
        ]});
        let read = results(&serde_json::value::to_raw_value(&message).unwrap());
        let image = ContentPart::Image { data: "aGk=".into(), media_type: "image/png".into() };
        let expected = [
            ("a", ToolOutput::text("words")),
            ("b", ToolOutput::error("no")),
            ("c", ToolOutput::Content(vec![ContentPart::text("see"), image])),
            ("d", ToolOutput::text("")),
        ];
        assert_eq!(read, expected.map(|(call, output)| (call.to_owned(), output)));
    }
}

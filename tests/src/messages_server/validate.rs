//! What the API refuses, as far as it matters to a client.

use std::collections::HashSet;

use serde_json::Value;

use super::RecordedRequest;

/// A refusal: status, type of the error and message.
pub(super) type Refusal = (u16, &'static str, String);

const VERSIONS: [&str; 2] = ["2023-06-01", "2026-10-21"];
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

pub(super) fn validate(request: &RecordedRequest) -> Result<(), Refusal> {
    let key = request.header("x-api-key").is_some_and(|key| !key.is_empty());
    let token = request.header("authorization").is_some_and(|token| token.starts_with("Bearer "));
    if !key && !token {
        return Err((401, "authentication_error", "x-api-key header is required".to_owned()));
    }
    let invalid = |message: String| (400, "invalid_request_error", message);
    match request.header("anthropic-version") {
        Some(version) if VERSIONS.contains(&version) => {}
        Some(version) => {
            return Err(invalid(format!("anthropic-version: {version:?} is not a valid version")));
        }
        None => return Err(invalid("anthropic-version: header is required".to_owned())),
    }
    check_body(&request.body).map_err(invalid)?;
    if request.header("anthropic-version") == Some("2026-10-21") {
        let sampling =
            ["temperature", "top_p", "top_k"].into_iter().find(|name| !request.body[name].is_null());
        if let Some(name) = sampling {
            return Err(invalid(format!("{name}: Extra inputs are not permitted")));
        }
    }
    Ok(())
}

/// Data that is no image: the API decodes each, and names the one that it can't.
pub(super) fn check_images(body: &Value) -> Result<(), Refusal> {
    let beginnings = ["iVBORw0KGgo", "/9j/", "R0lGOD", "UklGR"];
    let is_image = |image: &Value| {
        let data = image["source"]["data"].as_str().unwrap_or_default();
        image["type"] != "image" || beginnings.iter().any(|beginning| data.starts_with(beginning))
    };
    let messages = body["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (index, message) in messages.iter().enumerate() {
        for (place, block) in blocks(message).iter().enumerate() {
            let within = blocks(block).iter().position(|part| !is_image(part));
            let part = match within {
                _ if !is_image(block) => String::new(),
                Some(part) => format!(".tool_result.content.{part}"),
                None => continue,
            };
            let message = format!(
                "messages.{index}.content.{place}{part}.image.source.base64.data: Could not process image"
            );
            return Err((400, "invalid_request_error", message));
        }
    }
    Ok(())
}

/// Whether the API takes this body of a request.
///
/// # Errors
/// What it says where it does not.
pub fn check_body(body: &Value) -> Result<(), String> {
    if !body.is_object() {
        return Err("The request body is not valid JSON".to_owned());
    }
    if !body["model"].is_string() {
        return Err("model: Field required".to_owned());
    }
    let Some(max_tokens) = body["max_tokens"].as_u64().filter(|count| *count > 0) else {
        return Err("max_tokens: Field required".to_owned());
    };
    if let Some(budget) = body["thinking"]["budget_tokens"].as_u64() {
        if budget < 1024 {
            return Err(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024".to_owned()
            );
        }
        if budget >= max_tokens {
            return Err("`max_tokens` must be greater than `thinking.budget_tokens`".to_owned());
        }
    }
    let messages = body["messages"].as_array().ok_or("messages: Field required")?;
    let first = messages.iter().find(|message| message["role"] != "system");
    if first.is_none_or(|message| message["role"] != "user") {
        return Err("messages: first message must use the \"user\" role".to_owned());
    }
    let marks = count_marks(body);
    if marks > 4 {
        return Err(format!("A maximum of 4 blocks with cache_control may be provided. Found {marks}."));
    }
    for (index, message) in messages.iter().enumerate() {
        check_message(message, index + 1 == messages.len())
            .map_err(|problem| format!("messages.{index}{problem}"))?;
    }
    check_tool_results(messages)
}

fn check_message(message: &Value, last: bool) -> Result<(), String> {
    let role = message["role"].as_str().unwrap_or_default();
    if !["user", "assistant", "system"].contains(&role) {
        return Err(".role: Input should be 'user' or 'assistant'".to_owned());
    }
    let blocks = blocks(message);
    // A message of the system's may do nothing but set something from there on.
    let sets = role == "system" && message["output_config"].is_object();
    if blocks.is_empty()
        && message["content"].as_str().is_none_or(str::is_empty)
        && !(last && role == "assistant")
        && !sets
    {
        return Err(": all messages must have non-empty content".to_owned());
    }
    for (index, block) in blocks.iter().enumerate() {
        let kind = block["type"].as_str().unwrap_or_default();
        let text = block["text"].as_str().unwrap_or_default();
        if kind == "text" && text.trim().is_empty() {
            return Err(": text content blocks must be non-empty".to_owned());
        }
        let allowed = match role {
            "assistant" => !["tool_result", "image", "document"].contains(&kind),
            _ => !["tool_use", "thinking", "redacted_thinking"].contains(&kind),
        };
        if kind.is_empty() || !allowed {
            return Err(format!(".content.{index}: block of type {kind:?} is not permitted here"));
        }
        if kind == "tool_result" && block["is_error"] == true && is_blank(&block["content"]) {
            return Err(format!(
                ".content.{index}.tool_result: content cannot be empty if `is_error` is true"
            ));
        }
        if let Some(image) = images(block)
            .find(|image| !IMAGES.contains(&image["source"]["media_type"].as_str().unwrap_or_default()))
        {
            return Err(format!(
                ".content.{index}: the image's media_type is {}",
                image["source"]["media_type"]
            ));
        }
        if kind == "thinking" && block["signature"].as_str().is_none_or(str::is_empty) {
            return Err(format!(".content.{index}.thinking.signature: Field required"));
        }
    }
    if role == "assistant" && blocks.last().is_some_and(is_thinking) {
        return Err(": The final block in an assistant message cannot be `thinking`".to_owned());
    }
    Ok(())
}

/// Each call has its result in the next message, before anything else in it, and each result its call.
fn check_tool_results(messages: &[Value]) -> Result<(), String> {
    let spoken: Vec<_> = messages.iter().filter(|message| message["role"] != "system").collect();
    let mut calls = HashSet::new();
    for (index, message) in spoken.iter().enumerate() {
        let blocks = blocks(message);
        let is_result = |block: &&Value| block["type"] == "tool_result";
        let results: HashSet<_> =
            blocks.iter().filter(is_result).filter_map(|block| block["tool_use_id"].as_str()).collect();
        let first = blocks.iter().take_while(is_result).count();
        if let Some(orphan) = results.iter().find(|id| !calls.contains(*id)) {
            return Err(format!(
                "messages.{index}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: {orphan}. \
                 Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            ));
        }
        let missing = calls.iter().any(|id| !results.contains(id));
        if missing || first < results.len() {
            return Err(format!(
                "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {}. Each \
                 `tool_use` block must have a corresponding `tool_result` block in the next message.",
                index.saturating_sub(1),
                calls.iter().copied().collect::<Vec<_>>().join(", "),
            ));
        }
        calls = blocks
            .iter()
            .filter(|block| block["type"] == "tool_use")
            .filter_map(|block| block["id"].as_str())
            .collect();
    }
    match calls.iter().next() {
        Some(id) => Err(format!("messages: `tool_use` {id} has no `tool_result` after it")),
        None => Ok(()),
    }
}

fn blocks(message: &Value) -> &[Value] {
    message["content"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Whether a tool said nothing.
fn is_blank(content: &Value) -> bool {
    match content {
        Value::String(text) => text.trim().is_empty(),
        other => other.as_array().is_none_or(Vec::is_empty),
    }
}

/// The block, where it is an image, and those within a tool's result.
fn images(block: &Value) -> impl Iterator<Item = &Value> {
    std::iter::once(block)
        .chain(blocks(block))
        .filter(|block| block["type"] == "image" && block["source"]["type"] == "base64")
}

fn is_thinking(block: &Value) -> bool {
    block["type"] == "thinking" || block["type"] == "redacted_thinking"
}

fn count_marks(value: &Value) -> usize {
    match value {
        Value::Object(fields) => {
            usize::from(fields.get("cache_control").is_some_and(|mark| !mark.is_null()))
                + fields.values().map(count_marks).sum::<usize>()
        }
        Value::Array(items) => items.iter().map(count_marks).sum(),
        _ => 0,
    }
}

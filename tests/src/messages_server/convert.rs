//! From the body of a request to a request of the domain.

use std::{collections::HashMap, sync::Arc};

use agentx_core::{
    AssistantMessage, AssistantPart, ContentPart, MessageBody, ModelRequest, ModelSettings, Thinking,
    ToolCall, ToolDefinition, ToolOutput, ToolResult,
};
use serde_json::Value;

pub(super) fn request(body: &Value) -> ModelRequest {
    let mut tool_names = HashMap::new();
    let mut messages = Vec::new();
    for message in list(&body["messages"]) {
        let blocks = content(&message["content"]);
        match message["role"].as_str() {
            Some("assistant") => messages.push(assistant(&blocks, &mut tool_names)),
            Some("user") => user(&blocks, &tool_names, &mut messages),
            _ => {}
        }
    }
    let mut request = ModelRequest::new(messages);
    let system: Vec<_> = content(&body["system"]).iter().map(|block| text(&block["text"])).collect();
    request.system = Some(system.join("\n")).filter(|system| !system.is_empty());
    request.tools = list(&body["tools"])
        .iter()
        .map(|tool| {
            ToolDefinition::new(text(&tool["name"]), text(&tool["description"]), tool["input_schema"].clone())
        })
        .collect::<Arc<[_]>>();
    request.settings = settings(body);
    request
}

fn settings(body: &Value) -> ModelSettings {
    let count = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
    let mut settings = ModelSettings::default().with_model(text(&body["model"]));
    settings.max_tokens = count(&body["max_tokens"]);
    settings.thinking = count(&body["thinking"]["budget_tokens"]).map(Thinking::Budget);
    settings
}

fn assistant(blocks: &[Value], tool_names: &mut HashMap<String, String>) -> MessageBody {
    let parts = blocks.iter().map(|block| match block["type"].as_str() {
        Some("text") => AssistantPart::text(text(&block["text"])),
        Some("thinking") => AssistantPart::Thinking {
            reasoning: text(&block["thinking"]),
            signature: block["signature"].as_str().map(str::to_owned),
        },
        Some("tool_use") => {
            let (id, name) = (text(&block["id"]), text(&block["name"]));
            tool_names.insert(id.clone(), name.clone());
            AssistantPart::ToolCall(ToolCall::new(id, name, block["input"].clone()))
        }
        _ => AssistantPart::Opaque { provider: "anthropic".to_owned(), json: block.to_string() },
    });
    MessageBody::Assistant(AssistantMessage::new(parts.collect()))
}

/// Tool results are messages of their own in the domain.
fn user(blocks: &[Value], tool_names: &HashMap<String, String>, messages: &mut Vec<MessageBody>) {
    let mut said = Vec::new();
    for block in blocks {
        if block["type"] != "tool_result" {
            said.push(part(block));
            continue;
        }
        let id = text(&block["tool_use_id"]);
        let name = tool_names.get(&id).cloned().unwrap_or_default();
        messages.push(MessageBody::Tool(ToolResult::new(id, name, output(block))));
    }
    if !said.is_empty() {
        messages.push(MessageBody::User { content: said });
    }
}

fn output(block: &Value) -> ToolOutput {
    let parts: Vec<_> = content(&block["content"]).iter().map(part).collect();
    let texts: Option<String> = parts.iter().map(ContentPart::as_text).collect();
    match (texts, block["is_error"].as_bool()) {
        (texts, Some(true)) => ToolOutput::ErrorText(texts.unwrap_or_default()),
        (Some(text), _) => ToolOutput::Text(text),
        (None, _) => ToolOutput::Content(parts),
    }
}

fn part(block: &Value) -> ContentPart {
    let source = &block["source"];
    let (data, media_type) = (text(&source["data"]), text(&source["media_type"]));
    match block["type"].as_str() {
        Some("text") => ContentPart::text(text(&block["text"])),
        Some("image") => ContentPart::Image { data, media_type },
        Some("document") => {
            ContentPart::File { data, media_type, filename: block["title"].as_str().map(str::to_owned) }
        }
        _ => ContentPart::Other(block.clone()),
    }
}

/// Content is a text or a list of blocks.
fn content(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) => vec![serde_json::json!({"type": "text", "text": text})],
        other => list(other).to_vec(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

//! From the events of a model to the events of the API.

use agentx_core::{BlockChange, BlockKind, ModelEvent, Usage};
use serde_json::{Value, json};

/// One server-sent event.
pub(super) fn event(data: &Value) -> String {
    let name = data["type"].as_str().unwrap_or("error");
    format!("event: {name}\ndata: {data}\n\n")
}

/// The events of an answer, with the ping that the API sends at its beginning.
pub(super) fn answer(id: &str, events: &[ModelEvent]) -> Vec<String> {
    let usage = total(events);
    let mut stop = Value::Null;
    let mut out = Vec::new();
    for told in events {
        match told {
            ModelEvent::Start { model } => {
                let message = json!({
                    "id": id, "type": "message", "role": "assistant", "model": model, "content": [],
                    "stop_reason": null, "stop_sequence": null, "usage": counts(Usage::new(usage.input_tokens, 1)),
                });
                out.push(json!({"type": "message_start", "message": message}));
                out.push(json!({"type": "ping"}));
            }
            ModelEvent::Block { index, change } => out.push(block(*index, change)),
            ModelEvent::Stop(reason) => stop = json!(reason.as_str()),
            _ => {}
        }
    }
    out.push(json!({
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": null},
        "usage": counts(usage),
    }));
    out.push(json!({"type": "message_stop"}));
    out.iter().map(event).collect()
}

/// The answer in one piece, for a call without streaming.
pub(super) fn message(id: &str, events: &[ModelEvent]) -> Value {
    let mut model = String::new();
    let mut stop = Value::Null;
    let mut blocks: Vec<Value> = Vec::new();
    let mut input = String::new();
    for event in events {
        match event {
            ModelEvent::Start { model: name } => model.clone_from(name),
            ModelEvent::Stop(reason) => stop = json!(reason.as_str()),
            ModelEvent::Block { change: BlockChange::Start(kind), .. } => {
                input.clear();
                blocks.push(start(kind));
            }
            ModelEvent::Block { change, .. } => {
                let Some(block) = blocks.last_mut() else { continue };
                match change {
                    BlockChange::Text(text) => append(block, "text", text),
                    BlockChange::Thinking(text) => append(block, "thinking", text),
                    BlockChange::Signature(text) => append(block, "signature", text),
                    BlockChange::InputJson(json) => input.push_str(json),
                    BlockChange::Stop if block["type"] == "tool_use" => {
                        block["input"] = serde_json::from_str(&input).unwrap_or_else(|_| json!({}));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    json!({
        "id": id, "type": "message", "role": "assistant", "model": model, "content": blocks,
        "stop_reason": stop, "stop_sequence": null, "usage": counts(total(events)),
    })
}

fn append(block: &mut Value, field: &str, text: &str) {
    let so_far = block[field].as_str().unwrap_or_default();
    block[field] = json!(format!("{so_far}{text}"));
}

fn total(events: &[ModelEvent]) -> Usage {
    let mut usages = events.iter().filter_map(|event| match event {
        ModelEvent::Usage(usage) => Some(*usage),
        _ => None,
    });
    usages.next_back().unwrap_or_default()
}

fn counts(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_input_tokens,
        "cache_read_input_tokens": usage.cache_read_input_tokens,
        "output_tokens": usage.output_tokens,
    })
}

fn start(kind: &BlockKind) -> Value {
    match kind {
        BlockKind::Text => json!({"type": "text", "text": ""}),
        BlockKind::Thinking => json!({"type": "thinking", "thinking": "", "signature": ""}),
        BlockKind::ToolUse { id, name } => json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
        BlockKind::Opaque { json, .. } => serde_json::from_str(json).unwrap_or(Value::Null),
        _ => Value::Null,
    }
}

fn block(index: u32, change: &BlockChange) -> Value {
    let delta = match change {
        BlockChange::Start(kind) => {
            return json!({"type": "content_block_start", "index": index, "content_block": start(kind)});
        }
        BlockChange::Stop => return json!({"type": "content_block_stop", "index": index}),
        BlockChange::Text(text) => json!({"type": "text_delta", "text": text}),
        BlockChange::Thinking(text) => json!({"type": "thinking_delta", "thinking": text}),
        BlockChange::Signature(text) => json!({"type": "signature_delta", "signature": text}),
        BlockChange::InputJson(text) => json!({"type": "input_json_delta", "partial_json": text}),
        _ => json!({"type": "unknown_delta"}),
    };
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

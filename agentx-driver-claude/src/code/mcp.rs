use agentx_core::{ContentPart, ToolDefinition, ToolOutput, ToolResult};
use serde_json::{Value, json};

/// The name of the server that offers the turn's tools.
pub(super) const SERVER: &str = "agentx";

/// The longest result that the CLI lets pass whole, in characters. Of a longer one it would keep a file, which no tool of
/// the turn's could read, and show the model 2,000 characters.
const LONGEST_RESULT: usize = 500_000;

/// How much of a longer text the model is shown, in bytes.
const SHOWN: usize = 480_000;

/// The version that is answered to a client that names none.
const VERSION: &str = "2025-11-25";

/// What a message asks of the server.
#[derive(Debug, PartialEq)]
pub(super) enum Asked {
    /// It is answered so.
    Answer(Value),
    /// A tool is called. Its result is due, with the id of the message.
    Call {
        /// The message's id.
        id: Value,
        /// The model's call.
        tool_use_id: Option<String>,
    },
}

/// The name of one of the turn's tools as the CLI tells it to the model.
pub(super) fn cli_name(tool: &str) -> String {
    format!("mcp__{SERVER}__{tool}")
}

/// The turn's own name of a tool that the CLI names so; none for a tool that is not the turn's.
pub(super) fn own_name(tool: &str) -> Option<&str> {
    tool.strip_prefix("mcp__")?.strip_prefix(SERVER)?.strip_prefix("__")
}

/// Reads a message to the server of these tools.
pub(super) fn ask(message: &Value, tools: &[ToolDefinition]) -> Asked {
    let id = message.get("id").cloned();
    let parameter = |key: &str| message.get("params").and_then(|params| params.get(key));
    let Some(id) = id else {
        // A notification wants no answer; the CLI wants a frame all the same.
        return Asked::Answer(json!({"jsonrpc": "2.0", "result": {}}));
    };
    let result = match message.get("method").and_then(Value::as_str) {
        Some("initialize") => json!({
            "protocolVersion": parameter("protocolVersion").cloned().unwrap_or_else(|| json!(VERSION)),
            "capabilities": {"tools": {}},
            "serverInfo": {"name": SERVER, "version": env!("CARGO_PKG_VERSION")},
        }),
        Some("ping") => json!({}),
        Some("tools/list") => json!({"tools": tools.iter().map(definition).collect::<Vec<_>>()}),
        Some("tools/call") => {
            let call = parameter("_meta").and_then(|meta| meta.get("claudecode/toolUseId"));
            return Asked::Call { id, tool_use_id: call.and_then(Value::as_str).map(str::to_owned) };
        }
        method => {
            let error = json!({"code": -32601, "message": format!("no method {method:?}")});
            return Asked::Answer(json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
    };
    Asked::Answer(json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn definition(tool: &ToolDefinition) -> Value {
    json!({
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "_meta": {"anthropic/maxResultSizeChars": LONGEST_RESULT, "anthropic/alwaysLoad": true},
    })
}

/// The message that answers a call with this result, as the model is shown it.
pub(super) fn answer(id: &Value, result: &ToolResult) -> Value {
    let output = result.clone().into_shown().output;
    let content = match &output {
        ToolOutput::Content(parts) => parts.iter().map(part).collect(),
        other => vec![text(&cut(other.to_text()))],
    };
    let result = json!({"content": content, "isError": output.is_error()});
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// The message that answers a call which was never allowed.
pub(super) fn refuse(id: &Value, why: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": [text(why)], "isError": true}})
}

fn cut(mut text: String) -> String {
    if text.len() > SHOWN {
        let end = text.floor_char_boundary(SHOWN);
        let missing = text.len() - end;
        text.truncate(end);
        text.push_str(&format!("\n[{missing} more bytes are left out]"));
    }
    text
}

fn part(part: &ContentPart) -> Value {
    match part {
        ContentPart::Text { text: said } => text(&cut(said.clone())),
        ContentPart::Image { data, media_type } => {
            json!({"type": "image", "data": data, "mimeType": media_type})
        }
        ContentPart::File { data, media_type, filename } => {
            let uri = format!("attachment:///{}", filename.as_deref().unwrap_or("file"));
            json!({"type": "resource", "resource": {"uri": uri, "mimeType": media_type, "blob": data}})
        }
        ContentPart::Other(value) => text(&value.to_string()),
        _ => text("[a part that can't be shown]"),
    }
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_from_the_clis_own() {
        assert_eq!(own_name(&cli_name("read_file")), Some("read_file"));
        for other in ["Bash", "mcp__agentx2__x", "mcp__other__agentx__x", "mcp__agentx_x"] {
            assert_eq!(own_name(other), None, "{other}");
        }
    }

    #[test]
    fn the_handshake_lists_the_tools_and_a_call_waits_for_its_result() {
        let tools = [ToolDefinition::new("count", "Counts.", json!({"type": "object"}))];
        let result = |message: Value| match ask(&message, &tools) {
            Asked::Answer(answer) => answer["result"].clone(),
            call @ Asked::Call { .. } => panic!("{call:?}"),
        };
        let hello = json!({"id": 0, "method": "initialize", "params": {"protocolVersion": "2026-01-01"}});
        assert_eq!(result(hello)["protocolVersion"], "2026-01-01");
        assert_eq!(result(json!({"method": "notifications/initialized"})), json!({}));
        let listed = result(json!({"id": 1, "method": "tools/list"}));
        assert_eq!(
            (&listed["tools"][0]["name"], listed["tools"].as_array().unwrap().len()),
            (&json!("count"), 1)
        );
        match ask(&json!({"id": 2, "method": "resources/list"}), &tools) {
            Asked::Answer(answer) => {
                assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32601), &json!(2)));
            }
            call @ Asked::Call { .. } => panic!("{call:?}"),
        }
        let call = json!({"id": 3, "method": "tools/call", "params": {"name": "count",
            "_meta": {"claudecode/toolUseId": "toolu_1"}}});
        assert_eq!(ask(&call, &tools), Asked::Call { id: json!(3), tool_use_id: Some("toolu_1".into()) });
    }

    #[test]
    fn a_long_result_keeps_its_beginning() {
        let result = ToolResult::new("t", "count", ToolOutput::text("ä".repeat(LONGEST_RESULT)));
        let told = answer(&json!(3), &result);
        let said = told["result"]["content"][0]["text"].as_str().unwrap();
        assert!((SHOWN..LONGEST_RESULT).contains(&said.len()), "{}", said.len());
        assert!(said.ends_with("[520000 more bytes are left out]"), "{}", &said[SHOWN..]);
    }

    #[test]
    fn a_result_is_what_the_model_is_shown() {
        let mut result = ToolResult::new("t", "count", ToolOutput::error("no"));
        result.input = Some(json!({"x": 2}));
        let told = answer(&json!(3), &result);
        assert_eq!(told["result"]["isError"], true);
        let said = told["result"]["content"][0]["text"].as_str().unwrap();
        assert!(said.contains(r#"{"x":2}"#) && said.ends_with("no"), "{said}");
    }
}

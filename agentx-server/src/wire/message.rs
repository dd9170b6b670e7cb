use agentx_core::{ContentPart, Message, MessageBody};
use serde_json::{Value, json};

/// A message as clients know it; none for a mark that is of the store alone.
pub(crate) fn message(message: &Message) -> Option<Value> {
    let (id, at) = (&message.id, message.timestamp);
    Some(match &message.body {
        MessageBody::User { content } => {
            json!({"id": id, "role": "user", "subtype": "user", "content": said(content), "timestamp": at})
        }
        MessageBody::Assistant(said) => {
            let mut shown = json!({
                "id": id, "role": "assistant", "subtype": "assistant", "content": said.content, "timestamp": at,
            });
            if let (Some(usage), Value::Object(shown)) = (&said.usage, &mut shown) {
                shown.insert("usage".to_owned(), json!(usage));
            }
            shown
        }
        MessageBody::Tool(result) => json!({
            "id": id, "role": "tool", "subtype": "tool-result", "timestamp": at,
            "toolCallId": result.tool_call_id,
            "toolResult": {
                "type": "tool-result", "id": result.tool_call_id, "name": result.tool_name, "output": result.output,
            },
        }),
        MessageBody::Error { content, code } => json!({
            "id": id, "role": "error", "subtype": "error", "content": content, "errorCode": code, "timestamp": at,
        }),
        _ => return None,
    })
}

/// Plain text as clients send it: a string. Anything else: parts.
fn said(content: &[ContentPart]) -> Value {
    match content {
        [ContentPart::Text { text }] => json!(text),
        parts => json!(parts),
    }
}

#[cfg(test)]
mod tests {
    use agentx_core::{
        AssistantMessage, AssistantPart, MessageId, Timestamp, ToolCall, ToolOutput, ToolResult,
    };

    use super::*;

    fn shown(body: MessageBody) -> Option<Value> {
        message(&Message::new(MessageId::new("msg_1").unwrap(), Timestamp::from_millis(5), body))
    }

    #[test]
    fn messages_have_the_shape_of_the_protocol() {
        let user = json!({"id": "msg_1", "role": "user", "subtype": "user", "content": "hi", "timestamp": 5});
        assert_eq!(shown(MessageBody::user("hi")), Some(user));
        let call = AssistantPart::ToolCall(ToolCall::new("c", "bash", json!({"command": "ls"})));
        let assistant = json!({
            "id": "msg_1", "role": "assistant", "subtype": "assistant", "timestamp": 5,
            "content": [{"type": "tool-call", "id": "c", "name": "bash", "input": {"command": "ls"}}],
        });
        assert_eq!(shown(MessageBody::Assistant(AssistantMessage::new(vec![call]))), Some(assistant));
        let tool = json!({
            "id": "msg_1", "role": "tool", "subtype": "tool-result", "timestamp": 5, "toolCallId": "c",
            "toolResult": {"type": "tool-result", "id": "c", "name": "bash", "output": {"type": "text", "value": "a"}},
        });
        assert_eq!(shown(MessageBody::Tool(ToolResult::new("c", "bash", ToolOutput::text("a")))), Some(tool));
    }

    #[test]
    fn marks_stay_in_the_store() {
        assert_eq!(shown(MessageBody::Offload { calls: Vec::new() }), None);
    }
}

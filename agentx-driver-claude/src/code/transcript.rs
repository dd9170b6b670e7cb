use std::time::Duration;

use agentx_core::{AssistantPart, ErrorKind, MessageBody, Result, ToolDefinition};
use agentx_resource::{ExecRequest, OutputLimit, Process, ProcessExt, Stdin};
use serde_json::{Value, json};

use super::{failure, mcp};
use crate::messages::history;

/// How long it may take to write the file.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Nobody but the agent reads it, and a process sees it whole or not at all.
const WRITE: &str = r#"umask 077 && mkdir -p "${TRANSCRIPT%/*}" && cat > "$TRANSCRIPT.part" && mv "$TRANSCRIPT.part" "$TRANSCRIPT""#;

/// The message that the user sends now, as the CLI reads it.
///
/// # Errors
/// `InvalidInput` where it says nothing.
pub(super) fn prompt(message: &MessageBody) -> Result<Value> {
    let mut messages = history(std::slice::from_ref(message), "")?;
    let Some(mut content) =
        messages.pop().and_then(|mut message| message.get_mut("content").map(Value::take))
    else {
        return Err(failure(ErrorKind::InvalidInput, "ask claude")
            .with_message("there is nothing to answer: the last message is empty"));
    };
    // The CLI would take a text that begins so as a command of its own, and answer it itself.
    for block in content.as_array_mut().into_iter().flatten() {
        if let Some(Value::String(text)) = block.get_mut("text")
            && text.starts_with('/')
        {
            text.insert(0, ' ');
        }
    }
    Ok(content)
}

/// A history in the form in which the CLI keeps its own, as the session of this id.
///
/// # Errors
/// `Corrupt` for a stored block of the API that is no JSON.
pub(super) fn transcript(shown: &[MessageBody], tools: &[ToolDefinition], session: &str) -> Result<String> {
    let shown: Vec<_> = shown.iter().cloned().map(|message| named(message, tools)).collect();
    let model = shown.iter().rev().find_map(|message| match message {
        MessageBody::Assistant(message) => message.model.clone(),
        _ => None,
    });
    let model = model.unwrap_or_default();
    let mut lines = String::new();
    let mut parent = Value::Null;
    for (index, mut message) in history(&shown, "")?.into_iter().enumerate() {
        let role = message.get("role").cloned().unwrap_or_default();
        if role == "assistant" {
            let more = json!({"id": format!("msg_{index}"), "type": "message", "model": model, "stop_reason": null,
                "stop_sequence": null, "usage": {"input_tokens": 0, "output_tokens": 0}});
            if let (Some(message), Value::Object(more)) = (message.as_object_mut(), more) {
                message.extend(more);
            }
        }
        let uuid = json!(uuid(u64::try_from(index).unwrap_or(u64::MAX), 0));
        let line = json!({
            "parentUuid": parent, "isSidechain": false, "type": role, "message": message, "uuid": uuid,
            "timestamp": "1970-01-01T00:00:00.000Z", "userType": "external", "sessionId": session, "version": "0",
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
        parent = uuid;
    }
    Ok(lines)
}

/// Writes the file, by the process that the CLI runs in.
///
/// # Errors
/// What the process reports; `Unsupported` where it has no shell.
pub(super) async fn write(process: &dyn Process, file: &str, transcript: String) -> Result<()> {
    run(process, WRITE, file, Stdin::Bytes(transcript.into())).await
}

/// Removes the file.
///
/// # Errors
/// Those of [`write`].
pub(super) async fn remove(process: &dyn Process, file: &str) -> Result<()> {
    run(process, "rm -f \"$TRANSCRIPT\"", file, Stdin::Null).await
}

async fn run(process: &dyn Process, script: &str, file: &str, stdin: Stdin) -> Result<()> {
    let request = if process.capabilities().shell {
        ExecRequest::shell(script)
    } else {
        ExecRequest::program("sh", ["-c", script])
    };
    let request = request
        .with_env("TRANSCRIPT", file)
        .with_stdin(stdin)
        .with_output_limit(OutputLimit::truncate(1 << 10))
        .with_timeout(WRITE_TIMEOUT);
    let output = process.exec(request).await?;
    if output.status.success() {
        return Ok(());
    }
    let message = format!("{}: {}", output.status, output.stderr_text().trim());
    Err(failure(ErrorKind::Unavailable, "write history for claude").with_path(file).with_message(message))
}

/// An id in the form of a UUID, of two numbers.
pub(super) fn uuid(high: u64, low: u64) -> String {
    let (time, version) = (high >> 16, high & 0xfff);
    let (variant, node) = ((low >> 48) & 0x3fff | 0x8000, low & 0xffff_ffff_ffff);
    format!("{:08x}-{:04x}-8{version:03x}-{variant:04x}-{node:012x}", time >> 16, time & 0xffff)
}

/// With the turn's tools under the names that the CLI gives them.
fn named(mut message: MessageBody, tools: &[ToolDefinition]) -> MessageBody {
    if let MessageBody::Assistant(message) = &mut message {
        for part in &mut message.content {
            if let AssistantPart::ToolCall(call) = part
                && tools.iter().any(|tool| tool.name == call.name)
            {
                call.name = mcp::cli_name(&call.name);
            }
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use agentx_core::{AssistantMessage, ToolCall, ToolOutput, ToolResult};

    use super::*;

    #[test]
    fn a_history_is_written_as_the_api_takes_it_under_the_clis_names() {
        let call = |name: &str| AssistantPart::ToolCall(ToolCall::new(name, name, json!({"x": 1})));
        let result = |name: &str| MessageBody::Tool(ToolResult::new(name, name, ToolOutput::text("1")));
        let shown = [
            MessageBody::user("/a"),
            MessageBody::Assistant(AssistantMessage::new(vec![
                AssistantPart::text("b"),
                call("own"),
                call("Bash"),
            ])),
            result("own"),
            result("Bash"),
        ];
        let tools = [ToolDefinition::new("own", "", json!({}))];
        let text = transcript(&shown, &tools, "session").unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines.iter().map(|line| line["type"].as_str().unwrap()).collect::<Vec<_>>(),
            ["user", "assistant", "user"]
        );
        assert_eq!(lines[0]["message"]["content"][0]["text"], "/a");
        let names: Vec<_> = (1..3).map(|at| &lines[1]["message"]["content"][at]["name"]).collect();
        assert_eq!(names, ["mcp__agentx__own", "Bash"]);
        assert_eq!(lines[2]["message"]["content"].as_array().unwrap().len(), 2, "all results in one message");
        assert_eq!((&lines[0]["parentUuid"], &lines[2]["parentUuid"]), (&Value::Null, &lines[1]["uuid"]));
    }

    #[test]
    fn a_text_is_never_a_command_of_the_clis() {
        assert_eq!(prompt(&MessageBody::user("/clear")).unwrap()[0]["text"], " /clear");
        assert_eq!(prompt(&MessageBody::user("a /b")).unwrap()[0]["text"], "a /b");
        assert_eq!(prompt(&MessageBody::user(" ")).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn ids_have_the_form_of_a_uuid() {
        assert_eq!(uuid(0, 0), "00000000-0000-8000-8000-000000000000");
        assert_eq!(uuid(u64::MAX, u64::MAX), "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}

//! A session's messages: read in pages, and kept so that a model takes them.

use crate::{
    Host, Message, MessageBody, MessageId, MessagePage, Result, SessionId, SessionRepository, ToolCall,
    ToolOutput, ToolResult,
};

const PAGE: usize = 1000;

/// All messages of a session as they are stored, oldest first.
pub(super) async fn read(sessions: &dyn SessionRepository, session: &SessionId) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    let mut page = MessagePage::first(PAGE);
    loop {
        let stored = sessions.list_messages(session, page).await?;
        let full = stored.len() >= PAGE;
        if let Some(last) = stored.last() {
            page = MessagePage::after(last.seq, PAGE);
        }
        messages.extend(stored.into_iter().map(|stored| stored.message));
        if !full {
            return Ok(messages);
        }
    }
}

/// All messages of a session, made whole: tool calls that were left open when the agent stopped without warning are
/// answered. Such a call is never run again: whether it took effect is unknown, and the model is told so.
pub(super) async fn load(
    sessions: &dyn SessionRepository,
    session: &SessionId,
    host: &Host,
) -> Result<Vec<Message>> {
    let mut messages = read(sessions, session).await?;
    let results: Vec<_> = open_calls(&messages)
        .into_iter()
        .map(|call| {
            let output = ToolOutput::error(
                "The agent was stopped while this call was under way. Whether it took effect is unknown.",
            );
            let result = ToolResult::new(&call.id, &call.name, output);
            Message::new(MessageId::fresh(&*host.ids), host.now(), MessageBody::Tool(result))
        })
        .collect();
    if !results.is_empty() {
        sessions.append_messages(session, &results).await?;
        messages.extend(results);
    }
    Ok(messages)
}

/// The calls of the last assistant message that have no result.
fn open_calls(messages: &[Message]) -> Vec<&ToolCall> {
    let last = messages.iter().rposition(|message| matches!(message.body, MessageBody::Assistant(_)));
    let Some((head, rest)) = last.and_then(|last| messages.get(last..)).and_then(<[_]>::split_first) else {
        return Vec::new();
    };
    let MessageBody::Assistant(assistant) = &head.body else { return Vec::new() };
    let answered = |call: &ToolCall| {
        rest.iter().any(
            |message| matches!(&message.body, MessageBody::Tool(result) if result.tool_call_id == call.id),
        )
    };
    assistant.tool_calls().filter(|call| !answered(call)).collect()
}

//! What a model is shown of a history, compactions included.

use crate::{
    AssistantMessage, AssistantPart, ContentPart, Message, MessageBody, MessageId, Timestamp, ToolOutput,
    message::place_of_result,
};

/// How much of an output that was left out is still shown, at its beginning and at its end, in bytes.
const SHOWN: usize = 300;

/// Puts together what a model is shown of a session.
pub(crate) struct History {
    ids: Vec<MessageId>,
    shown: Vec<MessageBody>,
    /// Whether signed thinking stays also where what it was signed over has changed.
    keep_thinking: bool,
    /// How many tokens a model has counted for so many of the first messages.
    measured: Option<(usize, u64)>,
    /// Assistant messages up to this moment come from before a summary that precedes them.
    rewritten: Option<Timestamp>,
}

impl History {
    /// Nothing yet. Models whose thinking has a budget demand it back with the tool calls of the turn; others bind it to
    /// all that came before it, and refuse it where that has changed.
    pub(crate) fn new(keep_thinking: bool) -> Self {
        Self { ids: Vec::new(), shown: Vec::new(), keep_thinking, measured: None, rewritten: None }
    }

    /// Takes the next message, in the order of the session or with the latest summary in front. Results are stored in the
    /// order in which they end, and shown in that of their calls.
    pub(crate) fn push(&mut self, message: Message) {
        let Message { id, timestamp, body } = message;
        if matches!(body, MessageBody::Summary { .. } | MessageBody::Offload { .. }) {
            self.measured = None;
        }
        match body {
            MessageBody::Summary { content, through } => {
                // What it stands for may be here, or may have been left out before.
                if let Some(last) = self.ids.iter().position(|id| *id == through) {
                    let kept = self.ids.len() - last - 1;
                    let kept = summarize(&mut self.shown, content, kept, self.keep_thinking);
                    self.ids.splice(..self.ids.len() - kept, [id]);
                } else {
                    self.rewritten = Some(timestamp);
                    self.ids.push(id);
                    self.shown.push(MessageBody::User { content });
                }
            }
            MessageBody::Offload { calls } => {
                offload(&mut self.shown, &calls, self.keep_thinking);
            }
            body => {
                let Some(body) = body.into_shown() else { return };
                if let MessageBody::Tool(result) = &body {
                    let place = place_of_result(&self.shown, |body| body, result);
                    self.ids.insert(place, id);
                    self.shown.insert(place, body);
                    return;
                }
                self.ids.push(id);
                self.shown.push(body);
                let old = self.rewritten.is_some_and(|until| timestamp <= until);
                let count = self.shown.len();
                match self.shown.last_mut() {
                    Some(last) if old => forget_thinking(last, self.keep_thinking),
                    Some(MessageBody::Assistant(AssistantMessage { usage: Some(usage), .. }))
                        if usage.total_input() > 0 =>
                    {
                        self.measured = Some((count, usage.total()));
                    }
                    _ => {}
                }
            }
        }
    }

    /// The messages; and for how many of the first a model has counted so many tokens.
    pub(crate) fn into_shown(self) -> (Vec<MessageBody>, Option<(usize, u64)>) {
        (self.shown, self.measured)
    }
}

/// Puts a summary in place of all but the last `kept` messages. Fewer are kept where the first would be a result.
/// Gives how many were kept.
pub(crate) fn summarize(
    shown: &mut Vec<MessageBody>,
    content: Vec<ContentPart>,
    kept: usize,
    keep_thinking: bool,
) -> usize {
    let mut first = shown.len().saturating_sub(kept);
    while matches!(shown.get(first), Some(MessageBody::Tool(_))) {
        first += 1;
    }
    shown.splice(..first, [MessageBody::User { content }]);
    for message in shown.iter_mut().skip(1) {
        forget_thinking(message, keep_thinking);
    }
    shown.len() - 1
}

/// Cuts the outputs of these calls, and gives those that were longer before.
pub(crate) fn offload(shown: &mut [MessageBody], calls: &[String], keep_thinking: bool) -> Vec<String> {
    let mut cut = Vec::new();
    for message in shown {
        match message {
            MessageBody::Tool(result) if calls.contains(&result.tool_call_id) => {
                let output = stub(&result.output);
                if output != result.output {
                    result.output = output;
                    cut.push(result.tool_call_id.clone());
                }
            }
            message if !cut.is_empty() => forget_thinking(message, keep_thinking),
            _ => {}
        }
    }
    cut
}

/// The output with only its beginning and its end. One that was cut is not cut again.
fn stub(output: &ToolOutput) -> ToolOutput {
    let text = output.to_text();
    if text.len() <= 3 * SHOWN {
        return if matches!(output, ToolOutput::Content(_)) {
            ToolOutput::Text(text)
        } else {
            output.clone()
        };
    }
    let (head, tail) = (text.floor_char_boundary(SHOWN), text.ceil_char_boundary(text.len() - SHOWN));
    let cut = format!(
        "{}\n[{} bytes of this output were left out later, to make room. Run the tool again if you need them.]\n{}",
        text.get(..head).unwrap_or_default(),
        tail - head,
        text.get(tail..).unwrap_or_default(),
    );
    if output.is_error() { ToolOutput::ErrorText(cut) } else { ToolOutput::Text(cut) }
}

/// Leaves out thinking that was signed over something that is no longer there.
fn forget_thinking(message: &mut MessageBody, keep: bool) {
    let MessageBody::Assistant(message) = message else { return };
    if keep {
        return;
    }
    message.content.retain(|part| !is_thinking(part));
    // No model takes an empty message; and messages are counted, so that none may vanish.
    if message.content.is_empty() {
        message.content.push(AssistantPart::text("[thinking]"));
    }
}

/// Whether a part is thinking, in clear or as its provider alone can read it.
fn is_thinking(part: &AssistantPart) -> bool {
    match part {
        AssistantPart::Thinking { .. } => true,
        AssistantPart::Opaque { json, .. } => {
            serde_json::from_str::<Kind>(json).is_ok_and(|block| block.kind.ends_with("thinking"))
        }
        _ => false,
    }
}

#[derive(serde::Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{ToolCall, ToolResult};

    fn message(at: u64, body: MessageBody) -> Message {
        Message::new(MessageId::new(format!("msg_{at}")).unwrap(), Timestamp::from_millis(at), body)
    }

    fn thought(id: &str) -> MessageBody {
        let thinking = AssistantPart::Thinking { reasoning: "hm".into(), signature: Some("s".into()) };
        let redacted = AssistantPart::Opaque {
            provider: "p".into(),
            json: r#"{"type":"redacted_thinking","data":"x"}"#.into(),
        };
        let call = AssistantPart::ToolCall(ToolCall::new(id, "t", json!({})));
        MessageBody::Assistant(AssistantMessage::new(vec![thinking, redacted, call]))
    }

    fn result(id: &str, size: usize) -> MessageBody {
        MessageBody::Tool(ToolResult::new(id, "t", ToolOutput::text("ä".repeat(size))))
    }

    fn summary(through: u64) -> MessageBody {
        let through = MessageId::new(format!("msg_{through}")).unwrap();
        MessageBody::Summary { content: vec![ContentPart::text("so far")], through }
    }

    fn shown(history: Vec<Message>, keep_thinking: bool) -> Vec<String> {
        let mut all = History::new(keep_thinking);
        for message in history {
            all.push(message);
        }
        all.into_shown()
            .0
            .iter()
            .map(|message| match message {
                MessageBody::Assistant(message) => format!("assistant {}", message.content.len()),
                MessageBody::Tool(result) => format!("tool {}", result.output.to_text().len()),
                other => other.text(),
            })
            .collect()
    }

    fn session() -> Vec<Message> {
        let bodies = [MessageBody::user("one"), thought("a"), result("a", 1), thought("b"), result("b", 1)];
        (1..).zip(bodies).map(|(at, body)| message(at, body)).collect()
    }

    #[test]
    fn a_summary_stands_for_what_came_before_it_wherever_it_is_read() {
        let mut stored = session();
        stored.extend([message(6, summary(3)), message(7, thought("c")), message(8, result("c", 1))]);
        let expected = ["so far", "assistant 1", "tool 2", "assistant 3", "tool 2"];
        assert_eq!(shown(stored.clone(), false), expected);
        let mut paged = stored.split_off(3);
        let summary = paged.remove(2);
        paged.insert(0, summary);
        assert_eq!(shown(paged.clone(), false), expected);
        assert_eq!(shown(paged, true)[1], "assistant 3");
    }

    #[test]
    fn results_stand_in_the_order_of_their_calls_and_a_summary_through_the_last_to_end_stands_for_all() {
        let calls = ["a", "b"].map(|id| AssistantPart::ToolCall(ToolCall::new(id, "t", json!({}))));
        let answer = MessageBody::Assistant(AssistantMessage::new(calls.to_vec()));
        let bodies = [MessageBody::user("one"), answer, result("b", 2), result("a", 1), thought("c")];
        let mut stored: Vec<_> = (1..).zip(bodies).map(|(at, body)| message(at, body)).collect();
        let ordered = ["one", "assistant 2", "tool 2", "tool 4", "assistant 3"];
        assert_eq!(shown(stored.clone(), true), ordered);
        // The last that ended is the first that is shown.
        stored.push(message(6, summary(4)));
        assert_eq!(shown(stored.clone(), true), ["so far", "assistant 3"]);
        stored.extend([message(7, result("c", 1)), message(8, summary(5)), message(9, thought("d"))]);
        assert_eq!(shown(stored, true), ["so far", "assistant 3"]);
    }

    #[test]
    fn outputs_are_cut_and_the_thinking_behind_them_is_left_out() {
        let mut stored = session();
        stored[2].body = result("a", 1000);
        stored.push(message(6, MessageBody::Offload { calls: vec!["a".into(), "unknown".into()] }));
        stored.push(message(7, thought("c")));
        let cut = shown(stored.clone(), false);
        assert_eq!(cut[..2], ["one", "assistant 3"], "what it was signed over is unchanged");
        assert!(cut[2].len() < 10 && cut[2] != "tool 2000", "{cut:?}");
        assert_eq!(cut[3..], ["assistant 1", "tool 2", "assistant 3"]);
        assert_eq!(shown(stored, true)[3], "assistant 3");
    }

    #[test]
    fn an_error_stays_one_and_an_image_goes() {
        let image = ContentPart::Image { data: "x".repeat(5000), media_type: "image/png".into() };
        assert_eq!(stub(&ToolOutput::Content(vec![image])), ToolOutput::text("[image/png]"));
        let error = stub(&ToolOutput::error("x".repeat(5000)));
        assert!(error.is_error() && error.size() < 800);
        assert_eq!(stub(&error), error, "once is enough");
    }

    #[test]
    fn no_result_is_kept_without_its_call() {
        for (kept, expected) in [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (9, 5)] {
            let mut messages: Vec<_> = session().into_iter().map(|message| message.body).collect();
            assert_eq!(summarize(&mut messages, vec![ContentPart::text("s")], kept, true), expected);
            assert_eq!(messages.len(), expected + 1);
        }
    }
}

use std::collections::HashSet;

use super::{ContentPart, MessageBody, ToolOutput, ToolResult};

impl MessageBody {
    /// What a model is shown in place of this, if anything: a summary in the user's name, and a result with a note where
    /// the call ran with another input than the model's.
    pub(crate) fn into_shown(self) -> Option<Self> {
        match self {
            Self::User { .. } | Self::Assistant(_) => Some(self),
            Self::Tool(result) => Some(Self::Tool(result.into_shown())),
            Self::Summary { content, .. } => Some(Self::User { content }),
            _ => None,
        }
    }
}

/// Where a result belongs behind these messages, whose bodies `body` gives: the results of an answer stand in the order
/// of its calls, whichever ended first.
pub(crate) fn place_of_result<M>(
    before: &[M],
    body: impl Fn(&M) -> &MessageBody,
    result: &ToolResult,
) -> usize {
    let end = before.len();
    let is_result = |message: &M| matches!(body(message), MessageBody::Tool(_));
    // Mostly, no other result of the answer is there yet.
    if !before.last().is_some_and(is_result) {
        return end;
    }
    let Some(answer) = before.iter().rposition(|message| !is_result(message)) else { return end };
    let Some(MessageBody::Assistant(message)) = before.get(answer).map(&body) else { return end };
    let mut later =
        message.tool_calls().skip_while(|call| call.id != result.tool_call_id).map(|call| call.id.as_str());
    if later.next().is_none() {
        return end;
    }
    let later: HashSet<&str> = later.collect();
    let is_later = |message: &M| matches!(body(message), MessageBody::Tool(result) if later.contains(result.tool_call_id.as_str()));
    before.iter().rposition(|message| !is_later(message)).map_or(end, |last| last + 1)
}

impl ToolResult {
    /// The result as a model is shown it: with a note where the call ran with another input than the model's.
    #[must_use]
    pub fn into_shown(mut self) -> Self {
        if let Some(input) = self.input.take() {
            let note = format!("[This ran with another input, put in place before the call: {input}]");
            self.output = noted(self.output, note);
        }
        self
    }
}

fn noted(output: ToolOutput, note: String) -> ToolOutput {
    let before = |text: &str| format!("{note}\n{text}");
    match output {
        ToolOutput::ErrorText(text) => ToolOutput::ErrorText(before(&text)),
        ToolOutput::ErrorJson(value) => ToolOutput::ErrorText(before(&value.to_string())),
        ToolOutput::ExecutionDenied(reason) => ToolOutput::ExecutionDenied(before(&reason)),
        ToolOutput::Content(mut parts) => {
            parts.insert(0, ContentPart::text(note));
            ToolOutput::Content(parts)
        }
        other => ToolOutput::Text(before(&other.to_text())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{AssistantMessage, AssistantPart, ToolCall};

    #[test]
    fn a_result_stands_where_its_call_does_whichever_ended_first() {
        let calls = ["a", "b", "c"].map(|id| AssistantPart::ToolCall(ToolCall::new(id, "t", json!({}))));
        let answer = MessageBody::Assistant(AssistantMessage::new(calls.to_vec()));
        let result = |id: &str| ToolResult::new(id, "t", ToolOutput::text(id));
        for ended in ["abc", "acb", "bac", "bca", "cab", "cba", "xcba"] {
            let mut shown = vec![MessageBody::Tool(result("c")), MessageBody::user("go"), answer.clone()];
            for id in ended.chars().map(String::from) {
                let place = place_of_result(&shown, |body| body, &result(&id));
                shown.insert(place, MessageBody::Tool(result(&id)));
            }
            let placed: String = shown
                .iter()
                .skip(3)
                .map(|body| match body {
                    MessageBody::Tool(result) => result.output.to_text(),
                    other => panic!("{other:?}"),
                })
                .collect();
            // One that answers no call stays where it came.
            assert_eq!(placed, if ended.len() == 3 { "abc" } else { "xabc" }, "{ended}");
        }
        assert_eq!(place_of_result(&[MessageBody::Tool(result("b"))], |body| body, &result("a")), 1);
    }

    #[test]
    fn a_model_is_told_that_its_input_was_replaced() {
        let mut result = ToolResult::new("1", "t", ToolOutput::Json(json!([1])));
        assert_eq!(result.clone().into_shown(), result);
        result.input = Some(json!({"x": 2}));
        let stored = serde_json::to_value(&result).unwrap();
        assert_eq!(stored["input"], json!({"x": 2}));
        let shown = result.clone().into_shown();
        assert_eq!(shown.input, None);
        assert!(
            matches!(&shown.output, ToolOutput::Text(text) if text.contains(r#"{"x":2}"#) && text.ends_with("\n[1]"))
        );
        result.output = ToolOutput::error("no");
        assert!(result.into_shown().output.is_error());
    }
}

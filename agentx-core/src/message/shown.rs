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

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tracing::{Instrument, Span, field::Empty};

use super::{Telemetry, content, fail, fail_with};
use crate::{Result, Tool, ToolContext, ToolDefinition, ToolOutput};

/// A tool whose calls are told.
#[derive(Debug)]
pub(super) struct TracedTool {
    telemetry: Telemetry,
    tool: Arc<dyn Tool>,
}

impl TracedTool {
    pub(super) fn new(telemetry: Telemetry, tool: Arc<dyn Tool>) -> Self {
        Self { telemetry, tool }
    }
}

#[async_trait]
impl Tool for TracedTool {
    fn definition(&self) -> &ToolDefinition {
        self.tool.definition()
    }

    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput> {
        let name = self.definition().name.as_str();
        let span = tracing::info_span!(
            target: "gen_ai",
            "execute_tool",
            "otel.name" = format!("execute_tool {name}"),
            "otel.kind" = "internal",
            "otel.status_code" = Empty,
            "otel.status_description" = Empty,
            "error.type" = Empty,
            "gen_ai.operation.name" = "execute_tool",
            "gen_ai.tool.name" = name,
            "gen_ai.tool.type" = "function",
            "gen_ai.tool.call.id" = context.call_id.as_str(),
            "gen_ai.tool.call.arguments" = Empty,
            "gen_ai.tool.call.result" = Empty,
        );
        let telemetry = &self.telemetry;
        if telemetry.shows(&span) {
            let arguments = content::text(telemetry, &input.to_string());
            span.record("gen_ai.tool.call.arguments", arguments.as_str());
        }
        let mut unfinished = Unfinished(Some(&span));
        let answer = self.tool.call(input, context).instrument(span.clone()).await;
        unfinished.0 = None;
        match &answer {
            Ok(output) => {
                if output.is_error() {
                    fail(&span, "tool_error");
                }
                if telemetry.shows(&span) {
                    let result = content::text(telemetry, &output.to_text());
                    span.record("gen_ai.tool.call.result", result.as_str());
                }
            }
            Err(error) => fail_with(telemetry, &span, error),
        }
        answer
    }
}

/// A call that is dropped, or panics, before its end.
struct Unfinished<'s>(Option<&'s Span>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(span) = self.0 {
            fail(span, if std::thread::panicking() { "panic" } else { "cancelled" });
        }
    }
}

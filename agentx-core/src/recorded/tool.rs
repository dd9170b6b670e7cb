use std::sync::Arc;

use agentx_resource::cassette::Cassette;
use async_trait::async_trait;
use serde_json::{Value, json};

use super::not_live;
use crate::{Result, Tool, ToolContext, ToolDefinition, ToolOutput};

/// A tool whose answers are on a cassette. A replay does not run it, nor make it.
///
/// For tools that reach the world by ways of their own: a tool of an MCP server, one that asks a web service. An
/// [`AgentTool`](crate::AgentTool) is not wrapped: its model and its tools are.
#[derive(Debug)]
pub struct RecordedTool {
    cassette: Cassette,
    definition: ToolDefinition,
    live: Option<Arc<dyn Tool>>,
}

impl RecordedTool {
    /// The tool of this name on a cassette. `make` is called to record.
    ///
    /// # Errors
    /// Those of `make`; in a replay, `Diverged` where no tool of this name was recorded.
    pub fn new(
        cassette: &Cassette,
        name: &str,
        make: impl FnOnce() -> Result<Arc<dyn Tool>>,
    ) -> Result<Self> {
        let live = if cassette.is_replay() { None } else { Some(make()?) };
        let definition = cassette.constant("tool.definition", name, || {
            live.as_ref().map(|tool| tool.definition().clone()).ok_or_else(not_live)
        })?;
        Ok(Self { cassette: cassette.clone(), definition, live })
    }
}

#[async_trait]
impl Tool for RecordedTool {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    async fn call(&self, input: Value, context: ToolContext) -> Result<ToolOutput> {
        let request = json!({"id": context.call_id, "input": input});
        let call = self.cassette.call("tool.call", &self.definition.name, request).await?;
        call.answer(async { self.live.as_ref().ok_or_else(not_live)?.call(input, context).await }).await
    }
}

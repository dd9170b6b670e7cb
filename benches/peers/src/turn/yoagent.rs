//! yoagent's own loop. It makes an HTTP client for each request.

use agentx_benches::{Result, measure::Variant, rows::turn::Turns};
use async_trait::async_trait;
use serde_json::Value;
use yoagent::{
    Agent, AgentEvent, AgentTool, Content, StreamDelta, ToolContext, ToolError, ToolResult,
    provider::ModelConfig,
};

use super::{QUESTION, count_files, schema};

pub(super) fn variant(turns: &Turns) -> Variant {
    let mut config = ModelConfig::claude_sonnet_5_5();
    config.base_url = format!("{}/v1", turns.base_url());
    turns.variant("yoagent", move || turn(config.clone()))
}

async fn turn(config: ModelConfig) -> Result<String> {
    let mut agent = Agent::from_config(config).with_api_key("no-key").with_tools(vec![Box::new(CountFiles)]);
    let mut events = agent.prompt(QUESTION).await;
    let mut text = String::new();
    while let Some(event) = events.recv().await {
        match event {
            AgentEvent::TurnStart => text.clear(),
            AgentEvent::MessageUpdate { delta: StreamDelta::Text { delta }, .. } => text.push_str(&delta),
            AgentEvent::AgentEnd { .. } => break,
            _ => {}
        }
    }
    agent.finish().await;
    Ok(text)
}

struct CountFiles;

#[async_trait]
impl AgentTool for CountFiles {
    fn name(&self) -> &str {
        "count_files"
    }

    fn label(&self) -> &str {
        "Count files"
    }

    fn description(&self) -> &str {
        "Counts the files in a directory."
    }

    fn parameters_schema(&self) -> Value {
        schema()
    }

    async fn execute(&self, params: Value, _: ToolContext) -> std::result::Result<ToolResult, ToolError> {
        Ok(ToolResult { content: vec![Content::Text { text: count_files(&params) }], details: Value::Null })
    }
}

//! rig's agent, built once: it keeps no conversation.

use std::convert::Infallible;

use agentx_benches::{Result, measure::Variant, rows::turn::Turns};
use futures::StreamExt;
use rig_agent::{
    agent::MultiTurnStreamItem,
    prelude::{Agent, AgentBuilder, Tool},
    tool::ToolContext,
};
use rig_core::providers::anthropic::AnthropicConfig;
use serde_json::Value;

use super::{MAX_TOKENS, MODEL, QUESTION, count_files, schema};

pub(super) fn variant(turns: &Turns) -> Variant {
    let client = AnthropicConfig::new("no-key").with_base_url(turns.base_url()).client();
    let agent = AgentBuilder::new(client.completion(MODEL))
        .max_tokens(u64::from(MAX_TOKENS))
        .default_max_turns(4)
        .tool(CountFiles)
        .build();
    turns.variant("rig", move || turn(agent.clone()))
}

async fn turn(agent: Agent) -> Result<String> {
    let mut events = agent.prompt(QUESTION).stream();
    while let Some(event) = events.next().await {
        if let MultiTurnStreamItem::FinalResponse(response) = event? {
            return Ok(response.to_string());
        }
    }
    Err("no end".into())
}

struct CountFiles;

impl Tool for CountFiles {
    const NAME: &'static str = "count_files";
    type Args = Value;
    type Output = String;
    type Error = Infallible;

    fn description(&self) -> String {
        "Counts the files in a directory.".to_owned()
    }

    fn parameters(&self) -> Value {
        schema()
    }

    async fn call(&self, _: &mut ToolContext, args: Value) -> std::result::Result<String, Infallible> {
        Ok(count_files(&args))
    }
}

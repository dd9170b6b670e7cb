//! agentkit's own loop.

use agentkit::{
    core::{Item, ItemKind, Part, ToolOutput, ToolResultPart},
    loop_::{Agent, LoopInterrupt, LoopStep, SessionConfig},
    provider_anthropic::{AnthropicAdapter, AnthropicConfig},
    tools::{Tool, ToolContext, ToolError, ToolRegistry, ToolRequest, ToolResult, ToolSpec},
};
use agentx_benches::{Result, measure::Variant, rows::turn::Turns};
use async_trait::async_trait;

use super::{MAX_TOKENS, MODEL, QUESTION, count_files, schema};

pub(super) fn variant(turns: &Turns) -> Result<Variant> {
    let url = format!("{}/v1/messages", turns.base_url());
    let adapter =
        AnthropicAdapter::new(AnthropicConfig::new("no-key", MODEL, MAX_TOKENS)?.with_base_url(url))?;
    Ok(turns.variant("agentkit", move || turn(adapter.clone())))
}

async fn turn(adapter: AnthropicAdapter) -> Result<String> {
    let agent = Agent::builder()
        .model(adapter)
        .add_tool_source(ToolRegistry::new().with(CountFiles::new()))
        .input(vec![Item::text(ItemKind::User, QUESTION)])
        .build()?;
    let mut driver = agent.start(SessionConfig::new("bench")).await?;
    loop {
        match driver.next().await? {
            LoopStep::Finished(result) => {
                let answer = result.items.iter().rev().find(|item| item.kind == ItemKind::Assistant);
                let parts = answer.map(|item| &*item.parts).unwrap_or_default();
                let texts = parts.iter().filter_map(|part| match part {
                    Part::Text(text) => Some(&*text.text),
                    _ => None,
                });
                return Ok(texts.collect());
            }
            LoopStep::Interrupt(LoopInterrupt::AfterToolResult(_)) => {}
            LoopStep::Interrupt(_) => return Err("agentkit wants to be told something".into()),
        }
    }
}

struct CountFiles(ToolSpec);

impl CountFiles {
    fn new() -> Self {
        Self(ToolSpec::new("count_files", "Counts the files in a directory.", schema()))
    }
}

#[async_trait]
impl Tool for CountFiles {
    fn spec(&self) -> &ToolSpec {
        &self.0
    }

    async fn invoke(
        &self,
        request: ToolRequest,
        _: &mut ToolContext<'_>,
    ) -> std::result::Result<ToolResult, ToolError> {
        let output = ToolOutput::text(count_files(&request.input));
        Ok(ToolResult::new(ToolResultPart::success(request.call_id, output)))
    }
}

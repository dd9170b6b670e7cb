//! The row `turn` with its peers, each as its own documentation has it: a fresh conversation for every turn, one client
//! for all. Agents run their own loop; around clients it is written here.

mod agentkit;
mod genai;
mod misanthropic;
mod node;
mod rig;
mod yoagent;

use agentx_benches::{
    Result,
    measure::Row,
    rows::turn::{Turns, over},
};
use serde_json::{Value, json};

const QUESTION: &str = "How many files are there?";
const MODEL: &str = "claude-sonnet-5-5";
const MAX_TOKENS: u32 = 16_384;

/// The row with its peers.
pub fn row() -> Result<Row> {
    let turns = Turns::start()?;
    let row = over(&turns)?
        .with(genai::variant(&turns)?)
        .with(misanthropic::variant(&turns)?)
        .with(agentkit::variant(&turns)?)
        .with(rig::variant(&turns))
        .with(yoagent::variant(&turns));
    Ok(match node::variant(&turns) {
        Ok(variant) => row.with(variant),
        Err(why) => row.without("Anthropic's SDK for Node", why),
    })
}

/// What the tool takes.
fn schema() -> Value {
    json!({"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]})
}

/// What the tool answers.
fn count_files(input: &Value) -> String {
    format!("42 files in {}", input.get("path").and_then(Value::as_str).unwrap_or_default())
}

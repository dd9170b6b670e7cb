//! An agent whose turns the claude CLI runs, with a tool of this program's.
//!
//! ```sh
//! npm install @anthropic-ai/claude-code
//! cargo run --example claude_code --features claude-code -- node_modules "What day is it?"
//! ```
//!
//! The key is in `ANTHROPIC_API_KEY`. The CLI has a home of its own in the system's folder for temporary files, and sees
//! nothing of yours.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::SystemTime;

use agentx::{AgentBuilder, claude::code::ClaudeCodeSettings, prelude::*};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: claude_code NODE_MODULES QUESTION";
    let (modules, question) = args.next().zip(args.next()).ok_or(usage)?;

    let home = std::env::temp_dir().join("agentx-claude-code");
    let home = home.to_str().ok_or("the folder for temporary files has a name that is not UTF-8")?;
    let program = agentx::find_claude_code(modules).await?;
    let driver = agentx::claude_code(".", ClaudeCodeSettings::new(home).with_program(program))?;
    println!("claude CLI {}", driver.version().await?);

    let now = tool_fn(
        "now",
        "Tells the time, in seconds since 1970.",
        json!({"type": "object"}),
        async |_: Value| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Ok(now.as_secs().to_string())
        },
    );
    let agent = AgentBuilder::new(driver.clone()).tool(now).build().await?;
    let mut turn = agent.send(question).await?;
    while let Some(event) = turn.next().await {
        match &event.data {
            EventData::TextDelta { text } => print!("{text}"),
            EventData::ToolExecuting { tool_name, .. } => println!("[{tool_name}]"),
            _ => {}
        }
    }
    let report = turn.finish().await?;
    println!("\n{} model calls, {}", report.spent.steps, report.spent.cost);
    agent.close().await?;
    driver.close(std::time::Duration::from_secs(5)).await?;
    Ok(())
}

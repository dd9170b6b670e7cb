//! What is large: a tool's answer, a message, a history.

use std::sync::Arc;

use agentx_core::{Driver, ModelRequest, Reply, ScriptedModel, ToolOutput, ToolSet, tool_fn};
use agentx_tests::messages_server::MessagesServer;
use agentx_tests_claude_code::{Place, Version};
use serde_json::{Value, json};

use super::{text, told, turn};

/// Tells how long the tool's answer was for the model, and how much it was told in all.
fn server() -> MessagesServer {
    MessagesServer::start(ScriptedModel::new("m", |request: &ModelRequest| {
        let told: usize = request.messages.iter().map(|message| message.text().len()).sum();
        Ok(match request.answer("c") {
            None if request.tools.is_empty() => Reply::text(format!("told {}", told / 1000)),
            None => Reply::default().call("c", "mcp__agentx__large", json!({})),
            Some(output) => Reply::text(format!("saw {}", output.to_text().len())),
        })
    }))
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_tools_answer_reaches_the_model_whole_up_to_the_clis_bound() {
    for version in Version::ALL {
        for size in [400_000, 12 << 20] {
            let (place, server) = (Place::new(), server());
            let driver = place.driver(place.settings(version), &server);
            let large = tool_fn(
                "large",
                "Answers at length.",
                json!({"type": "object"}),
                move |_: Value| async move { Ok("x".repeat(size)) },
            );
            let turn = turn(&["Go."]).with_tools(ToolSet::of([Arc::new(large) as _]).unwrap());
            let (said, end) = told(driver.start(turn)).await;
            assert_eq!(end.outcome.as_str(), "completed", "{version:?} {size}: {end:?}");
            // In our session it is as any tool's: whole, up to 8 MiB.
            let agentx_core::MessageBody::Tool(result) = &said[1] else { panic!("{said:?}") };
            let ToolOutput::Text(stored) = &result.output else { panic!("no text") };
            assert_eq!(stored.len() > 8 << 20, size > 8 << 20, "{}", stored.len());
            let saw: usize = text(&said[2..]).strip_prefix("saw ").unwrap().parse().unwrap();
            let expected = if size == 400_000 { size..size + 1 } else { 480_000..480_100 };
            assert!(expected.contains(&saw), "{version:?}: {saw} of {size}");
        }
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_long_message_and_a_long_history_arrive_whole() {
    let long = "word ".repeat(200_000);
    for version in Version::ALL {
        for history in [vec![long.as_str()], vec![&long, &long, "Go on."]] {
            let (place, server) = (Place::new(), server());
            let driver = place.driver(place.settings(version), &server);
            let (said, end) = told(driver.start(turn(&history))).await;
            assert_eq!(end.outcome.as_str(), "completed", "{version:?}: {end:?}");
            let told: usize = text(&said).strip_prefix("told ").unwrap().parse().unwrap();
            let least = history.iter().map(|text| text.trim().len()).sum::<usize>() / 1000;
            assert!((least..least + 10).contains(&told), "{version:?}: {told} of {least}");
        }
    }
}

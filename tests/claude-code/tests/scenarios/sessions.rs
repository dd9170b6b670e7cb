//! Sessions that are taken up elsewhere, and forked.

use std::sync::Arc;

use agentx_core::{ImageSpec, MessageBody, ModelRequest, Reply, tool_fn};
use agentx_tests_claude_code::engine::{Setup, World, ended, lines, said, tool};
use serde_json::{Value, json};

use super::engines;

/// Tells what it was told before, tools included.
fn remember(request: &ModelRequest) -> Reply {
    if said(request) == "Count." && request.answer("count").is_none() {
        return Reply::text("I count.").call("count", tool(request, "count"), json!({"of": "a"}));
    }
    let told: Vec<_> = request
        .messages
        .iter()
        .filter_map(|message| match message {
            MessageBody::Assistant(message) => {
                let calls: Vec<_> = message.tool_calls().map(|call| call.input.to_string()).collect();
                Some(format!("{}{}", message.text().trim(), calls.join("")))
            }
            MessageBody::Tool(result) => Some(format!("={}", result.output.to_text())),
            _ => None,
        })
        .filter(|told| !told.contains("No response requested"))
        .collect();
    Reply::text(format!("<{}>", told.join(" ")))
}

fn world(engine: agentx_tests_claude_code::engine::Engine) -> World {
    let count = tool_fn("count", "Counts.", json!({"type": "object"}), async |_: Value| Ok("42"));
    let setup = Setup { tools: vec![Arc::new(count)], ..Setup::default() };
    World::new(engine, setup, |request| Ok(remember(request)))
}

const FIRST: &str = r#"<I count.{"of":"a"} =42>"#;
const SECOND: &str = r#"<I count.{"of":"a"} =42 <I count.{"of":"a"} =42>>"#;

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_session_goes_on_in_another_runtime() {
    for engine in engines("a_session_goes_on_in_another_runtime") {
        let world = world(engine);
        let (runtime, agent) = world.agent().await;
        assert_eq!(agent.ask("Count.").await.unwrap().text, FIRST, "{engine:?}");
        let image = agent.image_id().clone();
        drop((agent, runtime));
        let runtime = world.runtime();
        let agent = runtime.run(&image).await.unwrap();
        assert_eq!(agent.ask("What was it?").await.unwrap().text, SECOND, "{engine:?}");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_session_is_forked_and_each_goes_its_own_way() {
    for engine in engines("a_session_is_forked_and_each_goes_its_own_way") {
        let world = world(engine);
        let (runtime, agent) = world.agent().await;
        assert_eq!(agent.ask("Count.").await.unwrap().text, FIRST, "{engine:?}");
        let fork = runtime.fork_image(agent.image_id(), None, ImageSpec::default()).await.unwrap();
        let forked = runtime.run(&fork.image_id).await.unwrap();
        assert_eq!(forked.ask("What was it?").await.unwrap().text, SECOND, "{engine:?}");
        assert_eq!(
            agent.ask("And now?").await.unwrap().text,
            SECOND,
            "{engine:?}: it knows nothing of the fork"
        );
        let (old, new) = (agent.history().await.unwrap(), forked.history().await.unwrap());
        assert_eq!((old.len(), new.len()), (6, 6), "{engine:?}");
        assert_eq!(lines(&old)[..4], lines(&new)[..4], "{engine:?}");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_session_is_rewound_and_the_model_knows_nothing_of_what_came_after() {
    let scenario = "a_session_is_rewound_and_the_model_knows_nothing_of_what_came_after";
    for engine in engines(scenario) {
        let world = world(engine);
        let (runtime, agent) = world.agent().await;
        assert_eq!(agent.ask("Count.").await.unwrap().text, FIRST, "{engine:?}");
        assert_eq!(ended(&agent.ask("What was it?").await), "completed", "{engine:?}");
        let second = agent.history().await.unwrap()[4].id.clone();
        runtime.rewind_image(agent.image_id(), &second).await.unwrap();
        assert_eq!(agent.ask("Once more?").await.unwrap().text, SECOND, "{engine:?}");
    }
}

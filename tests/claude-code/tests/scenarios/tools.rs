//! Tools in parallel, permissions, approvals.

use std::{sync::Arc, time::Duration};

use agentx::{
    Decision, EventData, Hook, HookAction, HookPoint, Permission, PermissionRequest, ToolContext,
    ToolDefinition, ToolOutput,
};
use agentx_core::{ContentPart, MessageBody, Reply, Result, Tool, tool_fn};
use agentx_tests_claude_code::engine::{Setup, World, ended, lines, tool};
use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::engines;

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn tools_of_one_answer_run_at_the_same_time() {
    for engine in engines("tools_of_one_answer_run_at_the_same_time") {
        // Neither ends before both have begun.
        let barrier = Arc::new(Barrier::new(2));
        let meet = tool_fn("meet", "Meets.", json!({"type": "object"}), move |input: Value| {
            let barrier = barrier.clone();
            async move {
                barrier.wait().await;
                Ok(format!("met {}", input["who"].as_str().unwrap_or_default()))
            }
        });
        let setup = Setup { tools: vec![Arc::new(meet)], ..Setup::default() };
        let world = World::new(engine, setup, |request| {
            let meet = tool(request, "meet").to_owned();
            Ok(match (request.answer("a"), request.answer("b")) {
                (Some(a), Some(b)) => Reply::text(format!("{} and {}", a.to_text(), b.to_text())),
                _ => Reply::default().call("a", &meet, json!({"who": "a"})).call(
                    "b",
                    &meet,
                    json!({"who": "b"}),
                ),
            })
        });
        let (_runtime, agent) = world.agent().await;
        let report = agent.ask("Meet.").await.unwrap();
        assert_eq!(report.text, "met a and met b", "{engine:?}");
        assert_eq!((report.spent.steps, report.spent.tool_calls), (2, 2), "{engine:?}");
        let mut history = lines(&agent.history().await.unwrap());
        history[2..4].sort();
        let expected = [
            "user: Meet.",
            r#"assistant: [meet {"who":"a"}] [meet {"who":"b"}]"#,
            "tool: met a",
            "tool: met b",
            "assistant: met a and met b",
        ];
        assert_eq!(history, expected, "{engine:?}");
    }
}

#[derive(Debug)]
struct Judge;

#[async_trait]
impl Permission for Judge {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        Ok(match request.call.input["x"].as_i64() {
            Some(1) => Decision::Deny("not one".to_owned()),
            Some(2) => Decision::AllowWith(json!({"x": 20})),
            Some(3) => Decision::Ask("is it right?".to_owned()),
            Some(4) => panic!("a judge that fails"),
            _ => Decision::Allow,
        })
    }
}

fn echo() -> Arc<dyn Tool> {
    Arc::new(tool_fn(
        "echo",
        "Echoes.",
        json!({"type": "object"}),
        async |input: Value| Ok(input.to_string()),
    ))
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn each_call_is_allowed_denied_edited_or_asked_about() {
    for engine in engines("each_call_is_allowed_denied_edited_or_asked_about") {
        let setup = Setup { tools: vec![echo()], permission: Some(Arc::new(Judge)), ..Setup::default() };
        let world = World::new(engine, setup, |request| {
            let echo = tool(request, "echo").to_owned();
            if request.answer("c5").is_some() {
                let seen: Vec<_> = (1..=5)
                    .map(|x| request.answer(&format!("c{x}")).map(ToolOutput::to_text).unwrap_or_default())
                    .collect();
                return Ok(Reply::text(seen.join("|")));
            }
            Ok((1..=5).fold(Reply::default(), |reply, x| reply.call(format!("c{x}"), &echo, json!({"x": x}))))
        });
        let (runtime, agent) = world.agent().await;
        let mut events = agent.send("Go.").await.unwrap();
        let mut text = String::new();
        while let Some(event) = events.next().await {
            match &event.data {
                EventData::ApprovalRequested { approval_id, reason, .. } => {
                    assert_eq!(reason, "is it right?");
                    runtime.answer(approval_id, Decision::Allow).await.unwrap();
                }
                EventData::TextDelta { text: piece } => text.push_str(piece),
                _ => {}
            }
        }
        let report = events.finish().await;
        assert_eq!(ended(&report), "completed", "{engine:?}");
        // What the model was shown of the five.
        let seen: Vec<_> = text.split('|').collect();
        assert_eq!(seen.len(), 5, "{engine:?}: {text}");
        assert_eq!(seen[0], "not one", "{engine:?}");
        assert!(
            seen[1].contains("another input") && seen[1].ends_with(r#"{"x":20}"#),
            "{engine:?}: {}",
            seen[1]
        );
        assert_eq!(seen[2], r#"{"x":3}"#, "{engine:?}");
        assert!(seen[3].contains("could not be decided"), "{engine:?}: {}", seen[3]);
        assert_eq!(seen[4], r#"{"x":5}"#, "{engine:?}");
        let mut results = lines(&agent.history().await.unwrap())[2..7].to_vec();
        results.sort();
        let expected = [
            "denied: The permission could not be decided.",
            "denied: not one",
            r#"tool: {"x":20}"#,
            r#"tool: {"x":3}"#,
            r#"tool: {"x":5}"#,
        ];
        assert_eq!(results, expected, "{engine:?}");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_turn_that_waits_for_an_approval_can_be_interrupted() {
    for engine in engines("a_turn_that_waits_for_an_approval_can_be_interrupted") {
        let setup = Setup { tools: vec![echo()], permission: Some(Arc::new(Judge)), ..Setup::default() };
        let world = World::new(engine, setup, |request| {
            let waits = request.messages.len() < 4 && request.answer("c").is_none();
            let echo = tool(request, "echo").to_owned();
            Ok(if waits { Reply::default().call("c", echo, json!({"x": 3})) } else { Reply::text("Fine.") })
        });
        let (_runtime, agent) = world.agent().await;
        let mut events = agent.send("Go.").await.unwrap();
        while let Some(event) = events.next().await {
            if matches!(event.data, EventData::ApprovalRequested { .. }) {
                agent.interrupt().await;
            }
        }
        assert_eq!(ended(&events.finish().await), "interrupted", "{engine:?}");
        assert_eq!(ended(&agent.ask("And now?").await), "completed", "{engine:?}");
        let history = lines(&agent.history().await.unwrap());
        assert_eq!(
            history,
            [
                "user: Go.",
                r#"assistant: [echo {"x":3}]"#,
                "error: The user interrupted the turn. The call was not run.",
                "user: And now?",
                "assistant: Fine.",
            ],
            "{engine:?}"
        );
    }
}

/// Answers with an image, and fails when it is told to.
#[derive(Debug)]
struct Camera(ToolDefinition);

#[async_trait]
impl Tool for Camera {
    fn definition(&self) -> &ToolDefinition {
        &self.0
    }

    async fn call(&self, input: Value, _context: ToolContext) -> Result<ToolOutput> {
        let image = ContentPart::Image {
            // One pixel.
            data: "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==".into(),
            media_type: "image/png".into(),
        };
        match input["fail"].as_bool() {
            Some(true) => Err(agentx::Error::new(agentx::ErrorKind::Unavailable, "take picture")),
            _ => Ok(ToolOutput::Content(vec![ContentPart::text("a pixel"), image])),
        }
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn a_tool_answers_with_an_image_or_with_a_failure() {
    for engine in engines("a_tool_answers_with_an_image_or_with_a_failure") {
        let camera = Camera(ToolDefinition::new("camera", "Takes pictures.", json!({"type": "object"})));
        let setup = Setup { tools: vec![Arc::new(camera)], ..Setup::default() };
        let world = World::new(engine, setup, |request| {
            let camera = tool(request, "camera").to_owned();
            Ok(match (request.answer("good"), request.answer("bad")) {
                (Some(good), Some(bad)) => {
                    let image = matches!(good, ToolOutput::Content(parts)
                        if parts.iter().any(|part| matches!(part, ContentPart::Image { .. })));
                    Reply::text(format!("{image} {} {}", bad.is_error(), bad.to_text()))
                }
                _ => Reply::default().call("good", &camera, json!({})).call(
                    "bad",
                    &camera,
                    json!({"fail": true}),
                ),
            })
        });
        let (_runtime, agent) = world.agent().await;
        let report = agent.ask("Smile.").await.unwrap();
        assert_eq!(report.text, "true true take picture: unavailable", "{engine:?}");
    }
}

/// Changes what goes into a tool and what comes out of it, and ends a turn that it does not like.
#[derive(Debug)]
struct Changes;

#[async_trait]
impl Hook for Changes {
    async fn run(&self, point: HookPoint) -> Result<HookAction> {
        Ok(match point {
            HookPoint::BeforeTurn { message: Some(message) } if message.text() == "Bad." => {
                HookAction::Deny("not that".to_owned())
            }
            HookPoint::BeforeTool { call } if call.input["x"] == 7 => {
                HookAction::Deny("not seven".to_owned())
            }
            HookPoint::BeforeTool { .. } => HookAction::ReplaceInput(json!({"x": 70})),
            HookPoint::AfterTool { result, .. } => {
                HookAction::ReplaceOutput(ToolOutput::text(format!("<{}>", result.output.to_text())))
            }
            _ => HookAction::Continue,
        })
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn hooks_are_asked_around_the_turn_and_its_tools() {
    for engine in engines("hooks_are_asked_around_the_turn_and_its_tools") {
        let setup = Setup { tools: vec![echo()], hooks: vec![Arc::new(Changes)], ..Setup::default() };
        let world = World::new(engine, setup, |request| {
            let echo = tool(request, "echo").to_owned();
            Ok(match (request.answer("a"), request.answer("b")) {
                (Some(a), Some(b)) => Reply::text(format!("{} | {}", a.to_text(), b.to_text())),
                _ => Reply::default().call("a", &echo, json!({"x": 6})).call("b", &echo, json!({"x": 7})),
            })
        });
        let (_runtime, agent) = world.agent().await;
        assert_eq!(ended(&agent.ask("Bad.").await), "failed: permission denied, Never", "{engine:?}");
        assert!(world.server.requests().is_empty(), "{engine:?}");
        let report = agent.ask("Go.").await.unwrap();
        assert!(report.text.ends_with(r#"<{"x":70}> | not seven"#), "{engine:?}: {}", report.text);
        let mut results = lines(&agent.history().await.unwrap())[3..5].to_vec();
        results.sort();
        assert_eq!(results, ["denied: not seven", r#"tool: <{"x":70}>"#], "{engine:?}");
    }
}

#[tokio::test]
#[ignore = "needs the claude CLI: cargo xtask test claude-code"]
async fn an_approval_is_answered_in_another_runtime() {
    for engine in engines("an_approval_is_answered_in_another_runtime") {
        let setup = Setup { tools: vec![echo()], permission: Some(Arc::new(Judge)), ..Setup::default() };
        let world = World::new(engine, setup, |request| {
            let echo = tool(request, "echo").to_owned();
            let results = request.messages.iter().filter_map(|message| match message {
                MessageBody::Tool(result) => Some(result.output.to_text()),
                _ => None,
            });
            Ok(match results.reduce(|_, last| last) {
                None => Reply::default().call("c", &echo, json!({"x": 3})),
                Some(output) => Reply::text(format!("got {output}")),
            })
        });
        let (runtime, agent) = world.agent().await;
        let image = agent.image_id().clone();
        let mut events = agent.send("Go.").await.unwrap();
        let asked = loop {
            let event = events.next().await.unwrap();
            if let EventData::ApprovalRequested { approval_id, .. } = &event.data {
                break approval_id.clone();
            }
        };
        runtime.shutdown(Duration::from_secs(5)).await.unwrap();
        drop((events, agent, runtime));

        let runtime = world.runtime();
        let agent = runtime.run(&image).await.unwrap();
        let mut events = agent.subscribe();
        runtime.answer(&asked, Decision::Allow).await.unwrap();
        while let Some(event) = events.next().await {
            if matches!(event.data, EventData::TurnResponse { .. }) {
                break;
            }
        }
        let history = lines(&agent.history().await.unwrap());
        let expected =
            ["user: Go.", r#"assistant: [echo {"x":3}]"#, r#"tool: {"x":3}"#, r#"assistant: got {"x":3}"#];
        assert_eq!(history, expected, "{engine:?}");
    }
}

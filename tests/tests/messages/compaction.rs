use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use agentx_core::{
    AssistantMessage, AssistantPart, CompactionOptions, Driver, DriverEvent, Message, MessageBody, MessageId,
    ModelRequest, Outcome, Reply, ScriptedModel, SummaryCompactor, Timestamp, ToolCall, ToolLoop, ToolOutput,
    ToolResult, ToolSet, Turn, tool_fn,
};
use agentx_tests::messages_server::MessagesServer;
use futures::StreamExt;
use serde_json::{Value, json};

use super::support::{TestClock, client};

/// A turn of 12 calls behind a history of as many, in a window that has no room for that. The server refuses what the API
/// would refuse.
async fn long_turn(offload_above: usize) -> (Vec<DriverEvent>, MessagesServer) {
    let asked = AtomicUsize::new(0);
    let long = || "word ".repeat(600);
    let server = MessagesServer::start(ScriptedModel::new("m", move |request: &ModelRequest| {
        if request.system.as_deref().is_some_and(|system| system.starts_with("You write summaries")) {
            return Ok(Reply::text("SUMMARY"));
        }
        let asked = asked.fetch_add(1, Ordering::SeqCst);
        let on_it = || Reply::thinking("What next?").then_text(long());
        Ok(match asked {
            0..12 => on_it().call(format!("c{asked}"), "blob", json!({})),
            _ => Reply::text("done"),
        })
    }));
    let mut bodies = vec![MessageBody::user("Begin.")];
    for call in 0..6 {
        let made = ToolCall::new(format!("old_{call}"), "blob", json!({}));
        let result = ToolResult::new(&made.id, &made.name, ToolOutput::text(long()));
        bodies.push(MessageBody::Assistant(AssistantMessage::new(vec![AssistantPart::ToolCall(made)])));
        bodies.push(MessageBody::Tool(result));
    }
    bodies.push(MessageBody::user("Call it twelve times."));
    let message =
        |(n, body)| Message::new(MessageId::new(format!("msg_{n}")).unwrap(), Timestamp::default(), body);
    let history = (0_u32..).zip(bodies).map(message).collect();

    let blob = tool_fn("blob", "Answers at length.", json!({"type": "object"}), async |_: Value| Ok("short"));
    let clock = TestClock::default();
    let turn =
        Turn::new(history, Arc::new(clock.clone())).with_tools(ToolSet::of([Arc::new(blob) as _]).unwrap());
    let options = CompactionOptions::default().with_keep_results(1).with_offload_above(offload_above);
    let driver = ToolLoop::new(client(&server, clock))
        .with_context_window(5000)
        .with_compactor(Arc::new(SummaryCompactor::new(options)));
    let events: Vec<_> = driver.start(turn).collect().await;
    let completed =
        matches!(events.last(), Some(DriverEvent::End(end)) if matches!(end.outcome, Outcome::Completed));
    assert!(completed, "{:?}", events.last());
    (events, server)
}

#[tokio::test]
async fn what_is_left_of_a_conversation_is_taken_by_the_api() {
    let (events, server) = long_turn(1000).await;
    assert!(events.iter().any(|event| matches!(event, DriverEvent::Offloaded(_))));
    let first = server.requests()[0].body.to_string();
    assert!(first.contains("bytes of this output were left out"), "{first}");
}

#[tokio::test]
async fn a_summary_is_taken_by_the_api() {
    let (events, server) = long_turn(usize::MAX).await;
    assert!(events.iter().any(|event| matches!(event, DriverEvent::Compacted(_))));
    let last = server.requests().pop().unwrap().body;
    let first = last["messages"][0]["content"].to_string();
    assert!(first.contains("SUMMARY") && first.contains("The user's last message was"), "{first}");
}

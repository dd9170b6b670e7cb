use std::sync::Arc;

use agentx_core::{
    Driver, DriverEvent, Message, MessageBody, MessageId, Model, ModelEvent, ModelRequest, Outcome, Reply,
    ScriptedModel, StopReason, Timestamp, ToolLoop, ToolSet, Turn, Usage, tool_fn,
};
use agentx_tests::messages_server::{Fault, MessagesServer};
use futures::StreamExt;
use serde::Deserialize;
use serde_json::json;

use super::support::{TestClock, answer, client, essence};

fn replies() -> Vec<Reply> {
    vec![
        Reply::text("Hello, world. Ünïcode \u{1F980}, \"quotes\" and \\ slashes\n\ttoo."),
        Reply::thinking("Let me think of it.").then_text("I thought."),
        Reply::text("I look.").call("a", "read", json!({"path": "/a", "n": [1, 2.5, null]})).call(
            "b",
            "list",
            json!({}),
        ),
        Reply::text("cut").stop(StopReason::MaxTokens),
        Reply::text("no").stop(StopReason::Refusal),
        Reply::text("later").stop(StopReason::PauseTurn),
        Reply::text("new").stop(StopReason::Other("a_reason_of_tomorrow".into())),
        Reply::default(),
    ]
}

#[tokio::test]
async fn what_a_model_says_arrives_as_it_said_it() {
    for reply in replies() {
        for fault in [None, Some(Fault::ByteByByte)] {
            let script = reply.clone();
            let model = ScriptedModel::new("claude-test", move |_| Ok(script.clone()));
            let request = ModelRequest::new(vec![MessageBody::user("How are you?")]);
            let expected = model.reply(&request).unwrap();
            let server = MessagesServer::start(model);
            if let Some(fault) = fault {
                server.inject(fault);
            }

            let told = answer(&client(&server, TestClock::default()), request).await;

            assert_eq!(essence(&told), essence(&expected));
            let last = told.iter().rev().find_map(|event| match event {
                ModelEvent::Usage(usage) => Some(*usage),
                _ => None,
            });
            assert!(expected.contains(&ModelEvent::Usage(last.unwrap())));
        }
    }
}

#[tokio::test]
async fn calls_one_after_another_share_a_connection() {
    let server = MessagesServer::start(ScriptedModel::new("m", |_| Ok(Reply::text("Hi."))));
    let model = client(&server, TestClock::default());
    for _ in 0..5 {
        let mut stream = model.call(ModelRequest::new(vec![MessageBody::user("Hi?")]));
        // As a tool loop does: it does not poll again after the stop.
        while !matches!(stream.next().await.unwrap().unwrap(), ModelEvent::Stop(_)) {}
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn calls_at_a_time_do_not_disturb_each_other() {
    let server = MessagesServer::start(ScriptedModel::new("m", |request: &ModelRequest| {
        Ok(Reply::text(request.last_user_text().unwrap_or_default()))
    }));
    let model = client(&server, TestClock::default());
    let calls = (0..20).map(|n| {
        let request = ModelRequest::new(vec![MessageBody::user(format!("I am {n}."))]);
        let model = &model;
        async move { super::support::text(&answer(model, request).await) }
    });
    let texts = futures::future::join_all(calls).await;
    assert_eq!(texts, (0..20).map(|n| format!("I am {n}.")).collect::<Vec<_>>());
}

#[derive(Deserialize)]
struct Add {
    a: i64,
    b: i64,
}

#[tokio::test]
async fn a_whole_turn_with_tools_over_the_wire() {
    let server = MessagesServer::start(ScriptedModel::new("m", |request: &ModelRequest| {
        Ok(match (request.answer("sum"), request.answer("product")) {
            (None, None) => Reply::text("I calculate.").call("sum", "add", json!({"a": 2, "b": 3})).call(
                "product",
                "multiply",
                json!({}),
            ),
            (Some(sum), Some(product)) => {
                let failed = product.is_error();
                Reply::text(format!("{}; failed: {failed}", sum.to_text()))
            }
            _ => Reply::text("A result is missing."),
        })
    }));
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}});
    let add = tool_fn("add", "Adds.", schema, async |input: Add| Ok((input.a + input.b).to_string()));
    let message =
        |n: u32, body| Message::new(MessageId::new(format!("msg_{n}")).unwrap(), Timestamp::default(), body);
    let clock = TestClock::default();
    let turn = Turn::new(vec![message(1, MessageBody::user("What is 2 + 3?"))], Arc::new(clock.clone()))
        .with_system("You calculate.")
        .with_tools(ToolSet::of([Arc::new(add) as _]).unwrap());

    let events: Vec<_> = ToolLoop::new(client(&server, clock)).start(turn).collect().await;

    let said: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            DriverEvent::Model(event) => Some(event.clone()),
            _ => None,
        })
        .collect();
    assert!(
        matches!(events.last(), Some(DriverEvent::End(end)) if matches!(end.outcome, Outcome::Completed))
    );
    let second = said.iter().rposition(|event| matches!(event, ModelEvent::Start { .. })).unwrap();
    assert_eq!(super::support::text(&said[second..]), "5; failed: true");
    assert!(said.contains(&ModelEvent::Usage(Usage::new(7, 3))), "{said:?}");

    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].body["tools"][0]["name"], "add");
    assert_eq!(requests[1].body["system"][0]["text"], "You calculate.");
}

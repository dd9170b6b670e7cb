//! Whole turns of an agent at a server that goes wrong: how each ends, and that the session can go on.

use std::{pin::pin, sync::Arc, time::Duration};

use agentx::{
    Agent, ContainerId, ImageSpec, Runtime, ToolLoop, claude::messages::MessagesModel, tokio_host, tool_fn,
};
use agentx_core::{
    ErrorKind, ModelRequest, ModelSettings, Outcome, Reply, Result, Retry, ScriptedModel, ToolChoice,
};
use agentx_driver_claude::messages::{HttpRequest, HttpResponse, Transport};
use agentx_resource::{
    ApiSupply, BoxFuture,
    memory::{ManualClock, MemoryLlmProvider},
};
use agentx_tests::messages_server::{Fault, MessagesServer, check_body};
use futures::{
    FutureExt, StreamExt,
    future::{self, Either},
    stream,
};
use serde::Deserialize;
use serde_json::json;

use super::support::{KEY, TestClock, client};

/// It calls a tool, and answers with what the tool said.
fn server() -> MessagesServer {
    MessagesServer::start(ScriptedModel::new("m", |request: &ModelRequest| {
        Ok(match request.answer("count") {
            None => {
                Reply::thinking("Hm.").then_text("I count.").call("count", "count", json!({"of": "files"}))
            }
            Some(output) => Reply::text(format!("{}.", output.to_text())),
        })
    }))
}

#[derive(Deserialize)]
struct Of {
    of: String,
}

/// An agent, and what keeps it.
async fn agent(model: MessagesModel) -> (Runtime, Agent) {
    agent_with(model, ModelSettings::default()).await
}

async fn agent_with(model: MessagesModel, settings: ModelSettings) -> (Runtime, Agent) {
    let schema = json!({"type": "object", "properties": {"of": {"type": "string"}}});
    let tool = tool_fn("count", "Counts.", schema, async |of: Of| Ok(format!("42 {}", of.of)));
    let runtime = Runtime::builder(ToolLoop::new(model), tokio_host().unwrap())
        .tool(Arc::new(tool))
        .settings(settings)
        .build()
        .unwrap();
    let container = ContainerId::new("c").unwrap();
    runtime.create_container(&container).await.unwrap();
    let image = runtime.create_image(&container, ImageSpec::default()).await.unwrap();
    let agent = runtime.run(&image.image_id).await.unwrap();
    (runtime, agent)
}

/// The injected faults, and how the turn ends: with its answer, or so.
type Case = (Vec<Fault>, Option<(ErrorKind, Retry)>);

fn faults() -> Vec<Case> {
    let again = |fault: Fault, count| vec![fault; count];
    let response = |status, content_type: &str, body: &str| Fault::Response {
        status,
        headers: vec![("content-type".into(), content_type.into())],
        body: body.into(),
    };
    let over = Retry::Exhausted;
    vec![
        (again(Fault::RateLimited { retry_after: None }, 2), None),
        (again(Fault::RateLimited { retry_after: None }, 3), Some((ErrorKind::LimitExceeded, over))),
        (again(Fault::RateLimited { retry_after: Some(Duration::from_secs(7)) }, 2), None),
        (
            again(Fault::RateLimited { retry_after: Some(Duration::from_secs(61)) }, 1),
            Some((ErrorKind::LimitExceeded, Retry::After(Some(Duration::from_secs(61))))),
        ),
        (again(Fault::SpendLimit, 1), Some((ErrorKind::LimitExceeded, Retry::Never))),
        (again(Fault::Overloaded, 2), None),
        (again(Fault::Overloaded, 3), Some((ErrorKind::Unavailable, over))),
        (again(Fault::ApiError, 2), None),
        (again(Fault::ApiError, 3), Some((ErrorKind::Unavailable, over))),
        (again(Fault::ResetBefore, 2), None),
        (again(Fault::ResetBefore, 3), Some((ErrorKind::Unavailable, over))),
        (again(Fault::ResetAfter { events: 4 }, 1), None),
        (again(Fault::ResetAfter { events: 4 }, 2), Some((ErrorKind::Unavailable, over))),
        (again(Fault::Truncate { bytes: 800 }, 1), None),
        (again(Fault::Truncate { bytes: 800 }, 2), Some((ErrorKind::Truncated, over))),
        (again(Fault::ErrorEvent { events: 4, kind: "overloaded_error".into() }, 1), None),
        (
            again(Fault::ErrorEvent { events: 4, kind: "invalid_request_error".into() }, 1),
            Some((ErrorKind::InvalidInput, Retry::Never)),
        ),
        (again(Fault::ByteByByte, 1), None),
        (again(Fault::WrongContentType, 1), Some((ErrorKind::Corrupt, Retry::Never))),
        (again(response(200, "application/json", "{}"), 1), Some((ErrorKind::Corrupt, Retry::Never))),
        (
            again(response(200, "text/event-stream", "data: {\"type\":\"message_start\"}\n\n"), 1),
            Some((ErrorKind::Corrupt, Retry::Never)),
        ),
        (again(response(200, "text/event-stream", ""), 3), Some((ErrorKind::Truncated, over))),
        (again(response(400, "text/html", "<html>"), 1), Some((ErrorKind::InvalidInput, Retry::Never))),
        (again(response(401, "text/plain", "who?"), 1), Some((ErrorKind::Unauthenticated, Retry::Never))),
        (again(response(413, "text/plain", ""), 1), Some((ErrorKind::LimitExceeded, Retry::Never))),
    ]
}

#[tokio::test]
async fn each_fault_ends_the_turn_as_it_should_and_the_session_goes_on() {
    for (faults, end) in faults() {
        // Before the tool runs, and after it.
        for healthy in [0, 1] {
            let server = server();
            let (_runtime, agent) = agent(client(&server, TestClock::default())).await;
            if healthy == 1 {
                server.inject(Fault::Healthy);
            }
            for fault in &faults {
                server.inject(fault.clone());
            }
            let place = format!("{faults:?} after {healthy}");
            match (agent.ask("How many?").await, end) {
                (Ok(report), None) => {
                    assert!(matches!(report.outcome, Outcome::Completed), "{place}: {report:?}");
                    assert_eq!(report.text, "42 files.", "{place}");
                }
                (Err(error), Some(expected)) => {
                    assert_eq!((error.kind(), error.retry()), expected, "{place}: {error}");
                }
                (other, _) => panic!("{place}: {other:?}"),
            }
            // The server refuses a history that the API would refuse.
            let report = agent.ask("And now?").await.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(report.text, "42 files.", "{place}");
        }
    }
}

#[tokio::test]
async fn a_server_that_stands_still_or_only_pings_ends_the_turn() {
    for fault in [
        Fault::Stall { events: 0 },
        Fault::Stall { events: 4 },
        Fault::Pings { events: 2 },
        Fault::Pings { events: 4 },
    ] {
        for healthy in [0, 1] {
            let server = server();
            if healthy == 1 {
                server.inject(Fault::Healthy);
            }
            (0..3).for_each(|_| server.inject(fault.clone()));
            let clock = ManualClock::default();
            let (_runtime, agent) = agent(client(&server, clock.clone())).await;
            let time = async {
                server.stalled(1).await;
                loop {
                    clock.advance(Duration::from_mins(5));
                    tokio::task::yield_now().await;
                }
            };
            let Either::Left((ended, _)) = future::select(pin!(agent.ask("How many?")), pin!(time)).await;
            let error = ended.unwrap_err();
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::TimedOut, Retry::Exhausted),
                "{fault:?}: {error}"
            );
        }
    }
}

#[tokio::test]
async fn a_tool_that_must_be_called_must_be_called_once() {
    for (choice, forced) in [
        (ToolChoice::Any, json!({"type": "any"})),
        (ToolChoice::Tool("count".into()), json!({"type": "tool", "name": "count"})),
    ] {
        let server = server();
        let settings = ModelSettings::default().with_tool_choice(choice);
        let (_runtime, agent) = agent_with(client(&server, TestClock::default()), settings).await;
        assert_eq!(agent.ask("How many?").await.unwrap().text, "42 files.");
        let choices: Vec<_> =
            server.requests().iter().map(|request| request.body["tool_choice"].clone()).collect();
        assert_eq!(choices, [forced, json!({"type": "auto"})]);
    }
}

/// Answers with these bytes and the end, and keeps what it was sent.
#[derive(Debug)]
struct Answers {
    first: Vec<u8>,
    sent: std::sync::Mutex<Vec<serde_json::Value>>,
}

/// A simple answer.
const LATER: &str = include_str!("../../../agentx-driver-claude/src/messages/decoder/streams/text.jsonl");

fn stream_of(lines: &str) -> Vec<u8> {
    lines.lines().fold(String::new(), |stream, data| stream + "data: " + data + "\n\n").into_bytes()
}

impl Transport for Answers {
    fn send<'s, 'f>(&'s self, request: HttpRequest) -> BoxFuture<'f, Result<HttpResponse>>
    where
        's: 'f,
        Self: 'f,
    {
        let mut sent = self.sent.lock().unwrap();
        sent.push(serde_json::from_slice(&request.body).unwrap());
        let bytes = if sent.len() == 1 { self.first.clone() } else { stream_of(LATER) };
        let body = stream::iter([Ok(bytes.into())]).boxed();
        future::ready(Ok(HttpResponse::new(200, Vec::new(), body))).boxed()
    }
}

const STREAMS: [(&str, &str); 6] = [
    ("tools", include_str!("../../../agentx-driver-claude/src/messages/decoder/streams/tools.jsonl")),
    (
        "server_tools",
        include_str!("../../../agentx-driver-claude/src/messages/decoder/streams/server_tools.jsonl"),
    ),
    (
        "programmatic",
        include_str!("../../../agentx-driver-claude/src/messages/decoder/streams/programmatic.jsonl"),
    ),
    ("pause", include_str!("../../../agentx-driver-claude/src/messages/decoder/streams/pause.jsonl")),
    (
        "max_tokens",
        include_str!("../../../agentx-driver-claude/src/messages/decoder/streams/max_tokens.jsonl"),
    ),
    ("wild", include_str!("../../../agentx-driver-claude/src/messages/decoder/streams/wild.jsonl")),
];

#[tokio::test]
async fn an_answer_that_is_cut_off_anywhere_leaves_a_history_that_the_api_takes() {
    for (name, lines) in STREAMS {
        let whole = stream_of(lines);
        for end in (0..=whole.len()).step_by(11).chain([whole.len()]) {
            let answers =
                Arc::new(Answers { first: whole[..end].to_vec(), sent: std::sync::Mutex::default() });
            let supply = Arc::new(MemoryLlmProvider::new("test", ApiSupply::new(KEY)));
            let settings = agentx_driver_claude::messages::MessagesSettings::default().with_retries(0);
            let model = MessagesModel::new(supply, answers.clone(), Arc::new(TestClock::default()));
            let (_runtime, agent) = agent(model.with_settings(settings)).await;
            let first = agent.ask("Do it.").await;
            if end < whole.len() && !whole[..end].windows(12).any(|window| window == b"message_stop") {
                assert_eq!(first.unwrap_err().kind(), ErrorKind::Truncated, "{name} at {end}");
            }
            agent.ask("Go on.").await.unwrap();
            for body in answers.sent.lock().unwrap().iter() {
                check_body(body).unwrap_or_else(|problem| panic!("{name} at {end}: {problem} in {body}"));
            }
        }
    }
}

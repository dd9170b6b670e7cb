//! Spans and metrics, as OpenTelemetry's own library exports them.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod spans;
mod values;

use std::sync::Arc;

use agentx::{
    AgentBuilder, Error, ErrorKind, EventData, Model, Reply, Repositories, ScriptedModel, SoloAgent,
    Telemetry, ToolLoop,
    core::{ModelRequest, ModelSettings, ModelStream},
    tool_fn,
};
use futures::{FutureExt, StreamExt, stream};
use opentelemetry::{
    Value as Attribute,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use self::{
    spans::{Metrics, Spans},
    values::{Canary, PROMPT, SECRET},
};

fn telemetry() -> Telemetry {
    agentx::telemetry("scripted")
}

fn agent(model: impl Model, telemetry: &Telemetry) -> AgentBuilder {
    let settings = ModelSettings::default().with_model("model-1").with_max_tokens(100);
    let builder = AgentBuilder::new(ToolLoop::new(telemetry.model(model)).without_compactor());
    builder.name("ada").telemetry(telemetry).settings(settings).repositories(Repositories::memory())
}

fn schema() -> Value {
    json!({"type": "object"})
}

/// Calls `left` and `right` at once, and then says so.
fn both() -> ScriptedModel {
    ScriptedModel::new("model-1", |request: &ModelRequest| match request.answer("left") {
        None => Ok(Reply::text("Both.").call("left", "left", json!({"word": SECRET})).call(
            "right",
            "right",
            json!({}),
        )),
        Some(output) => Ok(Reply::text(format!("It is {}.", output.to_text()))),
    })
}

/// An agent with two tools that wait for each other, each with a span of its own inside.
async fn pair(telemetry: &Telemetry) -> SoloAgent {
    let met = Arc::new(Barrier::new(2));
    let tool = |name: &'static str, met: Arc<Barrier>| {
        tool_fn(name, "Waits.", schema(), move |_: Value| {
            let met = met.clone();
            async move {
                met.wait().await;
                let _inside = tracing::info_span!("inside", of = name).entered();
                Ok(format!("{name} {SECRET}"))
            }
        })
    };
    agent(both(), telemetry)
        .system_prompt(PROMPT)
        .tool(tool("left", met.clone()))
        .tool(tool("right", met))
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_turn_is_a_tree_with_the_names_of_the_conventions() {
    let spans = Spans::listen();
    let agent = pair(&telemetry()).await;
    let report = agent.ask("Go.").await.unwrap();
    let all = spans.finished();
    assert_eq!(
        spans::tree(&all),
        [
            "invoke_agent ada",
            "  chat model-1",
            "  chat model-1",
            "  execute_tool left",
            "    inside",
            "  execute_tool right",
            "    inside",
        ]
    );

    let turn = all.one("invoke_agent ada");
    assert_eq!(turn.span_kind, SpanKind::Internal);
    assert_eq!(turn.text("gen_ai.operation.name"), "invoke_agent");
    assert_eq!(turn.text("gen_ai.provider.name"), "scripted");
    assert_eq!(turn.text("gen_ai.agent.name"), "ada");
    assert_eq!(turn.text("gen_ai.conversation.id"), agent.session_id().as_str());
    assert_eq!(turn.text("gen_ai.request.model"), "model-1");
    assert_eq!(turn.text("agentx.turn.outcome"), "completed");
    assert_eq!(turn.number("gen_ai.usage.input_tokens"), report.usage.total_input());
    assert_eq!(turn.number("gen_ai.usage.output_tokens"), report.usage.output_tokens);
    assert_eq!((&turn.status, turn.get("error.type")), (&Status::Unset, None));

    let chats = all.named("chat model-1");
    assert_eq!(chats[0].span_kind, SpanKind::Client);
    assert_eq!(chats[0].text("gen_ai.operation.name"), "chat");
    assert_eq!(chats[0].text("gen_ai.provider.name"), "scripted");
    assert_eq!(chats[0].number("gen_ai.request.max_tokens"), 100);
    assert_eq!(chats[0].text("gen_ai.response.model"), "model-1");
    assert_eq!(chats[0].text("gen_ai.response.finish_reasons"), r#"["tool_use"]"#);
    assert_eq!(chats[1].text("gen_ai.response.finish_reasons"), r#"["end_turn"]"#);
    assert!(matches!(chats[0].get("gen_ai.response.time_to_first_chunk"), Some(Attribute::F64(_))));
    let used: u64 = chats.iter().map(|chat| chat.number("gen_ai.usage.output_tokens")).sum();
    assert_eq!(used, report.usage.output_tokens);

    let left = all.one("execute_tool left");
    assert_eq!(left.text("gen_ai.operation.name"), "execute_tool");
    assert_eq!(left.text("gen_ai.tool.name"), "left");
    assert_eq!(left.text("gen_ai.tool.type"), "function");
    assert_eq!(left.text("gen_ai.tool.call.id"), "call_left_1");

    // Both ran at the same time, and neither is in the other.
    let right = all.one("execute_tool right");
    assert!(left.start_time < right.end_time && right.start_time < left.end_time);
    all.assert_without(&[PROMPT, SECRET, "Go.", "Both."]);
}

#[tokio::test]
async fn content_is_shown_on_request_and_secrets_never() {
    let spans = Spans::listen();
    let agent = pair(&telemetry().with_content().with_secrets([SECRET.into()])).await;
    agent.ask(format!("Go with {SECRET}, {}.", "x".repeat(100_000))).await.unwrap();
    let all = spans.finished();
    all.assert_without(&[SECRET]);
    let chats = all.named("chat model-1");
    let json = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    assert_eq!(
        json(chats[0].text("gen_ai.system_instructions")),
        json!([{"type": "text", "content": PROMPT}])
    );
    let asked = json(chats[1].text("gen_ai.input.messages"));
    let roles: Vec<_> = asked.as_array().unwrap().iter().map(|message| message["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool"]);
    let said = asked[0]["parts"][0]["content"].as_str().unwrap();
    assert!(
        said.starts_with("Go with [redacted], xxx") && said.ends_with("more bytes are left out]"),
        "{said}"
    );
    assert!(said.len() < 17 << 10);
    assert_eq!(asked[1]["parts"][1]["type"], "tool_call");
    assert_eq!(asked[2]["parts"][0]["type"], "tool_call_response");
    let answer = json(chats[1].text("gen_ai.output.messages"));
    assert_eq!(answer[0]["parts"][0]["content"], "It is left [redacted].");
    assert_eq!(answer[0]["finish_reason"], "end_turn");
    let left = all.one("execute_tool left");
    assert_eq!(json(left.text("gen_ai.tool.call.arguments")), json!({"word": "[redacted]"}));
    assert_eq!(left.text("gen_ai.tool.call.result"), "left [redacted]");
}

/// Fails, or says nothing at all.
#[derive(Debug)]
enum Broken {
    Fails,
    Hangs,
}

impl Model for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn call(&self, _: ModelRequest) -> ModelStream {
        match self {
            Self::Fails => {
                let error = Error::new(ErrorKind::LimitExceeded, "call model").with_message(SECRET);
                stream::iter([Err(error)]).boxed()
            }
            Self::Hangs => stream::pending().boxed(),
        }
    }
}

#[tokio::test]
async fn what_fails_and_what_is_interrupted_closes_its_spans() {
    let spans = Spans::listen();
    let telemetry = telemetry();
    let failing = agent(Broken::Fails, &telemetry).build().await.unwrap();
    failing.ask("Go.").await.unwrap_err();
    let all = spans.finished();
    assert_eq!(spans::tree(&all), ["invoke_agent ada", "  chat model-1"]);
    for span in &all.0 {
        assert_eq!(span.text("error.type"), "limit_exceeded");
        assert!(matches!(span.status, Status::Error { .. }));
    }
    assert_eq!(all.one("invoke_agent ada").text("agentx.turn.outcome"), "failed");
    all.assert_without(&[SECRET]);

    let hanging = agent(Broken::Hangs, &telemetry).build().await.unwrap();
    let turn = hanging.send("Go.").await.unwrap();
    tokio::task::yield_now().await;
    hanging.interrupt().await;
    turn.finish().await.unwrap();
    let all = spans.finished();
    assert_eq!(spans::tree(&all), ["invoke_agent ada", "  chat model-1"]);
    assert_eq!(all.one("chat model-1").text("error.type"), "cancelled");
    assert_eq!(all.one("invoke_agent ada").text("error.type"), "interrupted");
    assert_eq!(all.one("invoke_agent ada").text("agentx.turn.outcome"), "interrupted");

    // A tool that hangs, one that fails, one that tells a failure, and one that panics.
    let calls = ScriptedModel::new("model-1", |_| {
        let call = |reply: Reply, name| reply.call(name, name, json!({}));
        Ok(["hangs", "fails", "tells", "panics"].into_iter().fold(Reply::default(), call))
    });
    let tools = agent(calls, &telemetry)
        .tool(tool_fn("hangs", "", schema(), |_: Value| std::future::pending::<agentx::Result<String>>()))
        .tool(tool_fn("fails", "", schema(), |_: Value| async {
            Err::<String, _>(Error::new(ErrorKind::NotFound, "look").with_path(SECRET))
        }))
        .tool(tool_fn("tells", "", schema(), |_: Value| async { Ok(agentx::ToolOutput::error(SECRET)) }))
        .tool(tool_fn("panics", "", schema(), |input: Value| async move {
            assert!(input.is_null(), "a planted panic");
            Ok(String::new())
        }))
        .build()
        .await
        .unwrap();
    let mut turn = tools.send("Go.").await.unwrap();
    let mut ended = 0;
    while ended < 3 {
        ended += usize::from(matches!(turn.next().await.unwrap().data, EventData::ToolFailed { .. }));
    }
    tools.interrupt().await;
    let all = spans.finished();
    let errors =
        [("hangs", "cancelled"), ("fails", "not_found"), ("tells", "tool_error"), ("panics", "panic")];
    for (tool, error) in errors {
        let span = all.one(&format!("execute_tool {tool}"));
        assert_eq!(span.text("error.type"), error);
        assert_eq!(span.parent_span_id, all.one("invoke_agent ada").span_context.span_id());
    }
    all.assert_without(&[SECRET]);
}

/// A sub-agent is a turn within a tool call.
#[tokio::test]
async fn a_sub_agent_is_a_tree_in_the_tree() {
    let spans = Spans::listen();
    let telemetry = telemetry();
    let reader = ScriptedModel::new("reader-1", |_| Ok(Reply::text("Whales.")));
    let reader = telemetry.driver(ToolLoop::new(telemetry.model(reader)));
    let asks = ScriptedModel::new("model-1", |request: &ModelRequest| match request.answer("read") {
        None => Ok(Reply::default().call("read", "reader", json!({"prompt": "What is it about?"}))),
        Some(output) => Ok(Reply::text(output.to_text())),
    });
    let builder = agent(asks, &telemetry).tool(agentx::AgentTool::new("reader", "Reads.", reader));
    builder.build().await.unwrap().ask("Go.").await.unwrap();
    assert_eq!(
        spans::tree(&spans.finished()),
        [
            "invoke_agent ada",
            "  chat model-1",
            "  chat model-1",
            "  execute_tool reader",
            "    invoke_agent reader",
            "      chat reader-1",
        ]
    );
}

#[tokio::test]
async fn metrics_are_measured_without_spans_too() {
    let metrics = Metrics::listen();
    let report = pair(&telemetry()).await.ask("Go.").await.unwrap();
    agent(Broken::Fails, &telemetry()).build().await.unwrap().ask("Go.").await.unwrap_err();
    let measured = metrics.collect();
    let measured = spans::by_name(&measured);
    let names: Vec<&str> = measured.iter().map(|metric| metric.name()).collect();
    assert_eq!(
        names,
        [
            "gen_ai.client.operation.duration",
            "gen_ai.client.operation.time_to_first_chunk",
            "gen_ai.client.token.usage",
        ]
    );
    let AggregatedMetrics::F64(MetricData::Histogram(durations)) = measured[0].data() else { panic!() };
    let mut counts: Vec<_> = durations
        .data_points()
        .map(|point| {
            let mut attributes: Vec<_> =
                point.attributes().map(|one| format!("{}={}", one.key, one.value)).collect();
            attributes.sort();
            (attributes.join(" "), point.count())
        })
        .collect();
    counts.sort();
    let common = "gen_ai.operation.name=chat gen_ai.provider.name=scripted gen_ai.request.model=model-1";
    assert_eq!(
        counts,
        [
            (format!("error.type=limit_exceeded {common}"), 1),
            (format!("{common} gen_ai.response.model=model-1"), 2),
        ]
    );
    let AggregatedMetrics::U64(MetricData::Histogram(tokens)) = measured[2].data() else { panic!() };
    for (kind, used) in [("input", report.usage.total_input()), ("output", report.usage.output_tokens)] {
        let is_kind = |one: &opentelemetry::KeyValue| {
            one.key.as_str() == "gen_ai.token.type" && one.value.as_str() == kind
        };
        let point = tokens.data_points().find(|point| point.attributes().any(is_kind)).unwrap();
        assert_eq!((point.sum(), point.count()), (used, 2), "{kind}");
    }
}

/// Nobody listens: what is wrapped works as it does alone.
#[tokio::test]
async fn without_a_subscriber_nothing_changes() {
    let canary = Canary::default();
    let model = telemetry().with_content().model(canary.clone());
    let mut answer = model.call(ModelRequest::default());
    assert!(canary.is_given(&answer), "the model's own stream is handed on, without a wrapper");
    let report = pair(&telemetry()).await.send("Go.").await.unwrap().finish().await.unwrap();
    assert!(report.text.starts_with("It is left"), "{report:?}");
    assert!(answer.next().now_or_never().is_some());
}

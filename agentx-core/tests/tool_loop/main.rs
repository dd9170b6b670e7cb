//! The tool loop: what it asks, runs, refuses, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod approvals;
mod budgets;
mod compaction;
mod frame;
mod hooks;
mod subagents;
#[path = "../support/mod.rs"]
mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use agentx_core::{
    BlockChange, BlockKind, Budget, BudgetKind, Decision, Driver, DriverEvent, Error, ErrorKind, MessageBody,
    Model, ModelEvent, ModelRequest, ModelStream, Outcome, Permission, PermissionRequest, Reply, Result,
    ScriptedModel, StopReason, Tool, ToolLoop, ToolOutput, ToolSet, Turn, tool_fn,
};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, executor::block_on, future, stream};
use serde_json::{Value, json};
use support::{Echo, StillClock, user};

fn turn(tools: Vec<Arc<dyn Tool>>) -> Turn {
    Turn::new(vec![user("go")], Arc::new(StillClock)).with_tools(ToolSet::of(tools).unwrap())
}

fn events(driver: &impl Driver, turn: Turn) -> Vec<DriverEvent> {
    let events: Vec<_> = block_on(driver.start(turn).collect());
    let events: Vec<_> = events.into_iter().flat_map(one_by_one).collect();
    let ends = events.iter().filter(|event| matches!(event, DriverEvent::End(_))).count();
    assert_eq!(ends, 1, "exactly one end: {events:?}");
    assert!(matches!(events.last(), Some(DriverEvent::End(_))));
    events
}

fn one_by_one(event: DriverEvent) -> Vec<DriverEvent> {
    match event {
        DriverEvent::Together(events) => events,
        event => vec![event],
    }
}

fn outcome(events: &[DriverEvent]) -> Outcome {
    match events.last() {
        Some(DriverEvent::End(end)) => end.outcome.clone(),
        other => panic!("no end: {other:?}"),
    }
}

fn results(events: &[DriverEvent]) -> Vec<(String, ToolOutput)> {
    events
        .iter()
        .filter_map(|event| match event {
            DriverEvent::ToolEnd(result) => Some((result.tool_call_id.clone(), result.output.clone())),
            _ => None,
        })
        .collect()
}

fn texts(events: &[DriverEvent]) -> String {
    events
        .iter()
        .filter_map(|event| match event {
            DriverEvent::Model(ModelEvent::Block { change: BlockChange::Text(text), .. }) => Some(&**text),
            _ => None,
        })
        .collect()
}

fn call(label: &str, what: &str) -> Reply {
    Reply::default().call(label, "echo", json!({"do": what}))
}

#[test]
fn tools_run_and_their_results_reach_the_model() {
    let model = ScriptedModel::new("m", |request| match request.answer("a") {
        None => Ok(Reply::text("look").call("a", "echo", json!({"x": 1}))),
        Some(output) => Ok(Reply::text(format!("got {}", output.to_text()))),
    });
    let events = events(&ToolLoop::new(model), turn(vec![Arc::new(Echo::new())]));
    assert!(matches!(outcome(&events), Outcome::Completed));
    let text = texts(&events);
    assert_eq!(text, r#"lookgot {"x":1}"#);
}

#[test]
fn a_failure_a_panic_and_an_unknown_tool_are_told_to_the_model() {
    let first = call("f", "fail").call("p", "echo", json!({"do": "panic"})).call("u", "nothing", json!({}));
    let model = ScriptedModel::replies([first, Reply::text("done")]);
    let events = events(&ToolLoop::new(model), turn(vec![Arc::new(Echo::new())]));
    let results = results(&events);
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|(_, output)| output.is_error()));
    let text = |label: &str| results.iter().find(|(id, _)| id.contains(label)).unwrap().1.to_text();
    assert_eq!(text("_f_"), "echo: not found: as asked");
    assert!(text("_p_").contains("panicked"));
    assert!(text("_u_").contains("no tool called"));
    assert!(matches!(outcome(&events), Outcome::Completed));
}

#[test]
fn calls_of_one_answer_run_in_parallel_up_to_the_bound() {
    for (bound, expected) in [(8, 3), (2, 2), (1, 1)] {
        let (echo, open) = Echo::gated();
        let (running, most) = (echo.running.clone(), echo.most.clone());
        let replies =
            [call("a", "x").call("b", "echo", json!({})).call("c", "echo", json!({})), Reply::text("ok")];
        let driver = ToolLoop::new(ScriptedModel::replies(replies)).with_parallel_tools(bound);
        let mut stream = driver.start(turn(vec![Arc::new(echo)]));
        block_on(async {
            // Everything up to the gate.
            while let Some(event) = future::poll_fn(|cx| match stream.poll_next_unpin(cx) {
                std::task::Poll::Ready(event) => std::task::Poll::Ready(event),
                std::task::Poll::Pending => std::task::Poll::Ready(None),
            })
            .await
            {
                assert!(!matches!(event, DriverEvent::End(_)));
            }
            assert_eq!(running.load(Ordering::SeqCst), expected);
            open.send(()).unwrap();
            while stream.next().await.is_some() {}
        });
        assert_eq!(most.load(Ordering::SeqCst), expected);
    }
}

#[test]
fn an_event_is_told_before_its_effect() {
    let echo = Echo::new();
    let most = echo.most.clone();
    let driver = ToolLoop::new(ScriptedModel::replies([call("a", "x"), Reply::text("ok")]));
    let mut stream = driver.start(turn(vec![Arc::new(echo)]));
    block_on(async {
        loop {
            match stream.next().await.unwrap() {
                DriverEvent::ToolStart(_) => break,
                _ => assert_eq!(most.load(Ordering::SeqCst), 0),
            }
        }
        assert_eq!(most.load(Ordering::SeqCst), 0, "it runs only when the stream is polled again");
        assert!(matches!(stream.next().await, Some(DriverEvent::ToolEnd(_))));
        assert_eq!(most.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn dropping_the_stream_drops_the_tools() {
    let (echo, _open) = Echo::gated();
    let running = echo.running.clone();
    let driver = ToolLoop::new(ScriptedModel::replies([call("a", "x")]));
    let mut stream = driver.start(turn(vec![Arc::new(echo)]));
    while stream.next().now_or_never().is_some() {}
    assert_eq!(running.load(Ordering::SeqCst), 1);
    drop(stream);
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[derive(Debug)]
struct Judge(fn(&str) -> Result<Decision>);

#[async_trait]
impl Permission for Judge {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        (self.0)(request.call.input["do"].as_str().unwrap_or_default())
    }
}

#[test]
fn a_permission_allows_edits_denies_and_fails_closed() {
    let judge = Judge(|what| match what {
        "deny" => Ok(Decision::Deny("no".into())),
        "edit" => Ok(Decision::AllowWith(json!({"do": "edited"}))),
        "error" => Err(Error::new(ErrorKind::Unavailable, "ask")),
        "panic-judge" => panic!("as asked"),
        _ => Ok(Decision::Allow),
    });
    let mut first = Reply::default();
    for what in ["deny", "edit", "error", "panic-judge", "fine"] {
        first = first.call(what, "echo", json!({"do": what}));
    }
    let model = ScriptedModel::replies([first, Reply::text("done")]);
    let turn = turn(vec![Arc::new(Echo::new())]).with_permission(Arc::new(judge));
    let events = events(&ToolLoop::new(model), turn);
    let results = results(&events);
    let output = |label: &str| &results.iter().find(|(id, _)| id.contains(&format!("_{label}_"))).unwrap().1;
    assert_eq!(output("deny"), &ToolOutput::ExecutionDenied("no".into()));
    assert_eq!(output("edit"), &ToolOutput::text(r#"{"do":"edited"}"#));
    assert!(matches!(output("error"), ToolOutput::ExecutionDenied(_)));
    assert!(matches!(output("panic-judge"), ToolOutput::ExecutionDenied(_)));
    assert_eq!(output("fine"), &ToolOutput::text(r#"{"do":"fine"}"#));
    let started = events.iter().filter(|event| matches!(event, DriverEvent::ToolStart(_))).count();
    assert_eq!(started, 2);
}

#[test]
fn stop_reasons_are_told_apart() {
    for (reason, expected) in [
        (StopReason::EndTurn, "completed"),
        (StopReason::MaxTokens, "truncated"),
        (StopReason::ContextWindowExceeded, "truncated"),
        (StopReason::Refusal, "refused"),
        (StopReason::Other("new_reason".into()), "completed"),
    ] {
        let model = ScriptedModel::replies([Reply::text("x").stop(reason)]);
        assert_eq!(outcome(&events(&ToolLoop::new(model), turn(vec![]))).as_str(), expected);
    }
}

#[test]
fn a_cut_off_answer_runs_no_tool() {
    let model = ScriptedModel::replies([call("a", "x").stop(StopReason::MaxTokens)]);
    let events = events(&ToolLoop::new(model), turn(vec![Arc::new(Echo::new())]));
    assert!(matches!(outcome(&events), Outcome::Truncated));
    assert!(!events.iter().any(|event| matches!(event, DriverEvent::ToolStart(_))));
}

#[test]
fn a_pause_is_continued_within_the_bound() {
    let model = ScriptedModel::replies([Reply::text("a").stop(StopReason::PauseTurn), Reply::text("b")]);
    assert!(matches!(outcome(&events(&ToolLoop::new(model), turn(vec![]))), Outcome::Completed));
    let endless = ScriptedModel::new("m", |_| Ok(Reply::text("a").stop(StopReason::PauseTurn)));
    let bounded = turn(vec![]).with_budget(Budget::default().with_steps(3));
    let events = events(&ToolLoop::new(endless), bounded);
    assert!(matches!(outcome(&events), Outcome::Budget(BudgetKind::Steps)));
}

#[test]
fn budgets_end_the_turn() {
    let endless = || ToolLoop::new(ScriptedModel::new("m", |_| Ok(call("a", "x"))));
    let kind = |budget: Budget| match outcome(&events(
        &endless(),
        turn(vec![Arc::new(Echo::new())]).with_budget(budget),
    )) {
        Outcome::Budget(kind) => kind,
        other => panic!("{other}"),
    };
    assert_eq!(kind(Budget::default().with_steps(2)), BudgetKind::Steps);
    assert_eq!(kind(Budget::default().with_tool_calls(2)), BudgetKind::ToolCalls);
    assert_eq!(kind(Budget::default().with_output_tokens(1)), BudgetKind::OutputTokens);
    assert_eq!(kind(Budget::default().with_duration(Duration::ZERO)), BudgetKind::Duration);
}

/// A model whose stream is given.
#[derive(Debug)]
struct Streams(Vec<Result<ModelEvent>>);

impl Model for Streams {
    fn name(&self) -> &'static str {
        "streams"
    }

    fn call(&self, _request: ModelRequest) -> ModelStream {
        stream::iter(self.0.clone()).boxed()
    }
}

#[test]
fn what_a_tool_answers_is_bounded_also_where_it_fails() {
    let schema = || json!({"type": "object"});
    let large = || "x".repeat(9 << 20);
    let text = tool_fn("text", "", schema(), move |_: Value| future::ready(Ok(large())));
    let error = tool_fn("error", "", schema(), move |_: Value| {
        let error = Error::new(ErrorKind::Internal, "run").with_message(large());
        future::ready(Err::<String, _>(error))
    });
    let deep = tool_fn("deep", "", schema(), |_: Value| {
        future::ready(Ok((0..200).fold(Value::Null, |value, _| json!([value]))))
    });
    let calls = ["text", "error", "deep"]
        .into_iter()
        .fold(Reply::default(), |reply, tool| reply.call(tool, tool, json!({})));
    let model = ScriptedModel::replies([calls, Reply::text("done")]);
    let results =
        results(&events(&ToolLoop::new(model), turn(vec![Arc::new(text), Arc::new(error), Arc::new(deep)])));
    assert_eq!(results.len(), 3);
    for (id, output) in results {
        assert!(output.to_text().len() < (8 << 20) + 100, "{id}");
        assert_eq!(output.is_error(), !id.contains("_text_"), "{id}");
    }
}

#[test]
fn no_model_sees_an_error_of_an_earlier_turn() {
    let model = ScriptedModel::new("m", |request| {
        Ok(Reply::text(request.messages.iter().map(MessageBody::role).collect::<Vec<_>>().join(" ")))
    });
    let mut turn = turn(vec![]);
    let mut error = user("");
    error.body = MessageBody::Error { content: "it broke".into(), code: None };
    turn.history = vec![user("one"), error, user("two")];
    let events = events(&ToolLoop::new(model), turn);
    let text = texts(&events);
    assert_eq!(text, "user user");
}

/// A model that never stops talking.
#[derive(Debug)]
struct Endless;

impl Model for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn call(&self, _request: ModelRequest) -> ModelStream {
        let start = ModelEvent::Block { index: 0, change: BlockChange::Start(BlockKind::Text) };
        let text = ModelEvent::Block { index: 0, change: BlockChange::Text("x".repeat(1 << 20)) };
        stream::iter([Ok(start)]).chain(stream::repeat(Ok(text))).boxed()
    }
}

#[test]
fn an_answer_without_bounds_ends_the_turn() {
    let mut stream = ToolLoop::new(Endless).start(turn(vec![]));
    let mut events = 0;
    let end = loop {
        match block_on(stream.next()).unwrap() {
            DriverEvent::End(end) => break end,
            _ => events += 1,
        }
    };
    assert!(matches!(end.outcome, Outcome::Failed(error) if error.kind() == ErrorKind::LimitExceeded));
    assert_eq!(events, 64, "the start and 63 MiB");
}

#[test]
fn an_answer_without_an_end_is_an_error() {
    let cut = Streams(vec![Ok(ModelEvent::Start { model: "m".into() })]);
    match outcome(&events(&ToolLoop::new(cut), turn(vec![]))) {
        Outcome::Failed(error) => assert_eq!(error.kind(), ErrorKind::Truncated),
        other => panic!("{other}"),
    }
    let failing = Streams(vec![Err(Error::new(ErrorKind::Unavailable, "call model"))]);
    match outcome(&events(&ToolLoop::new(failing), turn(vec![]))) {
        Outcome::Failed(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
        other => panic!("{other}"),
    }
}

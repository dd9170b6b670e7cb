//! Agents that a tool call asks.

use std::sync::{Arc, Mutex, atomic::Ordering};

use agentx_core::{
    AgentTool, ApprovalId, Approvals, Budget, BudgetKind, Decision, Driver, DriverEvent, Ledger, ModelEvent,
    NestedStep, Outcome, Permission, PermissionRequest, Reply, Result, ScriptedModel, Spent, Tool, ToolLoop,
    ToolOutput, ToolSet, Turn, TurnEnd, Usage,
};
use async_trait::async_trait;
use futures::{
    FutureExt, StreamExt,
    executor::{LocalPool, block_on},
    task::LocalSpawnExt,
};
use serde_json::json;

use crate::{call, events, outcome, results, support::Echo, turn};

/// An agent that asks `echo` once, and then says what it heard.
fn helper(echo: Echo) -> AgentTool {
    let model = ScriptedModel::new("helper", |request| match request.answer("h") {
        None => Ok(call("h", "x")),
        Some(output) => Ok(Reply::text(format!("heard {}", output.to_text()))),
    });
    let tools: [Arc<dyn Tool>; 1] = [Arc::new(echo)];
    AgentTool::new("helper", "Helps.", ToolLoop::new(model)).with_tools(ToolSet::of(tools).unwrap())
}

fn asks(tool: &str) -> ToolLoop<ScriptedModel> {
    let ask = Reply::default().call("a", tool, json!({"prompt": "help me"}));
    ToolLoop::new(ScriptedModel::replies([ask, Reply::text("done")]))
}

fn spent(events: &[DriverEvent]) -> Spent {
    match events.last() {
        Some(DriverEvent::End(TurnEnd { spent, .. })) => spent.unwrap(),
        other => panic!("{other:?}"),
    }
}

/// What happened within calls, in short.
fn nested(events: &[DriverEvent]) -> Vec<String> {
    events
        .iter()
        .filter_map(|event| match event {
            DriverEvent::Nested(nested) => Some(match &nested.step {
                NestedStep::Start { prompt } => format!("{} {prompt}", nested.agent),
                NestedStep::Driver(event) => match &**event {
                    DriverEvent::ToolStart(call) => format!("start {}", call.name),
                    DriverEvent::ToolEnd(result) => format!("end {}", result.output.to_text()),
                    DriverEvent::End(end) => end.outcome.to_string(),
                    _ => return None,
                },
                _ => return None,
            }),
            _ => None,
        })
        .collect()
}

#[test]
fn its_last_words_are_the_result_its_events_are_told_and_its_use_is_counted() {
    let all = events(&asks("helper"), turn(vec![Arc::new(helper(Echo::new()))]));
    assert_eq!(results(&all)[0].1, ToolOutput::text(r#"heard {"do":"x"}"#));
    assert_eq!(nested(&all), ["helper help me", "start echo", r#"end {"do":"x"}"#, "completed"]);

    let used = |events: &[DriverEvent]| {
        let mut sum = Usage::default();
        for event in events {
            let event = match event {
                DriverEvent::Nested(nested) => match &nested.step {
                    NestedStep::Driver(event) => event,
                    _ => continue,
                },
                event => event,
            };
            if let DriverEvent::Model(ModelEvent::Usage(usage)) = event {
                sum += *usage;
            }
        }
        sum
    };
    let Spent { usage, steps, tool_calls, turns, .. } = spent(&all);
    assert_eq!((steps, tool_calls, turns), (4, 2, 2));
    assert_eq!(usage, used(&all));
    assert!(usage.output_tokens > 0);
}

#[test]
fn its_own_bounds_end_it_and_the_caller_goes_on() {
    let bounded = helper(Echo::new()).with_budget(Budget::default().with_steps(1));
    let events = events(&asks("helper"), turn(vec![Arc::new(bounded)]));
    assert!(
        matches!(&results(&events)[0].1, ToolOutput::ErrorText(why) if why.contains("budget of model calls"))
    );
    assert!(matches!(outcome(&events), Outcome::Completed));
}

#[test]
fn the_callers_bounds_hold_for_it_and_so_do_those_of_the_session() {
    let all = events(
        &asks("helper"),
        turn(vec![Arc::new(helper(Echo::new()))]).with_budget(Budget::default().with_steps(2)),
    );
    assert_eq!(nested(&all).last().unwrap(), "the shared budget of model calls is used up");
    assert!(matches!(outcome(&all), Outcome::Budget(BudgetKind::Steps)));

    let session = Ledger::new(Budget::unbounded().with_tool_calls(1), Spent::default());
    let turn = turn(vec![Arc::new(helper(Echo::new()))]).with_ledger(session.clone());
    let all = events(&asks("helper"), turn);
    assert_eq!(nested(&all).last().unwrap(), "the shared budget of tool calls is used up");
    // The caller asks its model once more: that is no tool call.
    assert!(matches!(outcome(&all), Outcome::Completed));
    assert_eq!(session.spent().tool_calls, 1);
    assert_eq!(session.spent().usage, spent(&all).usage);
}

#[derive(Debug)]
struct NoEcho;

#[async_trait]
impl Permission for NoEcho {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        Ok(match request.call.name.as_str() {
            "echo" => Decision::Deny("no echo".to_owned()),
            _ => Decision::Allow,
        })
    }
}

#[test]
fn the_callers_permission_holds_for_it() {
    let turn = turn(vec![Arc::new(helper(Echo::new()))]).with_permission(Arc::new(NoEcho));
    let events = events(&asks("helper"), turn);
    assert_eq!(nested(&events), ["helper help me", "end no echo", "completed"]);
}

#[test]
fn what_it_announces_begins_no_earlier_than_the_next_poll() {
    let echo = Echo::new();
    let most = echo.most.clone();
    let mut stream = asks("helper").start(turn(vec![Arc::new(helper(echo))]));
    block_on(async {
        while !matches!(nested(&[stream.next().await.unwrap()]).first(), Some(told) if told == "start echo") {
            assert_eq!(most.load(Ordering::SeqCst), 0);
        }
        assert_eq!(most.load(Ordering::SeqCst), 0, "it was only announced");
        assert!(matches!(stream.next().await, Some(DriverEvent::Nested(_))));
        assert_eq!(most.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn it_ends_with_its_caller() {
    let (echo, _open) = Echo::gated();
    let running = echo.running.clone();
    let mut stream = asks("helper").start(turn(vec![Arc::new(helper(echo))]));
    while stream.next().now_or_never().is_some() {}
    assert_eq!(running.load(Ordering::SeqCst), 1);
    drop(stream);
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

#[test]
fn agents_call_agents_only_so_deep() {
    let deep = |depth: u32| {
        let mut tool = helper(Echo::new()).with_max_depth(depth);
        for _ in 0..3 {
            let tools: [Arc<dyn Tool>; 1] = [Arc::new(tool)];
            tool = AgentTool::new("helper", "Helps.", asks("helper"))
                .with_tools(ToolSet::of(tools).unwrap())
                .with_max_depth(depth);
        }
        let mut turn: Turn = turn(vec![Arc::new(tool)]);
        turn.budget = Budget::unbounded();
        spent(&events(&asks("helper"), turn)).turns
    };
    assert_eq!(deep(4), 5);
    assert_eq!(deep(3), 4);
    assert_eq!(deep(1), 2);
}

#[test]
fn a_prompt_that_is_none_and_a_call_outside_of_a_loop_are_errors() {
    for input in [json!({}), json!({"prompt": " "}), json!({"prompt": 1})] {
        let ask = Reply::default().call("a", "helper", input);
        let driver = ToolLoop::new(ScriptedModel::replies([ask, Reply::text("done")]));
        let events = events(&driver, turn(vec![Arc::new(helper(Echo::new()))]));
        assert!(results(&events)[0].1.is_error());
        assert_eq!(nested(&events), [""; 0]);
    }
    let context = agentx_core::ToolContext::new("1", Arc::new(crate::support::StillClock));
    assert!(block_on(helper(Echo::new()).call(json!({"prompt": "x"}), context)).is_err());
}

#[test]
fn several_run_at_the_same_time_and_each_event_is_told_under_its_own_call() {
    let (echo, open) = Echo::gated();
    let (running, most) = (echo.running.clone(), echo.most.clone());
    let ask = ["a", "b", "c"]
        .into_iter()
        .fold(Reply::default(), |reply, label| reply.call(label, "helper", json!({"prompt": label})));
    let driver = ToolLoop::new(ScriptedModel::replies([ask, Reply::text("done")]));
    let stream = driver.start(turn(vec![Arc::new(helper(echo))]));
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut pool = LocalPool::new();
    let kept = told.clone();
    let turn = async move {
        let mut stream = stream;
        while let Some(event) = stream.next().await {
            kept.lock().unwrap().push(event);
        }
    };
    pool.spawner().spawn_local(turn).unwrap();
    pool.run_until_stalled();
    assert_eq!(running.load(Ordering::SeqCst), 3);
    open.send(()).unwrap();
    pool.run_until_stalled();
    let told = told.lock().unwrap().clone();
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert_eq!(results(&told).len(), 3);
    for (call_id, _) in results(&told) {
        let own: Vec<_> = told
            .iter()
            .filter(|event| matches!(event, DriverEvent::Nested(nested) if nested.call_id == call_id))
            .cloned()
            .collect();
        let asked = call_id.split('_').nth(1).unwrap();
        assert_eq!(
            nested(&own),
            [&format!("helper {asked}"), "start echo", r#"end {"do":"x"}"#, "completed"]
        );
    }
}

/// Asks about `echo`, and is answered at once.
#[derive(Debug)]
struct AsksAboutEcho;

#[async_trait]
impl Permission for AsksAboutEcho {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        Ok(match request.call.name.as_str() {
            "echo" => Decision::Ask("may it?".to_owned()),
            _ => Decision::Allow,
        })
    }
}

#[async_trait]
impl Approvals for AsksAboutEcho {
    fn fresh_id(&self) -> ApprovalId {
        ApprovalId::new("appr_1").unwrap()
    }

    async fn answer(&self, _: &ApprovalId) -> Result<Decision> {
        Ok(Decision::AllowWith(json!({"do": "less"})))
    }
}

#[test]
fn its_calls_wait_for_the_callers_approvals() {
    let turn = turn(vec![Arc::new(helper(Echo::new()))])
        .with_permission(Arc::new(AsksAboutEcho))
        .with_approvals(Arc::new(AsksAboutEcho));
    let events = events(&asks("helper"), turn);
    let asked = events.iter().any(|event| match event {
        DriverEvent::Nested(nested) => matches!(
            &nested.step,
            NestedStep::Driver(event) if matches!(&**event, DriverEvent::ApprovalRequested(_))
        ),
        _ => false,
    });
    assert!(asked);
    assert!(nested(&events).contains(&r#"end {"do":"less"}"#.to_owned()), "{:?}", nested(&events));
}

//! A driver whose agent asks its model by itself has its tools run as the loop runs them.

use std::sync::Arc;

use agentx_core::{
    Budget, BudgetKind, Decision, DriverEvent, OutcomeKind, PermissionRequest, Result, Tool, ToolCall,
    ToolSet, TurnFrame,
};
use async_trait::async_trait;
use futures::{StreamExt, executor::block_on};
use serde_json::json;

use super::{support::Echo, turn};

#[derive(Debug)]
struct NotTwo;

#[async_trait]
impl agentx_core::Permission for NotTwo {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        Ok(match request.call.input["x"].as_i64() {
            Some(2) => Decision::Deny("not two".to_owned()),
            Some(3) => Decision::AllowWith(json!({"x": 30})),
            _ => Decision::Allow,
        })
    }
}

fn told(event: &DriverEvent) -> String {
    match event {
        DriverEvent::ToolStart(call) => format!("start {} {}", call.id, call.input),
        DriverEvent::ToolEnd(result) => format!("end {} {}", result.tool_call_id, result.output.to_text()),
        other => format!("{other:?}"),
    }
}

#[test]
fn calls_are_decided_on_run_bounded_and_counted() {
    let echo: Arc<dyn Tool> = Arc::new(Echo::new());
    let tools = ToolSet::of([echo]).unwrap();
    let turn =
        turn(Vec::new()).with_permission(Arc::new(NotTwo)).with_budget(Budget::default().with_tool_calls(2));
    let frame = TurnFrame::new(&turn, 1);
    let call = |x: i64| ToolCall::new(x.to_string(), "echo", json!({"x": x}));
    block_on(async {
        frame.begin(None).await.unwrap();
        let calls: Vec<_> = frame.calls(tools.clone(), vec![call(1), call(2), call(3)]).collect().await;
        let calls: Vec<_> = calls.iter().map(|event| told(event.as_ref().unwrap())).collect();
        assert_eq!(
            calls,
            [
                "end 2 not two",
                r#"start 1 {"x":1}"#,
                r#"end 1 {"x":1}"#,
                r#"start 3 {"x":30}"#,
                r#"end 3 {"x":30}"#
            ]
        );
        let mut beyond = frame.calls(tools, vec![call(4)]);
        let over = beyond.next().await.unwrap().unwrap_err();
        assert_eq!((over.kind, over.shared), (BudgetKind::ToolCalls, false));
        assert!(beyond.next().await.is_none());
        let (failures, end) = frame.end(over.into()).await;
        assert_eq!((failures.len(), end.outcome.kind()), (0, OutcomeKind::Budget));
        let spent = end.spent.unwrap();
        assert_eq!((spent.turns, spent.tool_calls), (1, 2));
    });
}

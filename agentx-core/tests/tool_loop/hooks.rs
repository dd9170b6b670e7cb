//! Code of the application's before and after turns and tools.

use std::sync::{Arc, Mutex};

use agentx_core::{
    DriverEvent, Error, ErrorKind, Hook, HookAction, HookPoint, Outcome, Reply, Result, ScriptedModel,
    ToolLoop, ToolOutput, Turn,
};
use async_trait::async_trait;
use serde_json::json;

use crate::{call, events, outcome, results, support::Echo, turn};

type Answer = fn(&HookPoint) -> Result<HookAction>;

/// Notes where it was asked, and answers as it is told to.
#[derive(Debug)]
struct Noted {
    asked: Mutex<Vec<String>>,
    answer: Answer,
}

#[async_trait]
impl Hook for Noted {
    async fn run(&self, point: HookPoint) -> Result<HookAction> {
        self.asked.lock().unwrap().push(match &point {
            HookPoint::BeforeTurn { message } => format!("turn {}", message.as_ref().unwrap().text()),
            HookPoint::BeforeTool { call } => format!("before {}", call.input),
            HookPoint::AfterTool { call, result } => {
                format!("after {} {}", call.input, result.output.to_text())
            }
            HookPoint::AfterTurn { outcome, spent } => {
                format!("end {} {}", outcome.as_str(), spent.tool_calls)
            }
            _ => String::new(),
        });
        (self.answer)(&point)
    }
}

fn noted(answer: Answer) -> Arc<Noted> {
    Arc::new(Noted { asked: Mutex::default(), answer })
}

fn run(hooks: &[&Arc<Noted>]) -> Vec<DriverEvent> {
    let mut turn: Turn = turn(vec![Arc::new(Echo::new())]);
    for hook in hooks {
        turn = turn.with_hook((*hook).clone());
    }
    events(&ToolLoop::new(ScriptedModel::replies([call("a", "x"), Reply::text("done")])), turn)
}

#[test]
fn each_sees_what_those_before_it_left() {
    let edits = noted(|point| {
        Ok(match point {
            HookPoint::BeforeTool { .. } => HookAction::ReplaceInput(json!({"do": "y"})),
            HookPoint::AfterTool { .. } => HookAction::ReplaceOutput(ToolOutput::text("z")),
            _ => HookAction::Continue,
        })
    });
    let watches = noted(|_| Ok(HookAction::Continue));
    let events = run(&[&edits, &watches]);
    assert_eq!(results(&events)[0].1, ToolOutput::text("z"));
    assert_eq!(
        *watches.asked.lock().unwrap(),
        ["turn go", r#"before {"do":"y"}"#, r#"after {"do":"y"} z"#, "end completed 1"]
    );
    assert_eq!(edits.asked.lock().unwrap()[2], r#"after {"do":"y"} {"do":"y"}"#);
}

#[test]
fn before_a_tool_it_fails_closed() {
    let answers: [Answer; 4] = [
        |_| Ok(HookAction::Deny("no".to_owned())),
        |_| Err(Error::new(ErrorKind::Unavailable, "look it up")),
        |_| panic!("as asked"),
        |_| Ok(HookAction::ReplaceOutput(ToolOutput::text("made up"))),
    ];
    for answer in answers {
        let denies = Arc::new(OnlyBeforeTool(answer));
        let turn = turn(vec![Arc::new(Echo::new())]).with_hook(denies);
        let replies = ScriptedModel::replies([call("a", "x"), Reply::text("done")]);
        let events = events(&ToolLoop::new(replies), turn);
        assert!(!events.iter().any(|event| matches!(event, DriverEvent::ToolStart(_))));
        assert!(matches!(&results(&events)[0].1, ToolOutput::ExecutionDenied(_)));
        assert!(matches!(outcome(&events), Outcome::Completed));
    }
}

#[derive(Debug)]
struct OnlyBeforeTool(Answer);

#[async_trait]
impl Hook for OnlyBeforeTool {
    async fn run(&self, point: HookPoint) -> Result<HookAction> {
        match point {
            HookPoint::BeforeTool { .. } => (self.0)(&point),
            _ => Ok(HookAction::Continue),
        }
    }
}

#[test]
fn before_a_turn_it_ends_the_turn_and_no_model_is_asked() {
    let answers: [(Answer, ErrorKind); 2] = [
        (|_| Ok(HookAction::Deny("not now".to_owned())), ErrorKind::PermissionDenied),
        (|_| panic!("as asked"), ErrorKind::Internal),
    ];
    for (answer, kind) in answers {
        let hook = noted(answer);
        let events = run(&[&hook]);
        assert!(!events.iter().any(|event| matches!(event, DriverEvent::Model(_))));
        assert!(matches!(outcome(&events), Outcome::Failed(error) if error.kind() == kind));
        assert_eq!(hook.asked.lock().unwrap().last().unwrap(), "end failed 0");
    }
}

#[test]
fn what_fails_afterwards_is_told_and_changes_nothing() {
    let hook = noted(|point| match point {
        HookPoint::AfterTool { .. } => Err(Error::new(ErrorKind::Unavailable, "note")),
        HookPoint::AfterTurn { .. } => panic!("as asked"),
        _ => Ok(HookAction::Continue),
    });
    let events = run(&[&hook]);
    let failures: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            DriverEvent::HookFailed(error) => Some(error.kind()),
            _ => None,
        })
        .collect();
    assert_eq!(failures, [ErrorKind::Unavailable, ErrorKind::Internal]);
    assert_eq!(results(&events)[0].1, ToolOutput::text(r#"{"do":"x"}"#));
    assert!(matches!(outcome(&events), Outcome::Completed));
}

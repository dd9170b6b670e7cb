//! Calls that wait for somebody's approval.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use agentx_core::{
    ApprovalId, Approvals, AssistantMessage, AssistantPart, Decision, Driver, DriverEvent, DriverStream,
    Error, ErrorKind, Message, MessageBody, MessageId, Outcome, Permission, PermissionRequest, Reply, Result,
    Resumed, ResumedCall, ScriptedModel, Timestamp, ToolCall, ToolLoop, ToolOutput, Turn,
};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, channel::oneshot, executor::block_on};
use serde_json::{Value, json};

use crate::{call, outcome, results, support::Echo, turn};

/// Asks about calls that say so.
#[derive(Debug)]
struct Asks;

#[async_trait]
impl Permission for Asks {
    async fn decide(&self, request: PermissionRequest) -> Result<Decision> {
        Ok(match request.call.input["do"].as_str() {
            Some(what) if what.starts_with("ask") => Decision::Ask(what.to_owned()),
            _ => Decision::Allow,
        })
    }
}

/// Answers when it is told to.
#[derive(Debug, Default)]
struct Desk {
    made: AtomicUsize,
    waiting: Mutex<HashMap<String, oneshot::Sender<Result<Decision>>>>,
}

impl Desk {
    fn answer(&self, approval: &str, answer: Result<Decision>) {
        self.waiting.lock().unwrap().remove(approval).unwrap().send(answer).unwrap();
    }

    /// How many are waited for; those whose waiter is gone are not.
    fn open(&self) -> usize {
        self.waiting.lock().unwrap().values().filter(|waiter| !waiter.is_canceled()).count()
    }
}

#[async_trait]
impl Approvals for Desk {
    fn fresh_id(&self) -> ApprovalId {
        ApprovalId::new(format!("appr_{}", self.made.fetch_add(1, Ordering::SeqCst) + 1)).unwrap()
    }

    async fn answer(&self, approval: &ApprovalId) -> Result<Decision> {
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap().insert(approval.to_string(), sender);
        answer.await.map_err(|_| Error::new(ErrorKind::Cancelled, "await approval"))?
    }
}

fn asking(desk: &Arc<Desk>) -> Turn {
    turn(vec![Arc::new(Echo::new())]).with_permission(Arc::new(Asks)).with_approvals(desk.clone())
}

/// What happens until the turn waits, in short.
fn until_it_waits(stream: &mut DriverStream) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(Some(event)) = stream.next().now_or_never() {
        told.extend(super::one_by_one(event).into_iter().filter_map(|event| match event {
            DriverEvent::ApprovalRequested(request) => {
                Some(format!("{}? {}", request.approval, request.reason))
            }
            DriverEvent::ToolStart(call) => Some(format!("start {}", call.input)),
            DriverEvent::ToolEnd(result) => Some(format!("end {}", result.output.to_text())),
            DriverEvent::End(end) => Some(end.outcome.to_string()),
            _ => None,
        }));
    }
    told
}

#[test]
fn several_calls_wait_at_the_same_time_and_others_run_meanwhile() {
    let desk = Arc::new(Desk::default());
    let calls =
        call("a", "ask a").call("b", "echo", json!({"do": "ask b"})).call("c", "echo", json!({"do": "c"}));
    let mut stream = ToolLoop::new(ScriptedModel::replies([calls, Reply::text("done")])).start(asking(&desk));
    assert_eq!(
        until_it_waits(&mut stream),
        ["appr_1? ask a", "appr_2? ask b", r#"start {"do":"c"}"#, r#"end {"do":"c"}"#]
    );
    assert_eq!(desk.open(), 2);
    desk.answer("appr_2", Ok(Decision::Allow));
    assert_eq!(until_it_waits(&mut stream), [r#"start {"do":"ask b"}"#, r#"end {"do":"ask b"}"#]);
    desk.answer("appr_1", Ok(Decision::Deny("never".to_owned())));
    assert_eq!(until_it_waits(&mut stream), ["end never", "completed"]);
}

#[test]
fn an_approval_is_asked_for_no_earlier_than_its_request_was_taken() {
    let desk = Arc::new(Desk::default());
    let mut stream = ToolLoop::new(ScriptedModel::replies([call("a", "ask")])).start(asking(&desk));
    block_on(async { while !matches!(stream.next().await, Some(DriverEvent::ApprovalRequested(_))) {} });
    assert_eq!(desk.open(), 0);
    assert!(stream.next().now_or_never().is_none());
    assert_eq!(desk.open(), 1);
    drop(stream);
    assert_eq!(desk.open(), 0, "who interrupts the turn ends the wait");
}

#[test]
fn an_approval_that_is_no_clear_yes_is_a_no() {
    let answers: [fn() -> Result<Decision>; 4] = [
        || Err(Error::new(ErrorKind::Unavailable, "await approval")),
        || Ok(Decision::Ask("and you?".to_owned())),
        || Ok(Decision::AllowWith(json!("no object"))),
        || Ok(Decision::AllowWith((0..200).fold(json!({}), |value, _| json!({"a": value})))),
    ];
    for answer in answers {
        let desk = Arc::new(Desk::default());
        let model = ScriptedModel::replies([call("a", "ask"), Reply::text("done")]);
        let mut stream = ToolLoop::new(model).start(asking(&desk));
        until_it_waits(&mut stream);
        desk.answer("appr_1", answer());
        let rest: Vec<_> = block_on(stream.collect());
        assert!(!rest.iter().any(|event| matches!(event, DriverEvent::ToolStart(_))), "{rest:?}");
        assert!(matches!(results(&rest).as_slice(), [(_, ToolOutput::ExecutionDenied(_))]), "{rest:?}");
    }
    // A desk that forgets, and none at all.
    let desk = Arc::new(Desk::default());
    let replies = || ScriptedModel::replies([call("a", "ask"), Reply::text("done")]);
    let mut stream = ToolLoop::new(replies()).start(asking(&desk));
    until_it_waits(&mut stream);
    desk.waiting.lock().unwrap().clear();
    assert!(until_it_waits(&mut stream).first().unwrap().starts_with("end The approval did not come"));
    let mut nobody = turn(vec![Arc::new(Echo::new())]).with_permission(Arc::new(Asks));
    nobody.approvals = None;
    let events = crate::events(&ToolLoop::new(replies()), nobody);
    assert!(
        matches!(results(&events).as_slice(), [(_, ToolOutput::ExecutionDenied(why))] if why.contains("nobody"))
    );
}

#[test]
fn an_input_that_was_edited_is_told_stored_and_told_to_the_model() {
    let desk = Arc::new(Desk::default());
    let model = ScriptedModel::new("m", |request| match request.answer("a") {
        None => Ok(call("a", "ask")),
        Some(output) => Ok(Reply::text(output.to_text())),
    });
    let mut stream = ToolLoop::new(model).start(asking(&desk));
    until_it_waits(&mut stream);
    desk.answer("appr_1", Ok(Decision::AllowWith(json!({"do": "less"}))));
    let rest: Vec<_> = block_on(stream.collect());
    let started = rest.iter().find_map(|event| match event {
        DriverEvent::ToolStart(call) => Some(call.input.clone()),
        _ => None,
    });
    assert_eq!(started, Some(json!({"do": "less"})));
    let stored = rest.iter().find_map(|event| match event {
        DriverEvent::ToolEnd(result) => Some((result.input.clone(), result.output.to_text())),
        _ => None,
    });
    assert_eq!(stored, Some((Some(json!({"do": "less"})), r#"{"do":"less"}"#.to_owned())));
    let said: String = crate::texts(&rest);
    assert!(said.contains("another input") && said.contains(r#"{"do":"less"}"#), "{said}");
}

fn message(id: usize, body: MessageBody) -> Message {
    Message::new(MessageId::new(format!("msg_{id}")).unwrap(), Timestamp::from_millis(1), body)
}

fn open_call(id: &str, what: &str) -> ToolCall {
    ToolCall::new(format!("call_{id}_1"), "echo", json!({"do": what}))
}

#[test]
fn a_turn_that_resumes_deals_with_its_open_calls_first() {
    let desk = Arc::new(Desk::default());
    let calls = ["yes", "no", "later", "new", "ask"].map(|id| open_call(id, id));
    let assistant = AssistantMessage::new(calls.iter().cloned().map(AssistantPart::ToolCall).collect());
    let mut resumed = asking(&desk);
    resumed.history.push(message(1, MessageBody::Assistant(assistant)));
    let states = [
        Resumed::Decided(Decision::Allow),
        Resumed::Decided(Decision::Deny("no".to_owned())),
        Resumed::Pending(ApprovalId::new("appr_old").unwrap()),
        Resumed::Undecided,
        Resumed::Undecided,
    ];
    resumed.resume =
        calls.into_iter().zip(states).map(|(call, state)| ResumedCall::new(call, state)).collect();
    // It was approved with this input: a hook had put it there.
    resumed.resume[0].call.input = json!({"do": "edited"});

    let model = ScriptedModel::new("m", |request| {
        let answered = ["yes", "no", "later", "new", "ask"].map(|id| request.answer(id).is_some());
        assert_eq!(answered, [true; 5], "no model is asked before its calls are answered");
        Ok(Reply::text("done"))
    });
    let mut stream = ToolLoop::new(model).start(resumed);
    assert_eq!(
        until_it_waits(&mut stream),
        [
            "end no",
            "appr_1? ask",
            r#"start {"do":"edited"}"#,
            r#"start {"do":"new"}"#,
            r#"end {"do":"edited"}"#,
            r#"end {"do":"new"}"#,
        ]
    );
    desk.answer("appr_old", Ok(Decision::Allow));
    desk.answer("appr_1", Ok(Decision::Allow));
    let rest: Vec<_> = block_on(stream.collect());
    assert_eq!(results(&rest).len(), 2);
    assert!(matches!(outcome(&rest), Outcome::Completed));
}

#[test]
fn a_permission_may_edit_and_ask_no_more() {
    #[derive(Debug)]
    struct Edits(Value);

    #[async_trait]
    impl Permission for Edits {
        async fn decide(&self, _: PermissionRequest) -> Result<Decision> {
            Ok(Decision::AllowWith(self.0.clone()))
        }
    }

    for (input, runs) in [(json!({"do": "this"}), true), (json!([]), false), (json!(null), false)] {
        let replies = ScriptedModel::replies([call("a", "that"), Reply::text("done")]);
        let turn = turn(vec![Arc::new(Echo::new())]).with_permission(Arc::new(Edits(input)));
        let events = crate::events(&ToolLoop::new(replies), turn);
        assert_eq!(events.iter().any(|event| matches!(event, DriverEvent::ToolStart(_))), runs);
        assert_eq!(results(&events)[0].1.is_error(), !runs);
    }
}

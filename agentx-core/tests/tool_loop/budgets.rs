//! What bounds a turn, and what of it counts.

use std::{sync::Arc, time::Duration};

use agentx_core::{
    Budget, BudgetKind, Driver, DriverEvent, Error, ErrorKind, EventData, Ledger, MicroDollars, ModelEvent,
    ModelInfo, ModelTable, Moment, Outcome, Prices, Reply, ScriptedModel, SequentialIds, Spent, StopReason,
    Timestamp, ToolLoop, TurnEnd, TurnId, TurnInput, TurnMachine, Usage,
};
use futures::{FutureExt, StreamExt};
use serde_json::json;

use crate::{Streams, call, events, outcome, results, support::Echo, turn};

fn endless() -> ToolLoop<ScriptedModel> {
    ToolLoop::new(ScriptedModel::new("m", |_| Ok(call("a", "x"))))
}

fn kind(outcome: &Outcome) -> (BudgetKind, bool) {
    match outcome {
        Outcome::Budget(kind) => (*kind, false),
        Outcome::SharedBudget(kind) => (*kind, true),
        other => panic!("{other}"),
    }
}

fn spent(events: &[DriverEvent]) -> Spent {
    match events.last() {
        Some(DriverEvent::End(TurnEnd { spent, .. })) => spent.unwrap(),
        other => panic!("{other:?}"),
    }
}

fn priced() -> ModelTable {
    let info = ModelInfo::new(1000, 100).with_prices(Prices::new(1_000_000, 2_000_000));
    ModelTable::empty("2026-01-01").with("m", info)
}

#[test]
fn each_bound_ends_the_turn_with_its_name() {
    let unbounded = Budget::unbounded;
    for (budget, expected) in [
        (unbounded().with_steps(2), BudgetKind::Steps),
        (unbounded().with_tool_calls(2), BudgetKind::ToolCalls),
        (unbounded().with_output_tokens(1), BudgetKind::OutputTokens),
        (unbounded().with_tokens(3), BudgetKind::Tokens),
        (unbounded().with_cost(MicroDollars::new(3)), BudgetKind::Cost),
        (unbounded().with_duration(Duration::ZERO), BudgetKind::Duration),
        (unbounded().with_turns(0), BudgetKind::Turns),
    ] {
        let go = || turn(vec![Arc::new(Echo::new())]);
        let driver = endless().with_models(priced());
        let own = events(&driver, go().with_budget(budget.clone()));
        assert_eq!(kind(&outcome(&own)), (expected, false));
        let session = Ledger::new(budget, Spent::default());
        let shared = events(&driver, go().with_budget(unbounded()).with_ledger(session.clone()));
        assert_eq!(kind(&outcome(&shared)), (expected, true));
        assert_eq!(session.spent(), spent(&shared));
    }
}

#[test]
fn what_the_session_used_before_counts() {
    let mut before = Spent::default();
    before.turns = 1;
    before.add_call(Usage::new(0, 50), None);
    let session = Ledger::new(Budget::unbounded().with_turns(2).with_output_tokens(51), before);
    let go = || turn(vec![]).with_ledger(session.clone());
    let driver = ToolLoop::new(ScriptedModel::replies([Reply::text("one")]));
    assert!(matches!(outcome(&events(&driver, go())), Outcome::Completed));
    assert_eq!(kind(&outcome(&events(&driver, go()))), (BudgetKind::Turns, true));
    assert_eq!((session.spent().turns, session.spent().unpriced_calls), (2, 2));
}

#[test]
fn answers_that_are_voided_or_cut_off_are_paid_for() {
    let used = |n| Ok(ModelEvent::Usage(Usage::new(n, 0)));
    let start = || Ok(ModelEvent::Start { model: "m".into() });
    let voided =
        || vec![start(), used(5), used(10), Ok(ModelEvent::Restarted { reason: "r".into() }), start()];
    let stop = Ok(ModelEvent::Stop(StopReason::EndTurn));
    let fails = Err(Error::new(ErrorKind::Unavailable, "call model"));
    for (rest, sum) in [
        (vec![used(20), stop.clone()], 30),
        (vec![used(20), fails], 30),
        (vec![used(20)], 30),
        (vec![stop], 10),
    ] {
        let stream = voided().into_iter().chain(rest).collect();
        let events = events(&ToolLoop::new(Streams(stream)).with_models(priced()), turn(vec![]));
        assert_eq!((spent(&events).usage, spent(&events).cost), (Usage::new(sum, 0), MicroDollars::new(sum)));
    }
    // A turn that is dropped while its model speaks.
    let session = Ledger::new(Budget::unbounded(), Spent::default());
    let mut stream =
        ToolLoop::new(Streams(vec![start(), used(7)])).start(turn(vec![]).with_ledger(session.clone()));
    for _ in 0..2 {
        assert!(stream.next().now_or_never().is_some());
    }
    drop(stream);
    assert_eq!(session.spent().usage, Usage::new(7, 0));
}

#[test]
fn money_is_bounded_only_where_prices_are_known() {
    let budget = || Budget::default().with_cost(MicroDollars::from_dollars(1));
    let run = |name: &str| {
        let mut turn = turn(vec![Arc::new(Echo::new())]).with_budget(budget());
        turn.settings.model = Some(name.to_owned());
        events(&endless().with_models(priced()), turn)
    };
    let unknown = run("unheard-of");
    assert!(matches!(outcome(&unknown), Outcome::Failed(error) if error.kind() == ErrorKind::Unsupported));
    assert!(!unknown.iter().any(|event| matches!(event, DriverEvent::Model(_))), "nothing was asked");
    assert_eq!(kind(&outcome(&run("m"))), (BudgetKind::Steps, false));
    // One that nobody named names itself in its first answer.
    let unnamed =
        ToolLoop::new(ScriptedModel::new("unheard-of", |_| Ok(call("a", "x")))).with_models(priced());
    let events = events(&unnamed, turn(vec![Arc::new(Echo::new())]).with_budget(budget()));
    assert!(matches!(outcome(&events), Outcome::Failed(error) if error.kind() == ErrorKind::Unsupported));
    assert_eq!((spent(&events).steps, spent(&events).unpriced_calls), (1, 1));
}

#[test]
fn a_bound_in_the_middle_of_parallel_calls_lets_end_what_runs_and_the_history_is_whole() {
    let calls = ["a", "b", "c", "d"]
        .into_iter()
        .fold(Reply::default(), |reply, label| reply.call(label, "echo", json!({"do": label})));
    let driver = ToolLoop::new(ScriptedModel::replies([calls, Reply::text("never")])).with_parallel_tools(2);
    let events =
        events(&driver, turn(vec![Arc::new(Echo::new())]).with_budget(Budget::default().with_tool_calls(3)));
    assert_eq!(kind(&outcome(&events)), (BudgetKind::ToolCalls, false));
    assert_eq!(results(&events).len(), 3);
    let began = events.iter().filter(|event| matches!(event, DriverEvent::ToolStart(_))).count();
    assert_eq!(began, 3);

    let ids = SequentialIds::new();
    let (mut machine, mut told) =
        TurnMachine::start(TurnId::new("turn_1").unwrap(), crate::support::user("go"));
    for event in events {
        let moment = Moment { at: Timestamp::from_millis(2), ids: &ids };
        told.extend(machine.step(moment, TurnInput::Driver(event)));
    }
    let stored: Vec<_> =
        told.iter().filter_map(EventData::message).map(|message| message.body.role()).collect();
    assert_eq!(stored, ["user", "assistant", "tool", "tool", "tool", "tool"]);
    let unrun = told.iter().filter_map(EventData::message).next_back().unwrap();
    match &unrun.body {
        agentx_core::MessageBody::Tool(result) => {
            assert!(result.output.to_text().ends_with("The call was not run."), "{result:?}");
        }
        other => panic!("{other:?}"),
    }
}

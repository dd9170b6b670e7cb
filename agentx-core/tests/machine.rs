//! The state machine of a turn, against every order of events that a driver might come up with.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use agentx_core::{
    AgentState, BlockChange, BlockKind, BudgetKind, Compaction, ContentPart, DriverEvent, EventData,
    MessageBody, MessageId, ModelEvent, Moment, NestedEvent, NestedStep, Outcome, OutcomeKind, SequentialIds,
    StopReason, Timestamp, ToolCall, ToolOutput, ToolResult, TurnId, TurnInput, TurnMachine, Usage,
};
use proptest::prelude::*;
use serde_json::json;
use support::user;

fn start() -> (TurnMachine, Vec<EventData>) {
    TurnMachine::start(TurnId::new("turn_1").unwrap(), user("go"))
}

/// All events of a turn with these inputs, which an interrupt ends where they do not.
fn run(inputs: impl IntoIterator<Item = TurnInput>) -> (TurnMachine, Vec<EventData>) {
    let ids = SequentialIds::new();
    let (mut machine, mut events) = start();
    for (at, input) in (2..).zip(inputs.into_iter().chain([TurnInput::Interrupted])) {
        events.extend(machine.step(Moment { at: Timestamp::from_millis(at), ids: &ids }, input));
    }
    (machine, events)
}

fn model(event: ModelEvent) -> TurnInput {
    TurnInput::Driver(DriverEvent::Model(event))
}

fn block(index: u32, change: BlockChange) -> TurnInput {
    model(ModelEvent::Block { index, change })
}

fn input() -> impl Strategy<Value = TurnInput> {
    let index = 0u32..3;
    let id = (0u32..4).prop_map(|n| format!("call_{n}"));
    let change = prop_oneof![
        Just(BlockChange::Start(BlockKind::Text)),
        Just(BlockChange::Start(BlockKind::Thinking)),
        id.clone().prop_map(|id| BlockChange::Start(BlockKind::ToolUse { id, name: "t".into() })),
        Just(BlockChange::Start(BlockKind::Opaque { provider: "p".into(), json: "{}".into() })),
        Just(BlockChange::Text("text".into())),
        Just(BlockChange::Thinking("hm".into())),
        Just(BlockChange::Signature("sig".into())),
        Just(BlockChange::InputJson(r#"{"a":"#.into())),
        Just(BlockChange::InputJson("1}".into())),
        Just(BlockChange::Stop),
    ];
    let reason = prop_oneof![
        Just(StopReason::EndTurn),
        Just(StopReason::ToolUse),
        Just(StopReason::MaxTokens),
        Just(StopReason::Other("odd".into())),
    ];
    prop_oneof![
        1 => Just(model(ModelEvent::Start { model: "m".into() })),
        8 => (index, change).prop_map(|(index, change)| block(index, change)),
        1 => (0u64..9).prop_map(|n| model(ModelEvent::Usage(Usage::new(n, n)))),
        2 => reason.prop_map(|reason| model(ModelEvent::Stop(reason))),
        1 => Just(model(ModelEvent::Restarted { reason: "r".into() })),
        2 => id.clone().prop_map(|id| TurnInput::Driver(DriverEvent::ToolStart(ToolCall::new(id, "t", json!({}))))),
        2 => id.prop_map(|id| {
            TurnInput::Driver(DriverEvent::ToolEnd(ToolResult::new(id, "t", ToolOutput::text("ok"))))
        }),
        1 => Just(TurnInput::Driver(Outcome::Completed.into())),
        1 => Just(TurnInput::Interrupted),
    ]
}

proptest! {
    /// However a turn goes and ends, what is stored is whole: no message is empty, each call has its result before the
    /// next message of the model, and the end is told once and last.
    #[test]
    fn whatever_happens_the_history_is_whole(inputs in prop::collection::vec(input(), 0..60)) {
        let (machine, events) = run(inputs);
        prop_assert!(machine.is_over());
        prop_assert_eq!(machine.state(), AgentState::Idle);
        let ends = events.iter().filter(|event| matches!(event, EventData::TurnResponse { .. })).count();
        prop_assert_eq!(ends, 1);
        let last = events.last();
        prop_assert!(matches!(last, Some(EventData::TurnResponse { .. })), "{last:?}");

        let messages: Vec<_> = events.iter().filter_map(EventData::message).collect();
        for (index, message) in messages.iter().enumerate() {
            if let MessageBody::Tool(result) = &message.body {
                let before = messages.iter().take(index).rev().find_map(|earlier| match &earlier.body {
                    MessageBody::Assistant(assistant) => Some(assistant),
                    _ => None,
                });
                let called = before.is_some_and(|message| {
                    message.tool_calls().any(|call| call.id == result.tool_call_id)
                });
                prop_assert!(called, "a result without its call: {}", result.tool_call_id);
            }
            let MessageBody::Assistant(assistant) = &message.body else { continue };
            prop_assert!(!assistant.content.is_empty());
            let ids: std::collections::HashSet<_> = assistant.tool_calls().map(|call| &call.id).collect();
            prop_assert_eq!(ids.len(), assistant.tool_calls().count(), "ids are unique");
            for call in assistant.tool_calls() {
                let mut results =
                    messages.iter().skip(index + 1).map_while(|later| match &later.body {
                        MessageBody::Tool(result) => Some(result),
                        _ => None,
                    });
                prop_assert!(results.any(|result| result.tool_call_id == call.id), "{} has no result", call.id);
            }
        }
    }

    /// The same inputs at the same moments give the same events.
    #[test]
    fn a_replay_is_exact(inputs in prop::collection::vec(input(), 0..60)) {
        prop_assert_eq!(run(inputs.clone()).1, run(inputs).1);
    }
}

#[test]
fn interleaved_calls_are_told_under_their_own_ids() {
    let call = |index, id: &str| {
        block(index, BlockChange::Start(BlockKind::ToolUse { id: id.into(), name: "t".into() }))
    };
    let (_, events) = run([
        call(0, "a"),
        call(1, "b"),
        block(1, BlockChange::InputJson(r#"{"y":2}"#.into())),
        block(0, BlockChange::InputJson(r#"{"x":1}"#.into())),
        block(1, BlockChange::Stop),
        block(0, BlockChange::Stop),
    ]);
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventData::ToolUseStop { tool_call_id, input, .. } => {
                Some((tool_call_id.as_str(), input.to_string()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [("b", r#"{"y":2}"#.to_owned()), ("a", r#"{"x":1}"#.to_owned())]);
}

#[test]
fn usage_counts_each_message_once_and_what_a_restart_voided() {
    let usage = |n| model(ModelEvent::Usage(Usage::new(n, 1)));
    let stop = || model(ModelEvent::Stop(StopReason::EndTurn));
    let (machine, events) = run([
        usage(1),
        usage(10),
        model(ModelEvent::Restarted { reason: "r".into() }),
        usage(20),
        stop(),
        usage(30),
        stop(),
        TurnInput::Driver(Outcome::Completed.into()),
    ]);
    assert_eq!(machine.usage(), Usage::new(60, 3));
    match events.last().unwrap() {
        EventData::TurnResponse { usage, outcome, .. } => {
            assert_eq!((*usage, outcome), (Usage::new(60, 3), &OutcomeKind::Completed));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_text_begins_one_response() {
    let text = || block(0, BlockChange::Text("x".into()));
    let (_, events) = run([block(0, BlockChange::Start(BlockKind::Text)), text(), text(), text()]);
    let responding =
        events.iter().filter(|event| matches!(event, EventData::ConversationResponding {})).count();
    assert_eq!(responding, 1);
}

/// A summary stands for all but the latest messages that a model sees; the next one stands for it as well.
#[test]
fn a_summary_names_the_last_message_that_it_stands_for() {
    let ids = SequentialIds::new();
    let before: Vec<_> = ["h1", "h2"].map(|id| MessageId::new(id).unwrap()).to_vec();
    let mut machine = start().0.with_history(before);
    let mut compact = |kept| {
        let compaction = Compaction::new(vec![ContentPart::text("so far")], kept);
        let moment = Moment { at: Timestamp::from_millis(2), ids: &ids };
        match &machine.step(moment, TurnInput::Driver(DriverEvent::Compacted(compaction)))[..] {
            [] => None,
            [EventData::SummaryMessage(message)] => match &message.body {
                MessageBody::Summary { through, .. } => Some((message.id.clone(), through.clone())),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(compact(4), None, "more than there is");
    assert_eq!(compact(3), None, "nothing is left to stand for");
    let (summary, through) = compact(1).unwrap();
    assert_eq!(through.as_str(), "h2");
    assert_eq!(compact(1).unwrap().1, summary, "the summary and the user's message were left");
    assert_eq!(compact(0).unwrap().1.as_str(), "msg_user");
}

#[test]
fn a_delta_is_told_once_however_much_came_before() {
    let ids = SequentialIds::new();
    let moment = Moment { at: Timestamp::from_millis(2), ids: &ids };
    let (mut machine, _) = start();
    machine.step(moment, block(0, BlockChange::Start(BlockKind::Text)));
    machine.step(moment, block(0, BlockChange::Text("first".into())));
    for _ in 0..10_000 {
        let events = machine.step(moment, block(0, BlockChange::Text("x".into())));
        assert_eq!(events, [EventData::TextDelta { text: "x".into() }]);
    }
}

#[test]
fn an_unknown_stop_reason_closes_the_message_and_the_next_turn_is_its_own() {
    let (machine, events) = run([
        block(0, BlockChange::Start(BlockKind::Text)),
        block(0, BlockChange::Text("x".into())),
        block(0, BlockChange::Stop),
        model(ModelEvent::Stop(StopReason::Other("content_filter".into()))),
        TurnInput::Driver(Outcome::Completed.into()),
    ]);
    assert_eq!(machine.state(), AgentState::Idle);
    assert!(events.iter().any(|event| matches!(event, EventData::AssistantMessage(_))));
    match events.last().unwrap() {
        EventData::TurnResponse { stop_reason, outcome: OutcomeKind::Completed, .. } => {
            assert_eq!(stop_reason, &Some(StopReason::Other("content_filter".into())));
        }
        other => panic!("{other:?}"),
    }
}

fn called(ids: &[&str]) -> Vec<TurnInput> {
    let calls = (0..).zip(ids).flat_map(|(index, id)| {
        let kind = BlockKind::ToolUse { id: (*id).into(), name: "t".into() };
        [block(index, BlockChange::Start(kind)), block(index, BlockChange::Stop)]
    });
    calls.chain([model(ModelEvent::Stop(StopReason::ToolUse))]).collect()
}

fn began(id: &str) -> TurnInput {
    TurnInput::Driver(DriverEvent::ToolStart(ToolCall::new(id, "t", json!({}))))
}

/// The messages of a turn behind the user's, in short.
fn told(events: &[EventData]) -> Vec<String> {
    let message = |event: &EventData| match &event.message()?.body {
        MessageBody::Assistant(message) => {
            let calls = message.tool_calls().map(|call| format!("[{}]", call.id));
            Some(std::iter::once(message.text()).chain(calls).collect())
        }
        MessageBody::Tool(result) => Some(format!("{}: {}", result.tool_call_id, result.output.to_text())),
        _ => None,
    };
    events.iter().filter_map(message).collect()
}

fn answered(id: &str) -> TurnInput {
    TurnInput::Driver(DriverEvent::ToolEnd(ToolResult::new(id, "t", ToolOutput::text("done"))))
}

fn says(text: &str) -> Vec<TurnInput> {
    vec![
        model(ModelEvent::Start { model: "m".into() }),
        block(0, BlockChange::Start(BlockKind::Text)),
        block(0, BlockChange::Text(text.into())),
    ]
}

#[test]
fn a_result_that_comes_before_the_end_of_its_message_stands_behind_it() {
    let stop = || model(ModelEvent::Stop(StopReason::ToolUse));
    let end = || TurnInput::Driver(Outcome::Completed.into());
    let mut call = called(&["a", "b"]);
    call.pop();
    call.extend([began("b"), answered("b"), answered("b"), answered("none")]);
    let expected =
        ["[a][b]", "b: done", "a: The turn ended before this call did (completed). The call was not run."];
    for ends in [vec![stop(), end()], vec![end()]] {
        let (_, events) = run(call.clone().into_iter().chain(ends));
        assert_eq!(told(&events), expected);
    }
    let (_, events) = run(call.clone().into_iter().chain(says("B")).chain([stop(), end()]));
    let left = "a: The call was left without a result. The call was not run.";
    assert_eq!(told(&events), ["[a][b]", "b: done", left, "B"]);

    let restarted = model(ModelEvent::Restarted { reason: "r".into() });
    let (_, events) = run(call.into_iter().chain([restarted]).chain(called(&["b"])).chain([end()]));
    assert_eq!(told(&events).len(), 2, "what a restart voided has no result");
    assert!(told(&events)[1].starts_with("b: The turn ended"), "{:?}", told(&events));
}

#[test]
fn a_message_that_another_follows_is_kept_as_far_as_it_came() {
    let usage = |n| model(ModelEvent::Usage(Usage::new(n, n)));
    let mut inputs = says("A");
    inputs.push(usage(2));
    inputs.extend(says("B"));
    inputs.extend([usage(3), model(ModelEvent::Stop(StopReason::EndTurn))]);
    let (machine, events) = run(inputs);
    assert_eq!(told(&events), ["A", "B"]);
    assert_eq!(machine.usage(), Usage::new(5, 5));
    let begun = events.iter().filter_map(|event| match event {
        EventData::MessageStart { message_id, .. } => Some(message_id),
        _ => None,
    });
    let stored = events.iter().filter_map(|event| match event {
        EventData::AssistantMessage(message) => Some(&message.id),
        _ => None,
    });
    assert_eq!(begun.collect::<Vec<_>>(), stored.collect::<Vec<_>>());
}

#[test]
fn a_call_that_did_not_begin_is_told_as_such_and_each_failure_once() {
    let mut inputs = called(&["ends", "begins", "waits"]);
    inputs.extend([began("ends"), began("begins")]);
    let failed = ToolResult::new("ends", "t", ToolOutput::error("broken"));
    inputs.push(TurnInput::Driver(DriverEvent::ToolEnd(failed)));
    for (end, why) in [
        (TurnInput::Interrupted, "interrupted"),
        (TurnInput::Driver(Outcome::Budget(BudgetKind::Duration).into()), "budget"),
    ] {
        let (_, events) = run(inputs.clone().into_iter().chain([end]));
        let failures: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                EventData::ToolFailed { tool_id, error, .. } => Some((tool_id.as_str(), error.as_str())),
                _ => None,
            })
            .collect();
        let [ends, begins, waits] = failures.as_slice() else { panic!("{failures:?}") };
        assert_eq!(*ends, ("ends", "broken"));
        assert!(begins.0 == "begins" && begins.1.ends_with("The call may have run in part."), "{begins:?}");
        assert!(waits.0 == "waits" && waits.1.ends_with("The call was not run."), "{waits:?}");
        assert!(waits.1.contains(why), "{waits:?}");
    }
}

fn nested(event: DriverEvent) -> TurnInput {
    let step = NestedStep::Driver(Box::new(event));
    TurnInput::Driver(DriverEvent::Nested(NestedEvent::new("a", "helper", step)))
}

#[test]
fn a_turn_within_a_call_is_told_as_such_counted_and_ended_with_it() {
    let usage = |n| DriverEvent::Model(ModelEvent::Usage(Usage::new(n, 1)));
    let ends = || DriverEvent::Model(ModelEvent::Stop(StopReason::EndTurn));
    let start = || {
        let step = NestedStep::Start { prompt: "look".into() };
        TurnInput::Driver(DriverEvent::Nested(NestedEvent::new("a", "helper", step)))
    };
    let own = || TurnInput::Driver(usage(1000));
    let mut ended: Vec<_> = [own()].into_iter().chain(called(&["a"])).collect();
    ended.extend([began("a"), nested(usage(7)), start(), nested(usage(10)), nested(ends())]);
    let interrupted = ended.clone();
    ended.push(nested(Outcome::Completed.into()));
    ended.push(TurnInput::Driver(DriverEvent::ToolEnd(ToolResult::new("a", "t", ToolOutput::text("ok")))));
    for (inputs, outcome) in [(ended, OutcomeKind::Completed), (interrupted, OutcomeKind::Interrupted)] {
        let (machine, events) = run(inputs);
        assert_eq!(machine.usage(), Usage::new(1010, 2));
        let ends: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                EventData::Nested { tool_id, agent, event }
                    if matches!(**event, EventData::TurnResponse { .. }) =>
                {
                    Some((tool_id.as_str(), agent.as_str(), (**event).clone()))
                }
                _ => None,
            })
            .collect();
        let [("a", "helper", EventData::TurnResponse { outcome: told, usage, .. })] = ends.as_slice() else {
            panic!("{ends:?}")
        };
        assert_eq!((told, *usage), (&outcome, Usage::new(10, 1)));
        let stored: Vec<_> =
            events.iter().filter_map(EventData::message).map(|message| message.body.role()).collect();
        assert_eq!(stored, ["user", "assistant", "tool"], "its messages are no part of the session");
        let asked = events.iter().find(|event| matches!(event, EventData::Nested { .. })).unwrap();
        let json = serde_json::to_value(asked).unwrap();
        assert_eq!(
            (&json["type"], &json["data"]["event"]["type"]),
            (&json!("nested"), &json!("user_message"))
        );
        assert_eq!(&serde_json::from_value::<EventData>(json).unwrap(), asked);
    }
}

//! Sessions over several runtimes: leases, queues, approvals, forks, rewinds, and what subscribers see of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod elsewhere;
mod ending;
mod forks;
mod moments;
mod options;
mod order;
#[path = "../support/mod.rs"]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use agentx_core::{
    Agent, AgentState, ApprovalPage, Compaction, ContainerId, ContentPart, Cursor, Decision, Driver,
    DriverEvent, DriverStream, ErrorKind, Event, EventData, Host, ImageId, ImageSpec, MemoryRepositories,
    Message, MessageBody, MessageId, MessagePage, NewEvent, Permission, PermissionRequest, Reply,
    Repositories, Result, Runtime, ScriptedModel, SequentialIds, SessionRepository, Timestamp, ToolLoop,
    ToolOutput, Turn,
};
use agentx_resource::{BoxFuture, Clock, Retry};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt, executor::block_on};
use serde_json::json;
use support::{Echo, Threads};

/// Says what it is told, and wakes nobody.
#[derive(Debug, Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            futures::future::ready(()).boxed()
        } else {
            futures::future::pending().boxed()
        }
    }
}

/// What several runtimes share.
struct World {
    clock: Arc<Hands>,
    host: Host,
    store: Arc<MemoryRepositories>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(Hands::default());
        let host = Host::new(clock.clone(), Arc::new(Threads), Arc::new(SequentialIds::new()));
        Self { clock, host, store: Arc::default() }
    }

    fn runtime(&self, driver: impl Driver, echo: Echo) -> Runtime {
        self.judged(driver, echo, agentx_core::AllowAll)
    }

    fn judged(&self, driver: impl Driver, echo: Echo, judge: impl Permission) -> Runtime {
        Runtime::builder(driver, self.host.clone())
            .repositories(Repositories::shared(self.store.clone()))
            .tool(Arc::new(echo))
            .permission(Arc::new(judge))
            .queue(2)
            .name("worker")
            .build()
            .unwrap()
    }
}

fn echo_once() -> ToolLoop<ScriptedModel> {
    ToolLoop::new(ScriptedModel::new("scripted", |request| match request.answer("a") {
        None => Ok(Reply::text("let me see").call("a", "echo", json!({"x": 1}))),
        Some(output) => Ok(Reply::text(format!("it is {}", output.to_text()))),
    }))
}

/// Says how many messages it was shown, and the last.
fn counting() -> ToolLoop<ScriptedModel> {
    ToolLoop::new(ScriptedModel::new("scripted", |request| {
        let last = request.messages.last().unwrap().text();
        Ok(Reply::text(format!("{} to {last}", request.messages.len())))
    }))
}

async fn agent(runtime: &Runtime) -> Agent {
    let container = ContainerId::new("alice").unwrap();
    runtime.create_container(&container).await.unwrap();
    let image = match runtime.images(&container).await.unwrap().first() {
        Some(image) => image.image_id.clone(),
        None => runtime.create_image(&container, ImageSpec::default()).await.unwrap().image_id,
    };
    runtime.run(&image).await.unwrap()
}

async fn texts(agent: &Agent) -> Vec<String> {
    let history = agent.history().await.unwrap();
    history.iter().map(|message| format!("{}: {}", message.body.role(), message.body.text())).collect()
}

async fn until(agent: &Agent, from: u64, found: impl Fn(&EventData) -> bool) -> Arc<Event> {
    let mut events = agent.subscribe_from(from);
    loop {
        let event = events.next().await.unwrap();
        if found(&event.data) {
            return event;
        }
    }
}

async fn at_work(runtime: &Runtime) -> (Agent, agentx_core::TurnEvents) {
    let agent = agent(runtime).await;
    let mut turn = agent.send("go").await.unwrap();
    while !matches!(turn.next().await.unwrap().data, EventData::ToolExecuting { .. }) {}
    (agent, turn)
}

#[test]
fn of_two_runtimes_one_runs_and_the_other_is_told_who_and_until_when() {
    block_on(async {
        let world = World::new();
        let (echo, open) = Echo::gated();
        let first = world.runtime(echo_once(), echo);
        let (busy, turn) = at_work(&first).await;
        let second = world.runtime(echo_once(), Echo::new());
        let waiting = agent(&second).await;
        let lease = second.lease(waiting.image_id()).await.unwrap().unwrap();
        assert!(lease.holder.starts_with("worker/"), "{lease:?}");
        let error = waiting.send("me too").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        let told = error.to_string();
        assert!(told.contains(&lease.holder) && told.contains(&lease.until.to_string()), "{told}");

        open.send(()).unwrap();
        assert_eq!(turn.finish().await.unwrap().text, r#"it is {"x":1}"#);
        assert_eq!(second.lease(waiting.image_id()).await.unwrap(), None);
        // Each goes on with what the other did.
        assert_eq!(waiting.ask("me too").await.unwrap().text, r#"it is {"x":1}"#);
        assert_eq!(busy.ask("and I").await.unwrap().text, r#"it is {"x":1}"#);
        let said: Vec<_> = texts(&busy).await.into_iter().filter(|text| text.starts_with("user")).collect();
        assert_eq!(said, ["user: go", "user: me too", "user: and I"]);
    });
}

#[test]
fn a_holder_that_sleeps_through_the_end_of_its_lease_harms_nothing() {
    block_on(async {
        let world = World::new();
        let (echo, open) = Echo::gated();
        let first = world.runtime(echo_once(), echo);
        let (_asleep, turn) = at_work(&first).await;
        world.clock.0.store(60, Ordering::SeqCst);
        let second = world.runtime(echo_once(), Echo::new());
        let agent = agent(&second).await;
        let report = agent.ask("again").await.unwrap();
        assert_eq!(report.text, r#"it is {"x":1}"#);
        let before = agent.history().await.unwrap();
        open.send(()).unwrap();
        let error = turn.finish().await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::ConditionFailed, "run turn"), "{error}");
        assert_eq!(agent.history().await.unwrap(), before);
        let unknown = before.iter().find_map(|message| match &message.body {
            MessageBody::Tool(result) => Some(result.output.to_text()),
            _ => None,
        });
        assert!(unknown.unwrap().contains("unknown"));
        assert!(matches!(before[3].body, MessageBody::Error { .. }), "the turn that was cut off is told");
    });
}

#[test]
fn a_subscriber_goes_on_after_a_restart_without_a_gap_or_a_double() {
    block_on(async {
        let world = World::new();
        let first = world.runtime(echo_once(), Echo::new());
        let one = agent(&first).await;
        let all = one.subscribe_from(0);
        one.ask("one").await.unwrap();
        let mut told: Vec<_> = all.take(7).collect().await;
        let cursor = told.last().unwrap().cursor();
        assert!(cursor.delta > 0 || cursor.seq > 0);
        one.ask("two").await.unwrap();
        drop(first);

        let second = world.runtime(echo_once(), Echo::new());
        let two = agent(&second).await;
        let resumed = two.subscribe_from(cursor);
        let sent = two.send("three").await.unwrap();
        drop(second.run(two.image_id()).await.unwrap());
        sent.finish().await.unwrap();
        drop(second);
        told.extend(resumed.collect::<Vec<_>>().await);
        let last = told.pop().unwrap();
        assert!(matches!(last.data, EventData::AgentStopped { .. }), "{last:?}");
        let numbers: Vec<_> =
            told.iter().filter(|event| event.data.is_stored()).map(|event| event.seq).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        let requests = told.iter().filter(|event| matches!(event.data, EventData::TurnRequest { .. }));
        assert_eq!(requests.count(), 3);
        assert!(told.iter().map(|event| event.cursor()).is_sorted_by(|a, b| a < b));
    });
}

#[test]
fn a_runtime_sees_the_events_of_another_when_it_writes_itself() {
    block_on(async {
        let world = World::new();
        let (first, second) =
            (world.runtime(counting(), Echo::new()), world.runtime(counting(), Echo::new()));
        let (one, two) = (agent(&first).await, agent(&second).await);
        let mut events = one.subscribe();
        two.ask("theirs").await.unwrap();
        assert!(events.next().now_or_never().is_none());
        one.ask("mine").await.unwrap();
        let mut said = Vec::new();
        while let Some(Some(event)) = events.next().now_or_never() {
            if let EventData::UserMessage(message) = &event.data {
                said.push((event.seq, message.body.text()));
            }
        }
        assert_eq!(said.iter().map(|(_, text)| &**text).collect::<Vec<_>>(), ["theirs", "mine"]);
        assert!(said[0].0 == 1 && said[1].0 > 1, "{said:?}");
    });
}

#[test]
fn queued_messages_keep_their_order_and_have_their_turns() {
    block_on(async {
        let world = World::new();
        let (echo, open) = Echo::gated();
        let runtime = world.runtime(echo_once(), echo);
        let (agent, turn) = at_work(&runtime).await;
        let ids = [agent.queue("second").await.unwrap(), agent.queue("third").await.unwrap()];
        let error = agent.queue("fourth").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        let waiting: Vec<_> = agent.queued().await.unwrap().into_iter().map(|message| message.id).collect();
        assert_eq!(waiting, ids);
        assert_eq!(agent.queue(" ").await.unwrap_err().kind(), ErrorKind::InvalidInput);
        open.send(()).unwrap();
        turn.finish().await.unwrap();
        let mut ends = 0;
        until(
            &agent,
            0,
            |event| matches!(event, EventData::TurnRequest { message_id, .. } if *message_id == ids[1]),
        )
        .await;
        let mut events = agent.subscribe_from(0);
        while ends < 3 {
            let event = events.next().await.unwrap();
            ends += usize::from(matches!(event.data, EventData::TurnResponse { .. }));
        }
        let history = agent.history().await.unwrap();
        let said: Vec<_> = history
            .iter()
            .filter(|message| message.body.role() == "user")
            .map(|message| message.body.text())
            .collect();
        assert_eq!(said, ["go", "second", "third"]);
        assert_eq!(
            history.iter().filter(|message| ids.contains(&message.id)).count(),
            2,
            "their ids are kept"
        );
        assert_eq!(agent.queued().await.unwrap(), []);
        // At rest, a queued message has its turn at once.
        let id = agent.queue("fourth").await.unwrap();
        until(
            &agent,
            0,
            |event| matches!(event, EventData::TurnRequest { message_id, .. } if *message_id == id),
        )
        .await;
    });
}

#[test]
fn queued_messages_survive_the_runtime() {
    block_on(async {
        let world = World::new();
        let (echo, _open) = Echo::gated();
        let runtime = world.runtime(echo_once(), echo);
        let (first, _turn) = at_work(&runtime).await;
        first.queue("later").await.unwrap();
        drop(runtime);

        let second = world.runtime(echo_once(), Echo::new());
        let agent = agent(&second).await;
        let end = until(&agent, 0, |event| {
            matches!(event, EventData::TurnResponse { outcome, .. } if outcome.as_str() == "completed")
        })
        .await;
        assert!(end.seq > 0);
        let said: Vec<_> = texts(&agent).await;
        assert!(said.contains(&"user: later".to_owned()), "{said:?}");
        assert_eq!(agent.queued().await.unwrap(), []);
    });
}

/// Asks for everything.
#[derive(Debug)]
struct Asks;

#[async_trait]
impl Permission for Asks {
    async fn decide(&self, _: PermissionRequest) -> Result<Decision> {
        Ok(Decision::Ask("may I?".to_owned()))
    }
}

async fn asked(runtime: &Runtime) -> (Agent, agentx_core::TurnEvents) {
    let agent = agent(runtime).await;
    let mut turn = agent.send("go").await.unwrap();
    while !matches!(turn.next().await.unwrap().data, EventData::ApprovalRequested { .. }) {}
    (agent, turn)
}

#[test]
fn an_approval_is_answered_while_the_turn_waits() {
    block_on(async {
        let world = World::new();
        let runtime = world.judged(echo_once(), Echo::new(), Asks);
        let (agent, turn) = asked(&runtime).await;
        assert_eq!(agent.state(), AgentState::AwaitingApproval);
        let approval = agent.approvals().await.unwrap().remove(0);
        assert_eq!((approval.call.name.as_str(), approval.reason.as_str()), ("echo", "may I?"));
        let busy = agent.send("hello?").await.unwrap_err();
        assert_eq!((busy.kind(), busy.retry()), (ErrorKind::Busy, Retry::After(None)));
        assert!(busy.to_string().contains("waits for an approval"), "{busy}");
        let no_input =
            runtime.answer(&approval.approval_id, Decision::AllowWith(json!(2))).await.unwrap_err();
        assert_eq!(no_input.kind(), ErrorKind::InvalidInput);
        runtime.answer(&approval.approval_id, Decision::AllowWith(json!({"x": 2}))).await.unwrap();
        assert_eq!(turn.finish().await.unwrap().outcome.as_str(), "completed");
        let ran = texts(&agent).await;
        assert!(ran.last().unwrap().contains(r#"{"x":2}"#), "{ran:?}");
        let late = runtime.answer(&approval.approval_id, Decision::Allow).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::ConditionFailed);
        assert_eq!(agent.approvals().await.unwrap(), []);
    });
}

#[test]
fn an_approval_is_answered_by_another_runtime_after_the_first_is_gone() {
    for (decision, expected) in
        [(Decision::Allow, r#"it is {"x":1}"#), (Decision::Deny("no".to_owned()), "it is no")]
    {
        block_on(async {
            let world = World::new();
            let first = world.judged(echo_once(), Echo::new(), Asks);
            let (_, turn) = asked(&first).await;
            let turn_id = turn.turn_id().clone();
            drop(first);
            drop(turn);

            let second = world.judged(echo_once(), Echo::new(), Asks);
            let agent = agent(&second).await;
            assert_eq!(agent.state(), AgentState::AwaitingApproval);
            assert_eq!(agent.history().await.unwrap().len(), 2, "the call is not closed");
            let busy = agent.send("hello?").await.unwrap_err();
            assert_eq!((busy.kind(), busy.retry()), (ErrorKind::Busy, Retry::After(None)));
            let approval = agent.approvals().await.unwrap().remove(0);
            second.answer(&approval.approval_id, decision).await.unwrap();
            let end = until(&agent, 0, |event| matches!(event, EventData::TurnResponse { .. })).await;
            assert_eq!(end.context.turn_id, Some(turn_id), "it is the same turn");
            assert!(
                matches!(&end.data, EventData::TurnResponse { outcome, .. } if outcome.as_str() == "completed")
            );
            let history = texts(&agent).await;
            assert_eq!(history.last().unwrap(), &format!("assistant: {expected}"));
            assert_eq!(history.len(), 4);
        });
    }
}

#[test]
fn what_waits_is_listed_and_answered_without_an_agent() {
    block_on(async {
        let world = World::new();
        let first = world.judged(echo_once(), Echo::new(), Asks);
        let (waiting, turn) = asked(&first).await;
        // Where people look at what is asked, there is no model.
        let unused = ScriptedModel::new("unused", |_| panic!("no agent runs here"));
        let desk = world.runtime(ToolLoop::new(unused), Echo::new());
        let listed = desk.approvals(&ApprovalPage::first(10)).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(&listed[0].image_id, waiting.image_id());
        waiting.close().await.unwrap();
        drop(turn);
        let approval = &listed[0].approval;
        desk.store_answer(&approval.approval_id, Decision::Allow).await.unwrap();
        assert_eq!(desk.approvals(&ApprovalPage::first(10)).await.unwrap(), []);
        let again = desk.store_answer(&approval.approval_id, Decision::Allow).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::ConditionFailed);
        // Whoever opens the agent goes on.
        let agent = agent(&first).await;
        until(&agent, 0, |event| matches!(event, EventData::TurnResponse { .. })).await;
        assert_eq!(texts(&agent).await.last().unwrap(), r#"assistant: it is {"x":1}"#);
    });
}

#[test]
fn an_open_agent_at_rest_goes_on_with_an_answer_that_is_stored() {
    for elsewhere in [false, true] {
        block_on(async {
            let world = World::new();
            let first = world.judged(echo_once(), Echo::new(), Asks);
            let (waiting, _turn) = asked(&first).await;
            waiting.close().await.unwrap();
            let agent = agent(&first).await;
            assert_eq!(agent.state(), AgentState::AwaitingApproval);
            let approval = agent.approvals().await.unwrap().remove(0).approval_id;
            if elsewhere {
                let desk = world.runtime(echo_once(), Echo::new());
                desk.store_answer(&approval, Decision::Allow).await.unwrap();
                // Here nobody knows, until somebody asks for the agent.
                first.run(agent.image_id()).await.unwrap();
            } else {
                first.store_answer(&approval, Decision::Allow).await.unwrap();
            }
            until(&agent, 0, |event| matches!(event, EventData::TurnResponse { .. })).await;
        });
    }
}

#[test]
fn a_turn_that_waits_for_approvals_can_be_interrupted_at_rest() {
    block_on(async {
        let world = World::new();
        let first = world.judged(echo_once(), Echo::new(), Asks);
        drop(asked(&first).await);
        drop(first);
        let second = world.judged(echo_once(), Echo::new(), Asks);
        let agent = agent(&second).await;
        let approval = agent.approvals().await.unwrap().remove(0);
        agent.interrupt().await;
        assert_eq!(agent.state(), AgentState::Idle);
        let late = second.answer(&approval.approval_id, Decision::Allow).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::ConditionFailed);
        let history = agent.history().await.unwrap();
        assert!(matches!(&history[2].body, MessageBody::Tool(result) if result.output.is_error()));
        assert_eq!(second.lease(agent.image_id()).await.unwrap(), None);
    });
}

#[test]
fn a_call_that_had_not_begun_is_told_as_such() {
    block_on(async {
        let world = World::new();
        let runtime = world.runtime(echo_once(), Echo::new());
        let first = agent(&runtime).await;
        // As if the process died right behind the assistant's message.
        let call = agentx_core::ToolCall::new("a", "echo", json!({}));
        let said = agentx_core::AssistantMessage::new(vec![agentx_core::AssistantPart::ToolCall(call)]);
        let message =
            Message::new(MessageId::new("m").unwrap(), Timestamp::default(), MessageBody::Assistant(said));
        let request = agentx_core::LeaseRequest::new("dead", Timestamp::default(), Timestamp::default());
        let lease = agentx_core::LeaseRepository::acquire_lease(&*world.store, first.session_id(), &request);
        let fence = agentx_core::Fence::Hold(lease.await.unwrap());
        let event = NewEvent::new(Timestamp::default(), None, EventData::AssistantMessage(message));
        let append = agentx_core::Append::new(vec![event]).with_fence(fence);
        world.store.append(first.session_id(), &append).await.unwrap();
        runtime.stop(first.image_id()).await;

        let agent = runtime.run(first.image_id()).await.unwrap();
        match &agent.history().await.unwrap()[1].body {
            MessageBody::Tool(result) => {
                assert!(matches!(&result.output, ToolOutput::ErrorText(text) if text.contains("not run")));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_rewound_session_goes_on_from_there_and_loses_nothing() {
    block_on(async {
        let world = World::new();
        let runtime = world.runtime(counting(), Echo::new());
        let first = agent(&runtime).await;
        for text in ["one", "two", "three"] {
            first.ask(text).await.unwrap();
        }
        let history = first.history().await.unwrap();
        let two = history[2].id.clone();
        assert_eq!(
            runtime.rewind_image(first.image_id(), &history[3].id).await.unwrap_err().kind(),
            ErrorKind::InvalidInput
        );
        runtime.rewind_image(first.image_id(), &two).await.unwrap();
        assert_eq!(first.ask("2").await.unwrap().text, "3 to 2");
        assert_eq!(first.history().await.unwrap().len(), 6 + 1 + 2, "all is still stored");
        // A new runtime reads the same.
        let second = world.runtime(counting(), Echo::new());
        let again = agent(&second).await;
        assert_eq!(again.ask("3").await.unwrap().text, "5 to 3");
        second.rewind_image(again.image_id(), &history[0].id).await.unwrap();
        drop(runtime);
        drop(second);
        let third = world.runtime(counting(), Echo::new());
        assert_eq!(agent(&third).await.ask("anew").await.unwrap().text, "1 to anew");
    });
}

#[test]
fn a_fork_goes_its_own_way() {
    block_on(async {
        let world = World::new();
        let runtime = world.runtime(counting(), Echo::new());
        let source = agent(&runtime).await;
        source.ask("one").await.unwrap();
        source.ask("two").await.unwrap();
        let two = source.history().await.unwrap()[2].id.clone();
        let spec = || ImageSpec::default().with_name("fork");
        let cut = runtime.fork_image(source.image_id(), Some(&two), spec()).await.unwrap();
        let whole = runtime.fork_image(source.image_id(), None, spec()).await.unwrap();
        assert_eq!(whole.parent_image_id.as_ref(), Some(source.image_id()));
        let cut = runtime.run(&cut.image_id).await.unwrap();
        assert_eq!(cut.ask("2").await.unwrap().text, "3 to 2");
        let whole = runtime.run(&whole.image_id).await.unwrap();
        assert_eq!(whole.ask("3").await.unwrap().text, "5 to 3");
        assert_eq!(source.ask("3").await.unwrap().text, "5 to 3");
        assert_eq!(texts(&cut).await, ["user: one", "assistant: 1 to one", "user: 2", "assistant: 3 to 2"]);
        let missing = ImageId::new("missing").unwrap();
        let error = runtime.fork_image(&missing, None, spec()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

/// Says how much it is shown, and sums up all but the last message when it is told to.
#[derive(Debug)]
struct Compacts;

impl Driver for Compacts {
    fn name(&self) -> &'static str {
        "compacts"
    }

    fn start(&self, turn: Turn) -> DriverStream {
        let shown = turn.history.len();
        let said = turn.history.last().unwrap().body.text();
        let model = ScriptedModel::new("scripted", move |_| Ok(Reply::text(format!("{shown} shown"))));
        let rest = ToolLoop::new(model).start(turn);
        match said.as_str() {
            "sum up" => {
                let summary = vec![ContentPart::text("so far")];
                let compacted = DriverEvent::Compacted(Compaction::new(summary, 1));
                futures::stream::iter([compacted]).chain(rest).boxed()
            }
            _ => rest,
        }
    }
}

#[test]
fn a_summary_stands_for_what_it_replaces_also_after_a_restart() {
    block_on(async {
        let world = World::new();
        let runtime = world.runtime(Compacts, Echo::new());
        let first = agent(&runtime).await;
        for (text, shown) in [("one", 1), ("two", 3), ("sum up", 5), ("four", 4), ("five", 6)] {
            assert_eq!(first.ask(text).await.unwrap().text, format!("{shown} shown"), "{text}");
        }
        drop(runtime);
        let second = world.runtime(Compacts, Echo::new());
        let again = agent(&second).await;
        assert_eq!(again.ask("six").await.unwrap().text, "8 shown");
        let stored = again.messages(MessagePage::first(100)).await.unwrap();
        assert_eq!(stored.len(), 13, "nothing is gone");
        let marks = stored.iter().filter(|stored| stored.message.body.role() == "summary").count();
        assert_eq!(marks, 1);
        // Back to before the summary: what it stood for is shown again.
        let two = stored[2].message.id.clone();
        second.rewind_image(again.image_id(), &two).await.unwrap();
        assert_eq!(again.ask("2").await.unwrap().text, "3 shown");
    });
}

#[test]
fn a_cursor_of_the_future_is_the_present() {
    block_on(async {
        let world = World::new();
        let runtime = world.runtime(counting(), Echo::new());
        let agent = agent(&runtime).await;
        let mut events = agent.subscribe_from(Cursor::from(1000));
        assert!(events.next().now_or_never().is_none());
        agent.ask("one").await.unwrap();
        assert!(matches!(events.next().await.unwrap().data, EventData::UserMessage(_)));
    });
}

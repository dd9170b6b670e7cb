//! The runtime: what is stored, what is told, and what remains when a turn is cut short.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::{
    pin::pin,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use agentx_core::{
    Agent, AgentState, AssistantPart, Budget, BudgetKind, ContainerId, ContentPart, Cursor, Decision, Driver,
    DriverEvent, DriverStream, Error, ErrorKind, EventData, EventLayer, Hook, HookAction, HookPoint, Host,
    ImageSpec, MemoryRepositories, Message, MessageBody, MessagePage, ModelInfo, ModelTable, Outcome,
    OutcomeKind, Permission, PermissionRequest, Prices, Reply, Repositories, Result, Runtime, RuntimeBuilder,
    ScriptedModel, SessionRepository, Tool, ToolLoop, ToolOutput, Turn, TurnEvents,
};
use agentx_resource::memory::ManualClock;
use async_trait::async_trait;
use futures::{StreamExt, executor::block_on, future, stream};
use serde_json::json;
use support::{Echo, host};

fn runtime(model: ScriptedModel, tools: Vec<Arc<dyn Tool>>, repositories: Repositories) -> Runtime {
    runtime_on(host(), model, tools, repositories)
}

fn runtime_on(
    host: Host,
    model: ScriptedModel,
    tools: Vec<Arc<dyn Tool>>,
    repositories: Repositories,
) -> Runtime {
    let builder = Runtime::builder(ToolLoop::new(model), host).repositories(repositories);
    tools.into_iter().fold(builder, RuntimeBuilder::tool).build().unwrap()
}

async fn agent(runtime: &Runtime) -> Agent {
    let container = ContainerId::new("alice").unwrap();
    runtime.create_container(&container).await.unwrap();
    let image = match runtime.images(&container).await.unwrap().pop() {
        Some(image) => image,
        None => runtime.create_image(&container, ImageSpec::default()).await.unwrap(),
    };
    runtime.run(&image.image_id).await.unwrap()
}

fn names(events: &[Arc<agentx_core::Event>], layer: EventLayer) -> Vec<String> {
    events
        .iter()
        .filter(|event| event.data.layer() == layer)
        .map(|event| serde_json::to_value(&event.data).unwrap()["type"].as_str().unwrap().to_owned())
        .collect()
}

/// What every model API asks of a history.
fn assert_valid(history: &[Message]) {
    for (index, message) in history.iter().enumerate() {
        let MessageBody::Assistant(assistant) = &message.body else { continue };
        assert!(!assistant.content.is_empty());
        for call in assistant.tool_calls() {
            let mut behind = history[index + 1..]
                .iter()
                .take_while(|message| matches!(message.body, MessageBody::Tool(_)));
            assert!(
                behind.any(|message| matches!(&message.body, MessageBody::Tool(result) if result.tool_call_id == call.id)),
                "{} has no result: {history:?}",
                call.id
            );
        }
    }
}

fn echo_once() -> ScriptedModel {
    ScriptedModel::new("scripted", |request| match request.answer("a") {
        None => Ok(Reply::thinking("hm").then_text("let me see").call("a", "echo", json!({"x": 1}))),
        Some(output) => Ok(Reply::text(format!("it is {}", output.to_text()))),
    })
}

#[test]
fn a_turn_is_told_in_four_layers_and_stored() {
    block_on(async {
        let runtime = runtime(echo_once(), vec![Arc::new(Echo::new())], Repositories::memory());
        let agent = agent(&runtime).await;
        let events: Vec<_> = agent.send("what is it?").await.unwrap().collect().await;
        assert_eq!(
            names(&events, EventLayer::Message),
            ["user_message", "assistant_message", "tool_result_message", "assistant_message"]
        );
        assert_eq!(names(&events, EventLayer::Turn), ["turn_request", "turn_response"]);
        assert_eq!(
            names(&events, EventLayer::State),
            [
                "conversation_start",
                "conversation_thinking",
                "conversation_responding",
                "tool_planned",
                "tool_executing",
                "tool_completed",
                "conversation_responding",
                "conversation_end"
            ]
        );
        let stored = events.iter().filter(|event| event.data.is_stored());
        let places: Vec<_> = stored.map(|event| event.cursor()).collect();
        assert_eq!(places, (1..=places.len() as u64).map(Cursor::from).collect::<Vec<_>>());
        assert!(events.iter().map(|event| event.cursor()).is_sorted_by(|a, b| a < b));
        match &events.last().unwrap().data {
            EventData::TurnResponse { outcome, usage, .. } => {
                assert_eq!(*outcome, OutcomeKind::Completed);
                // Words: "what is it?" (3), then all that was said and asked before, and what was said.
                assert!(usage.input_tokens > 3 && usage.output_tokens > 5, "{usage:?}");
            }
            other => panic!("{other:?}"),
        }
        let history = agent.history().await.unwrap();
        assert_eq!(
            history.iter().map(|message| message.body.role()).collect::<Vec<_>>(),
            ["user", "assistant", "tool", "assistant"]
        );
        assert_eq!(history[3].body.text(), r#"it is {"x":1}"#);
        assert_eq!(agent.state(), AgentState::Idle);
    });
}

#[test]
fn what_was_answered_is_reported_and_the_next_turn_knows_it() {
    block_on(async {
        let model = ScriptedModel::new("scripted", |request| {
            Ok(Reply::text(format!("{} messages before", request.messages.len() - 1)))
        });
        let runtime = runtime(model, vec![], Repositories::memory());
        let agent = agent(&runtime).await;
        assert_eq!(agent.ask("one").await.unwrap().text, "0 messages before");
        assert_eq!(agent.ask("two").await.unwrap().text, "2 messages before");
        let error = agent.send("  ").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn an_interrupt_drops_the_tool_and_leaves_a_valid_history() {
    block_on(async {
        let (echo, _open) = Echo::gated();
        let running = echo.running.clone();
        let runtime = runtime(echo_once(), vec![Arc::new(echo)], Repositories::memory());
        let agent = agent(&runtime).await;
        let mut turn = agent.send("go").await.unwrap();
        while let Some(event) = turn.next().await {
            if matches!(event.data, EventData::ToolExecuting { .. }) {
                break;
            }
        }
        assert_eq!(agent.send("too early").await.unwrap_err().kind(), ErrorKind::Busy);
        agent.interrupt().await;
        assert_eq!(running.load(Ordering::SeqCst), 0);
        let rest: Vec<_> = turn.collect().await;
        assert!(names(&rest, EventLayer::State).contains(&"conversation_interrupted".to_owned()));
        let history = agent.history().await.unwrap();
        assert_valid(&history);
        assert!(matches!(&history[2].body, MessageBody::Tool(result) if result.output.is_error()));
        // Nothing is under way any more: interrupting does nothing, and sending works.
        agent.interrupt().await;
        let again = agent.send("again").await.unwrap();
        agent.interrupt().await;
        assert!(matches!(again.finish().await.unwrap().outcome, Outcome::Interrupted));
        assert_valid(&agent.history().await.unwrap());
    });
}

#[test]
fn a_failed_turn_says_why_and_the_next_one_works() {
    block_on(async {
        let model = ScriptedModel::replies([]);
        let runtime = runtime(model, vec![], Repositories::memory());
        let agent = agent(&runtime).await;
        let error = agent.ask("hello").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(agent.state(), AgentState::Error);
        let history = agent.history().await.unwrap();
        assert_eq!(history.last().unwrap().body.role(), "error");
        assert!(agent.ask("hello again").await.is_err());
    });
}

#[test]
fn a_session_that_was_cut_off_is_made_whole() {
    block_on(async {
        let store = Arc::new(MemoryRepositories::new());
        let repositories = Repositories::shared(store.clone());
        let (echo, _open) = Echo::gated();
        let host = host();
        let first = runtime_on(host.clone(), echo_once(), vec![Arc::new(echo)], repositories.clone());
        let cut = agent(&first).await;
        let mut turn = cut.send("go").await.unwrap();
        while let Some(event) = turn.next().await {
            if matches!(event.data, EventData::ToolExecuting { .. }) {
                break;
            }
        }
        // As after a crash: the turn ends where it stands.
        drop(first);
        assert_eq!(cut.send("x").await.unwrap_err().kind(), ErrorKind::Cancelled);
        let stored = store.list_messages(cut.session_id(), MessagePage::first(10)).await.unwrap();
        assert_eq!(stored.len(), 2, "the call has no result yet");

        let second = runtime_on(host, echo_once(), vec![Arc::new(Echo::new())], repositories);
        let agent = agent(&second).await;
        assert_eq!(agent.session_id(), cut.session_id());
        let history = agent.history().await.unwrap();
        assert_valid(&history);
        match &history[2].body {
            MessageBody::Tool(result) => match &result.output {
                ToolOutput::ErrorText(text) => assert!(text.contains("unknown"), "{text}"),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
        assert_eq!(agent.ask("again").await.unwrap().text, r#"it is {"x":1}"#);
        assert_valid(&agent.history().await.unwrap());
    });
}

#[test]
fn a_subscriber_resumes_behind_what_it_saw() {
    block_on(async {
        let runtime = runtime(echo_once(), vec![Arc::new(Echo::new())], Repositories::memory());
        let agent = agent(&runtime).await;
        let all: Vec<_> = agent.send("go").await.unwrap().collect().await;
        let stored: Vec<_> = all.iter().filter(|event| event.data.is_stored()).cloned().collect();
        let mut again = Vec::new();
        let mut events = agent.subscribe_from(2).filter(|event| future::ready(event.data.is_stored()));
        while again.len() < stored.len() - 2 {
            again.push(events.next().await.unwrap());
        }
        assert_eq!(again, stored[2..]);
    });
}

#[test]
fn one_image_has_one_agent() {
    block_on(async {
        let runtime = runtime(echo_once(), vec![], Repositories::memory());
        let first = agent(&runtime).await;
        let (a, b) = futures::join!(runtime.run(first.image_id()), runtime.run(first.image_id()));
        assert_eq!(a.unwrap().id(), first.id());
        assert_eq!(b.unwrap().id(), first.id());
        runtime.delete_image(first.image_id()).await.unwrap();
        assert_eq!(runtime.run(first.image_id()).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert!(first.send("x").await.is_err());
    });
}

/// Tells what its turn goes by.
#[derive(Debug)]
struct TellsItsTurn;

impl Driver for TellsItsTurn {
    fn name(&self) -> &'static str {
        "tells its turn"
    }

    fn start(&self, turn: Turn) -> DriverStream {
        let image = turn.image.unwrap();
        let options = turn.options.as_deref().map(ToString::to_string);
        let told = format!("{} {:?} {options:?}", image.spec.name, turn.system);
        let error = Error::new(ErrorKind::Unsupported, "tell turn").with_message(told);
        stream::iter([DriverEvent::from(Outcome::Failed(error))]).boxed()
    }
}

/// Takes a while, and counts nothing.
#[derive(Debug)]
struct Slow(ManualClock);

impl Driver for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn start(&self, _turn: Turn) -> DriverStream {
        let clock = self.0.clone();
        stream::once(async move {
            clock.advance(Duration::from_millis(150));
            Outcome::Completed.into()
        })
        .boxed()
    }
}

#[test]
fn a_turn_s_report_and_its_last_event_tell_the_same_of_what_it_took() {
    block_on(async {
        let clock = ManualClock::default();
        let host = Host { clock: Arc::new(clock.clone()), ..host() };
        let runtime = Runtime::builder(Slow(clock), host).build().unwrap();
        let agent = agent(&runtime).await;
        let events = agent.subscribe();
        let report = agent.ask("go").await.unwrap();
        assert_eq!(report.spent.duration, Duration::from_millis(150));
        let ends = events.filter_map(async |event| match event.data {
            EventData::TurnResponse { spent, .. } => spent,
            _ => None,
        });
        assert_eq!(pin!(ends).next().await, Some(report.spent));
    });
}

#[test]
fn a_turn_goes_by_its_image_as_it_is_and_by_what_was_sent_with_its_message() {
    block_on(async {
        let runtime = Runtime::builder(TellsItsTurn, host()).build().unwrap();
        let agent = agent(&runtime).await;
        let parts = || vec![ContentPart::text("hello")];
        let options = Some(Arc::new(json!({"model": "small"})));
        let told = async |turn: Result<TurnEvents>| turn.unwrap().finish().await.unwrap_err().to_string();
        let first = told(agent.send_with(parts(), options).await).await;
        assert!(first.contains(r#"New Conversation None Some("{\"model\":\"small\"}")"#), "{first}");
        // The agent runs, and is the same one.
        let mut image = runtime.image(agent.image_id()).await.unwrap().unwrap();
        image.spec = image.spec.with_name("Renamed").with_system_prompt("Be brief.");
        runtime.update_image(image).await.unwrap();
        let second = told(agent.send_parts(parts()).await).await;
        assert!(second.contains(r#"Renamed Some("Be brief.") None"#), "{second}");
    });
}

#[test]
fn the_loss_of_every_listener_changes_nothing() {
    block_on(async {
        let runtime = runtime(echo_once(), vec![Arc::new(Echo::new())], Repositories::memory());
        let agent = agent(&runtime).await;
        let mut end = agent.subscribe();
        drop(agent.send("go").await.unwrap());
        while let Some(event) = end.next().await {
            if matches!(event.data, EventData::TurnResponse { .. }) {
                break;
            }
        }
        let history = agent.history().await.unwrap();
        assert_eq!(history.len(), 4);
        assert!(matches!(&history[1].body, MessageBody::Assistant(message)
            if matches!(message.content[0], AssistantPart::Thinking { .. })));
    });
}

#[test]
fn a_container_goes_with_its_images_and_their_agents() {
    block_on(async {
        let runtime = runtime(echo_once(), vec![], Repositories::memory());
        let agent = agent(&runtime).await;
        let other = ContainerId::new("bob").unwrap();
        runtime.create_container(&other).await.unwrap();
        runtime.delete_container(&ContainerId::new("alice").unwrap()).await.unwrap();
        assert_eq!(agent.send("hello").await.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(runtime.image(agent.image_id()).await.unwrap(), None);
        let left: Vec<_> =
            runtime.containers().await.unwrap().into_iter().map(|left| left.container_id).collect();
        assert_eq!(left, [other]);
    });
}

#[test]
fn a_stopped_agent_is_gone_and_its_session_goes_on() {
    block_on(async {
        let (echo, _open) = Echo::gated();
        let running = echo.running.clone();
        let runtime = runtime(echo_once(), vec![Arc::new(echo)], Repositories::memory());
        let first = agent(&runtime).await;
        let mut turn = first.send("go").await.unwrap();
        while let Some(event) = turn.next().await {
            if matches!(event.data, EventData::ToolExecuting { .. }) {
                break;
            }
        }
        runtime.stop(first.image_id()).await;
        assert_eq!(running.load(Ordering::SeqCst), 0);
        assert_eq!(first.send("hello").await.unwrap_err().kind(), ErrorKind::Cancelled);
        let second = runtime.run(first.image_id()).await.unwrap();
        assert_ne!(second.id(), first.id());
        assert_valid(&second.history().await.unwrap());
        assert_eq!(second.history().await.unwrap().len(), 3);
    });
}

/// What runs over one store, one after another.
struct Runs {
    host: Host,
    store: Arc<MemoryRepositories>,
}

impl Runs {
    fn new() -> Self {
        Self { host: host(), store: Arc::default() }
    }

    async fn next(&self, echo: Echo, set: impl FnOnce(RuntimeBuilder) -> RuntimeBuilder) -> (Runtime, Agent) {
        let container = ContainerId::new("alice").unwrap();
        let model = ScriptedModel::new("priced", |request| match request.answer("a") {
            None => Ok(Reply::text("let me see").call("a", "echo", json!({"do": "x"}))),
            Some(output) => {
                Ok(Reply::text(format!("{} shown, {}", request.messages.len(), output.to_text())))
            }
        });
        let info = ModelInfo::new(100_000, 1000).with_prices(Prices::new(1_000_000, 1_000_000));
        let driver = ToolLoop::new(model).with_models(ModelTable::empty("2026-01-01").with("priced", info));
        let builder = Runtime::builder(driver, self.host.clone())
            .repositories(Repositories::shared(self.store.clone()))
            .tool(Arc::new(echo));
        let runtime = set(builder).build().unwrap();
        runtime.create_container(&container).await.unwrap();
        let image = match runtime.images(&container).await.unwrap().first() {
            Some(image) => image.image_id.clone(),
            None => runtime.create_image(&container, ImageSpec::default()).await.unwrap().image_id,
        };
        let agent = runtime.run(&image).await.unwrap();
        (runtime, agent)
    }
}

#[test]
fn a_session_budget_holds_over_turns_and_restarts() {
    block_on(async {
        let runs = Runs::new();
        let bounded = |builder: RuntimeBuilder| builder.session_budget(Budget::unbounded().with_steps(5));
        let (runtime, agent) = runs.next(Echo::new(), bounded).await;
        let first = agent.ask("one").await.unwrap();
        assert_eq!((first.spent.steps, first.spent.tool_calls, first.spent.turns), (2, 1, 1));
        assert_eq!(first.spent.cost.as_micros(), first.usage.total(), "a dollar for a million of each");
        assert!(matches!(agent.ask("two").await.unwrap().outcome, Outcome::Completed));
        drop((runtime, agent));

        let (_runtime, agent) = runs.next(Echo::new(), bounded).await;
        let third = agent.ask("three").await.unwrap();
        assert!(matches!(third.outcome, Outcome::SharedBudget(BudgetKind::Steps)), "{}", third.outcome);
        assert_eq!((third.spent.steps, third.spent.tool_calls), (1, 1), "what had begun was finished");
        let fourth = agent.ask("four").await.unwrap();
        assert!(matches!(fourth.outcome, Outcome::SharedBudget(BudgetKind::Steps)));
        assert_eq!(fourth.spent.steps, 0);
    });
}

#[test]
fn what_an_interrupted_turn_spent_is_told_and_counts() {
    block_on(async {
        let runs = Runs::new();
        let (echo, _open) = Echo::gated();
        let bounded =
            |builder: RuntimeBuilder| builder.session_budget(Budget::unbounded().with_tool_calls(1));
        let (_runtime, agent) = runs.next(echo, bounded).await;
        let mut turn = agent.send("go").await.unwrap();
        while !matches!(turn.next().await.unwrap().data, EventData::ToolExecuting { .. }) {}
        agent.interrupt().await;
        let report = turn.finish().await.unwrap();
        assert!(report.spent.steps >= 1 && report.spent.cost.as_micros() > 0, "{:?}", report.spent);
        let next = agent.ask("again").await.unwrap();
        assert!(matches!(next.outcome, Outcome::SharedBudget(BudgetKind::ToolCalls)), "{}", next.outcome);
    });
}

/// Puts another input in place of the model's.
#[derive(Debug)]
struct Edits;

#[async_trait]
impl Hook for Edits {
    async fn run(&self, point: HookPoint) -> Result<HookAction> {
        Ok(match point {
            HookPoint::BeforeTool { .. } => HookAction::ReplaceInput(json!({"do": "edited"})),
            _ => HookAction::Continue,
        })
    }
}

#[derive(Debug)]
struct Asks;

#[async_trait]
impl Permission for Asks {
    async fn decide(&self, _: PermissionRequest) -> Result<Decision> {
        Ok(Decision::Ask("may I?".to_owned()))
    }
}

#[test]
fn a_call_resumes_as_it_was_approved() {
    block_on(async {
        let runs = Runs::new();
        let asking = |builder: RuntimeBuilder| builder.permission(Arc::new(Asks)).hook(Arc::new(Edits));
        let (runtime, agent) = runs.next(Echo::new(), asking).await;
        let mut turn = agent.send("go").await.unwrap();
        while !matches!(turn.next().await.unwrap().data, EventData::ApprovalRequested { .. }) {}
        drop((runtime, turn, agent));

        let (runtime, agent) = runs.next(Echo::new(), asking).await;
        let approval = agent.approvals().await.unwrap().remove(0);
        assert_eq!(approval.call.input, json!({"do": "edited"}));
        let mut events = agent.subscribe();
        runtime.answer(&approval.approval_id, Decision::Allow).await.unwrap();
        while !matches!(events.next().await.unwrap().data, EventData::TurnResponse { .. }) {}
        let history = agent.history().await.unwrap();
        let ran = history.iter().find_map(|message| match &message.body {
            MessageBody::Tool(result) => Some((result.input.clone(), result.output.to_text())),
            _ => None,
        });
        assert_eq!(ran, Some((Some(json!({"do": "edited"})), r#"{"do":"edited"}"#.to_owned())));
    });
}

/// Notes how turns end.
#[derive(Debug, Default)]
struct Ends(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Hook for Ends {
    async fn run(&self, point: HookPoint) -> Result<HookAction> {
        if let HookPoint::AfterTurn { outcome, spent } = point {
            self.0.lock().unwrap().push(format!("{} {}", outcome.as_str(), spent.tool_calls));
            return Err(Error::new(ErrorKind::Unavailable, "note"));
        }
        Ok(HookAction::Continue)
    }
}

#[test]
fn hooks_are_asked_behind_every_turn_once_also_behind_one_that_is_interrupted() {
    block_on(async {
        let ends = Arc::default();
        let hook = || Arc::new(Ends(Arc::clone(&ends)));
        let (echo, _open) = Echo::gated();
        let (_runtime, agent) = Runs::new().next(echo, |builder| builder.hook(hook())).await;
        let mut turn = agent.send("go").await.unwrap();
        while !matches!(turn.next().await.unwrap().data, EventData::ToolExecuting { .. }) {}
        agent.interrupt().await;
        let failed =
            turn.filter(|event| std::future::ready(matches!(event.data, EventData::HookFailed { .. })));
        assert_eq!(failed.count().await, 1, "what failed is told");
        let (_runtime, agent) = Runs::new().next(Echo::new(), |builder| builder.hook(hook())).await;
        agent.ask("go").await.unwrap();
        assert_eq!(*ends.lock().unwrap(), ["interrupted 1", "completed 1"]);
    });
}

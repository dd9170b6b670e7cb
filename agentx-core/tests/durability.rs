//! What is stored and what is told, wherever a turn is cut, fails or ends.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::HashSet,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use agentx_core::{
    Agent, AgentState, Append, Appended, ContainerId, Decision, Driver, DriverStream, Error, ErrorKind,
    EventData, EventPage, Host, ImageRecord, ImageSpec, MemoryRepositories, Message, MessageBody, MessageId,
    MessagePage, OutcomeKind, Permission, PermissionRequest, Reply, Repositories, Result, Runtime,
    ScriptedModel, SessionId, SessionRecord, SessionRepository, StoredEvent, StoredMessage, ToolLoop, Turn,
};
use agentx_resource::{BoxFuture, Spawn};
use async_trait::async_trait;
use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    executor::block_on,
    future,
};
use serde_json::json;
use support::{Echo, Later, host};

/// Sessions that can be watched and made to fail. Each change lets others run before and after it takes effect, so
/// that a task can be dropped at either place.
#[derive(Debug, Default)]
struct Sessions {
    store: Arc<MemoryRepositories>,
    appends: AtomicUsize,
    /// How many tools each append announces, of those that announce any.
    begun: Arc<Mutex<Vec<usize>>>,
    /// The append that fails, the first being 0.
    failing: Option<usize>,
    /// Each append tells of itself here, and waits to be let on.
    gate: Arc<Mutex<Option<mpsc::UnboundedSender<oneshot::Sender<()>>>>>,
    /// Each queues a message behind an append, before that append is known to be done.
    queueing: Arc<Mutex<Vec<Agent>>>,
}

async fn others_run() {
    let mut first = true;
    poll_fn(|cx| {
        if std::mem::take(&mut first) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}

#[async_trait]
impl SessionRepository for Sessions {
    async fn find_session(&self, id: &SessionId) -> Result<Option<SessionRecord>> {
        others_run().await;
        self.store.find_session(id).await
    }

    async fn append(&self, session: &SessionId, append: &Append) -> Result<Appended> {
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            let (open, opened) = oneshot::channel();
            gate.unbounded_send(open).unwrap();
            opened.await.unwrap();
        }
        others_run().await;
        if self.failing == Some(self.appends.fetch_add(1, Ordering::SeqCst)) {
            return Err(Error::new(ErrorKind::Unavailable, "append"));
        }
        let begun =
            append.events.iter().filter(|new| matches!(new.data, EventData::ToolExecuting { .. })).count();
        self.begun.lock().unwrap().extend(Some(begun).filter(|count| *count > 0));
        let place = self.store.append(session, append).await;
        let queueing = self.queueing.lock().unwrap().pop();
        if let Some(agent) = queueing {
            agent.queue("and then?").await.unwrap();
        }
        others_run().await;
        place
    }

    async fn list_messages(&self, session: &SessionId, page: MessagePage) -> Result<Vec<StoredMessage>> {
        others_run().await;
        self.store.list_messages(session, page).await
    }

    async fn find_message(&self, session: &SessionId, id: &MessageId) -> Result<Option<StoredMessage>> {
        self.store.find_message(session, id).await
    }

    async fn find_mark(&self, session: &SessionId, before: Option<u64>) -> Result<Option<StoredMessage>> {
        self.store.find_mark(session, before).await
    }

    async fn list_events(&self, session: &SessionId, page: EventPage) -> Result<Vec<StoredEvent>> {
        others_run().await;
        self.store.list_events(session, page).await
    }

    async fn last_event(&self, session: &SessionId) -> Result<u64> {
        self.store.last_event(session).await
    }

    async fn fork_session(
        &self,
        source: &SessionId,
        before: Option<u64>,
        image: &ImageRecord,
        session: &SessionRecord,
    ) -> Result<()> {
        self.store.fork_session(source, before, image, session).await
    }
}

fn repositories(sessions: Sessions) -> Repositories {
    let store = sessions.store.clone();
    Repositories { sessions: Arc::new(sessions), ..Repositories::shared(store) }
}

/// Two calls in one answer, then a last word.
fn two_calls() -> ToolLoop<ScriptedModel> {
    ToolLoop::new(ScriptedModel::new("scripted", |request| match request.answer("a") {
        None => Ok(Reply::text("let me see").call("a", "echo", json!({"x": 1})).call(
            "b",
            "echo",
            json!({"do": "fail"}),
        )),
        Some(_) => Ok(Reply::text("done")),
    }))
}

fn runtime(driver: impl Driver, host: Host, repositories: Repositories) -> Runtime {
    Runtime::builder(driver, host).repositories(repositories).tool(Arc::new(Echo::new())).build().unwrap()
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

/// What every model API asks of a history: no message is empty, the results of a message's calls stand right behind it,
/// one for each, and there are no others.
#[track_caller]
fn assert_valid(history: &[Message]) {
    let mut open = HashSet::new();
    for message in history {
        match &message.body {
            MessageBody::Tool(result) => {
                assert!(open.remove(&result.tool_call_id), "no call is open for this: {history:#?}");
            }
            body => {
                assert!(open.is_empty(), "{open:?} have no result: {history:#?}");
                let MessageBody::Assistant(assistant) = body else { continue };
                assert!(!assistant.content.is_empty(), "{history:#?}");
                open = assistant.tool_calls().map(|call| call.id.clone()).collect();
                assert_eq!(open.len(), assistant.tool_calls().count(), "ids are unique: {history:#?}");
            }
        }
    }
    assert!(open.is_empty(), "{open:?} have no result: {history:#?}");
}

#[test]
fn tools_that_begin_together_are_announced_by_one_append() {
    block_on(async {
        let begun = Arc::default();
        let sessions = Sessions { begun: Arc::clone(&begun), ..Sessions::default() };
        let runtime = runtime(two_calls(), host(), repositories(sessions));
        agent(&runtime).await.ask("go").await.unwrap();
        assert_eq!(*begun.lock().unwrap(), [2]);
    });
}

/// Polls each task so often at most, and then drops it where it stands, as a host does that is shut down.
#[derive(Debug)]
struct Cut(usize);

impl Spawn for Cut {
    fn spawn(&self, mut task: BoxFuture<'static, ()>) {
        for _ in 0..self.0 {
            if task
                .poll_unpin(&mut std::task::Context::from_waker(futures::task::noop_waker_ref()))
                .is_ready()
            {
                return;
            }
        }
    }
}

#[test]
fn a_turn_that_is_dropped_at_any_await_leaves_a_session_that_goes_on() {
    let mut cuts = 0;
    for polls in 0.. {
        let store = Arc::new(MemoryRepositories::new());
        let sessions = || Sessions { store: store.clone(), ..Sessions::default() };
        let common = host();
        let cutting = Host::new(common.clock.clone(), Arc::new(Cut(polls)), common.ids.clone());
        let whole = block_on(async {
            let first = runtime(two_calls(), cutting, repositories(sessions()));
            let cut = agent(&first).await;
            let sent = cut.send("go").await;
            let stored = store.list_messages(cut.session_id(), MessagePage::first(100)).await.unwrap();
            if sent.is_ok() {
                assert_eq!(stored[0].message.body.text(), "go", "an acknowledged message is stored");
            }
            let whole = match sent {
                Ok(mut turn) => {
                    // To its end, whatever that is: nobody waits for ever.
                    while turn.next().await.is_some() {}
                    turn.finish()
                        .await
                        .map_err(|error| assert_eq!(error.kind(), ErrorKind::Cancelled))
                        .is_ok()
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    false
                }
            };

            // Whoever comes later than the lease lasts goes on.
            let later = Host::new(Arc::new(Later), common.spawn, common.ids);
            let second = runtime(two_calls(), later, repositories(sessions()));
            let again = agent(&second).await;
            let history = again.history().await.unwrap();
            assert_valid(&history);
            assert_eq!(
                history[..stored.len()],
                stored.into_iter().map(|one| one.message).collect::<Vec<_>>()
            );
            assert_eq!(again.ask("again").await.unwrap().text, "done");
            assert_valid(&again.history().await.unwrap());
            whole
        });
        if whole {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 8, "only {cuts} places were tried");
}

#[test]
fn a_store_that_fails_at_any_append_ends_the_turn_and_what_is_not_stored_is_not_told() {
    for failing in 0.. {
        let sessions = Sessions { failing: Some(failing), ..Sessions::default() };
        let store = sessions.store.clone();
        let done = block_on(async {
            let runtime = runtime(two_calls(), host(), repositories(sessions));
            let agent = agent(&runtime).await;
            let mut all = agent.subscribe();
            let done = match agent.ask("go").await {
                Ok(_) => true,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    assert_eq!(agent.state(), AgentState::Error);
                    false
                }
            };
            let mut told = Vec::new();
            while let Some(Some(event)) = all.next().now_or_never() {
                told.push(event.data.clone());
            }
            let stored = store.list_messages(agent.session_id(), MessagePage::first(100)).await.unwrap();
            let stored: Vec<_> = stored.into_iter().map(|one| one.message).collect();
            let told_messages: Vec<_> = told.iter().filter_map(EventData::message).cloned().collect();
            assert_eq!(told_messages, stored);
            if failing > 0 && !done {
                let end = told.iter().rev().take(2).rev().collect::<Vec<_>>();
                assert!(
                    matches!(end[0], EventData::ConversationEnd { reason } if reason == "error"),
                    "{end:?}"
                );
                assert!(matches!(end[1], EventData::TurnResponse { outcome: OutcomeKind::Failed, .. }));
                assert!(
                    told.iter().any(|event| matches!(event, EventData::ErrorOccurred { .. })),
                    "{told:#?}"
                );
            }
            if !done {
                assert_eq!(agent.ask("again").await.unwrap().text, "done");
            }
            assert_valid(&agent.history().await.unwrap());
            done
        });
        if done {
            assert!(failing >= 4, "only {failing} appends were tried");
            break;
        }
    }
}

#[test]
fn nothing_is_told_or_acknowledged_before_it_is_stored() {
    block_on(async {
        let (gate, mut waiting) = mpsc::unbounded();
        let sessions = Sessions { gate: Arc::new(Mutex::new(Some(gate))), ..Sessions::default() };
        let store = sessions.store.clone();
        let runtime = runtime(two_calls(), host(), repositories(sessions));
        let agent = agent(&runtime).await;
        let mut all = agent.subscribe();

        let mut send = Box::pin(agent.send("go"));
        let first = match future::select(&mut send, waiting.next()).await {
            future::Either::Left(_) => panic!("acknowledged before it was stored"),
            future::Either::Right((gate, _)) => gate.unwrap(),
        };
        assert!((&mut send).now_or_never().is_none());
        assert!(all.next().now_or_never().is_none());
        first.send(()).unwrap();
        drop(send.await.unwrap());

        let mut told = Vec::new();
        loop {
            let next = future::select(all.next(), waiting.next()).await;
            match next {
                future::Either::Left((event, _)) => {
                    let event = event.unwrap();
                    told.extend(event.data.message().cloned());
                    if matches!(event.data, EventData::TurnResponse { .. }) {
                        break;
                    }
                }
                future::Either::Right((gate, _)) => {
                    // While the store is at work, nothing more is told than what it has.
                    while let Some(Some(event)) = all.next().now_or_never() {
                        told.extend(event.data.message().cloned());
                    }
                    let stored =
                        store.list_messages(agent.session_id(), MessagePage::first(9)).await.unwrap();
                    assert_eq!(told.len(), stored.len());
                    gate.unwrap().send(()).unwrap();
                }
            }
        }
        assert_eq!(told.len(), 5);
    });
}

#[test]
fn what_others_store_while_the_agent_stores_is_told_in_its_place_and_once() {
    block_on(async {
        let queueing = Arc::new(Mutex::new(Vec::new()));
        let sessions = Sessions { queueing: queueing.clone(), ..Sessions::default() };
        let store = sessions.store.clone();
        let runtime = runtime(two_calls(), host(), repositories(sessions));
        let agent = agent(&runtime).await;
        let all = agent.subscribe();
        *queueing.lock().unwrap() = vec![agent.clone(); 3];
        drop(agent.send("go").await.unwrap());
        let mut turns = 0;
        let told = all.take_while(|event| {
            turns += usize::from(matches!(event.data, EventData::ConversationEnd { .. }));
            future::ready(turns < 4)
        });
        let told: Vec<_> = told.collect().await;
        assert!(told.iter().map(|event| event.cursor()).is_sorted_by(|a, b| a < b), "{told:#?}");
        let stored = store.list_events(agent.session_id(), EventPage::after(0, told.len())).await.unwrap();
        let told: Vec<_> = told.iter().filter(|event| event.data.is_stored()).collect();
        for (told, stored) in told.iter().zip(&stored) {
            assert_eq!((told.seq, &told.data), (stored.seq, &stored.event.data));
        }
        assert!(told.len() > 12, "{told:#?}");
    });
}

#[test]
fn a_listener_that_lags_behind_the_end_of_its_turn_is_not_kept_waiting() {
    block_on(async {
        let words = "word ".repeat(5000);
        let model = ScriptedModel::new("scripted", move |_| Ok(Reply::text(words.clone())));
        let runtime = runtime(ToolLoop::new(model), host(), Repositories::memory());
        let agent = agent(&runtime).await;
        let slow = agent.send("one").await.unwrap();
        agent.interrupt().await;
        agent.ask("two").await.unwrap();
        let events: Vec<_> = slow.collect::<Vec<_>>().now_or_never().unwrap();
        assert!(matches!(events[0].data, EventData::Lagged { missed } if missed > 0));
        // What is stored is missing nowhere.
        assert!(matches!(events[1].data, EventData::UserMessage(_)));
        assert!(matches!(events.last().unwrap().data, EventData::TurnResponse { .. }));
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

#[test]
fn an_answer_is_acted_on_also_where_nobody_waits_for_that() {
    block_on(async {
        let store = Arc::new(MemoryRepositories::new());
        let open = |driver, host| {
            let sessions = Sessions { store: Arc::clone(&store), ..Sessions::default() };
            let builder = Runtime::builder(driver, host).repositories(repositories(sessions));
            builder.tool(Arc::new(Echo::new())).permission(Arc::new(Asks)).build().unwrap()
        };
        let first = open(echo_once(|| {}), host());
        let asking = agent(&first).await;
        let mut turn = asking.send("go").await.unwrap();
        while !matches!(turn.next().await.unwrap().data, EventData::ApprovalRequested { .. }) {}
        let approval = asking.approvals().await.unwrap().remove(0).approval_id;
        drop((first, asking, turn));

        let later = Host::new(Arc::new(Later), Arc::new(support::Threads), Arc::new(support::Ids));
        let (goes_on, mut gone_on) = mpsc::unbounded();
        let second = open(echo_once(move || goes_on.unbounded_send(()).unwrap()), later);
        let mut answer = Box::pin(second.answer(&approval, Decision::Allow));
        // The host may have done all of it by now.
        let _ = (&mut answer).now_or_never();
        drop(answer);
        gone_on.next().await.unwrap();
    });
}

/// One call, and a last word before which `done` is called.
fn echo_once(done: impl Fn() + Send + Sync + 'static) -> ToolLoop<ScriptedModel> {
    ToolLoop::new(ScriptedModel::new("scripted", move |request| {
        if request.answer("a").is_none() {
            return Ok(Reply::text("let me see").call("a", "echo", json!({"x": 1})));
        }
        done();
        Ok(Reply::text("done"))
    }))
}

/// A runtime whose tool is under way and waits until it is let on, and the turn that called it.
async fn at_work(
    sessions: Sessions,
) -> (Runtime, Agent, agentx_core::TurnEvents, Arc<AtomicUsize>, oneshot::Sender<()>) {
    let (echo, open) = Echo::gated();
    let running = echo.running.clone();
    let builder = Runtime::builder(two_calls(), host()).repositories(repositories(sessions));
    let runtime = builder.tool(Arc::new(echo)).build().unwrap();
    let agent = agent(&runtime).await;
    let turn = agent.send("go").await.unwrap();
    while running.load(Ordering::SeqCst) < 2 {
        others_run().await;
    }
    (runtime, agent, turn, running, open)
}

#[test]
fn dropping_the_runtime_ends_its_turns() {
    block_on(async {
        let (runtime, agent, turn, running, open) = at_work(Sessions::default()).await;
        let mut all = agent.subscribe();
        drop(runtime);
        // A turn that went on would now be completed.
        open.send(()).unwrap();
        let error = turn.finish().await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Cancelled, "run turn"));
        assert_eq!(running.load(Ordering::SeqCst), 0);
        let last = all.next().await.unwrap();
        assert!(matches!(&last.data, EventData::AgentStopped { reason, .. } if reason == "runtime_dropped"));
        assert!(all.next().await.is_none());
        assert_eq!(agent.send("x").await.unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

#[test]
fn an_interrupted_tool_is_gone_before_its_end_is_stored() {
    block_on(async {
        let sessions = Sessions::default();
        let (gate, mut waiting) = mpsc::unbounded();
        let gates = sessions.gate.clone();
        let (_runtime, agent, turn, running, _open) = at_work(sessions).await;
        *gates.lock().unwrap() = Some(gate);
        let mut interrupt = Box::pin(agent.interrupt());
        let append = match future::select(&mut interrupt, waiting.next()).await {
            future::Either::Left(_) => panic!("over before it was stored"),
            future::Either::Right((append, _)) => append.unwrap(),
        };
        assert_eq!(running.load(Ordering::SeqCst), 0);
        append.send(()).unwrap();
        interrupt.await;
        assert_eq!(turn.finish().await.unwrap().outcome.as_str(), "interrupted");
        assert_valid(&agent.history().await.unwrap());
    });
}

/// A driver that panics, when it begins or when it is asked for its second event.
#[derive(Debug)]
struct Broken {
    at_once: bool,
}

impl Driver for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn start(&self, turn: Turn) -> DriverStream {
        assert!(!self.at_once, "as asked");
        let first = StreamExt::take(two_calls().start(turn), 2);
        first.chain(futures::stream::once(async { panic!("as asked") })).boxed()
    }
}

#[test]
fn a_driver_that_panics_is_a_failed_turn() {
    for at_once in [true, false] {
        block_on(async {
            let runtime = runtime(Broken { at_once }, host(), Repositories::memory());
            let agent = agent(&runtime).await;
            for _ in 0..2 {
                let mut turn = agent.send("go").await.unwrap();
                let mut last = None;
                while let Some(event) = turn.next().await {
                    last = Some(event);
                }
                let last = last.unwrap();
                assert!(matches!(last.data, EventData::TurnResponse { outcome: OutcomeKind::Failed, .. }));
                let error = turn.finish().await.unwrap_err();
                assert_eq!((error.kind(), error.operation()), (ErrorKind::Internal, "run turn"), "{error}");
            }
            assert_valid(&agent.history().await.unwrap());
        });
    }
}

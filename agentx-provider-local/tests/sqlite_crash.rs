//! An agent whose process is killed with -9, at each named point and at random, and run again.
//!
//! What a user was told is stored, and once; no tool runs twice for one call; whatever is cut off, the next request is one
//! that a model's API takes. `AGENTX_CRASH_ROUNDS` says how often (200).
#![cfg(test)]

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use agentx_core::{
    Agent, AgentState, AllowAll, AssistantPart, ContainerId, Decision, Error, ErrorKind, EventData,
    EventPage, Host, IdSource, ImageSpec, Message, MessageBody, MessagePage, ModelRequest, OutcomeKind,
    Permission, PermissionRequest, Reply, Repositories, Result, Retry, Runtime, ScriptedModel, ToolLoop,
    tool_fn,
};
use agentx_provider_local::SqliteExecutor;
use agentx_resource::{BoxFuture, Clock, Spawn};
use agentx_sql::{Executor, Rows, SqlRepositories, Statement};
use async_trait::async_trait;
use futures::StreamExt;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::{Value, json};

const DIRECTORY: &str = "AGENTX_TEST_CRASH_DIRECTORY";
/// `name:count`: where the process kills itself, and the how manieth time that it is there.
const POINT: &str = "AGENTX_TEST_CRASH_POINT";

/// Where a process may die.
const POINTS: [&str; 7] = ["commit", "committed", "model", "tool", "tool-done", "acknowledged", "queued"];

/// So many rounds on one database: what is looked at after each round stays small.
const GROUP: usize = 24;

/// A process that asks for approvals, and waits for ever.
const ASK: &str = "ask:0";

/// A process that does not die, and leaves nothing open.
const FINISH: &str = "finish:0";

fn point(name: &str) {
    static SEEN: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());
    let Ok(wanted) = env::var(POINT) else { return };
    let (wanted, count) = wanted.split_once(':').unwrap();
    if wanted == name {
        let mut seen = SEEN.lock().unwrap();
        let seen = seen.entry(name.to_owned()).or_default();
        *seen += 1;
        if *seen == count.parse::<u32>().unwrap() {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    }
}

/// Dies before and behind what it commits.
#[derive(Debug)]
struct Mortal(SqliteExecutor);

#[async_trait]
impl Executor for Mortal {
    async fn execute(&self, batch: Vec<Statement>) -> Result<Vec<Rows>> {
        point("commit");
        let rows = self.0.execute(batch).await;
        point("committed");
        rows
    }
}

#[derive(Debug)]
struct Tokio;

impl Clock for Tokio {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

impl Spawn for Tokio {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }
}

/// Never the same in two processes: those that die may have given any.
#[derive(Debug)]
struct Ids(AtomicU64, u128);

impl IdSource for Ids {
    fn fresh(&self) -> String {
        format!("{:x}-{}", self.1, self.0.fetch_add(1, Ordering::Relaxed))
    }
}

fn host() -> Host {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    Host::new(Arc::new(Tokio), Arc::new(Tokio), Arc::new(Ids(AtomicU64::new(1), now)))
}

async fn repositories(directory: &Path) -> Repositories {
    let database = SqliteExecutor::open(directory.join("agentx.db")).await.unwrap();
    Repositories::new(SqlRepositories::open(Arc::new(Mortal(database))).await.unwrap())
}

/// What every model API asks of a request.
fn problem(request: &ModelRequest) -> Option<String> {
    let mut open = HashSet::new();
    for message in request.messages.iter() {
        match message {
            MessageBody::Tool(result) if open.remove(&result.tool_call_id) => {}
            MessageBody::Tool(result) => return Some(format!("no call is open for {}", result.tool_call_id)),
            _ if !open.is_empty() => return Some(format!("{open:?} have no result")),
            MessageBody::Assistant(said) if said.content.is_empty() => {
                return Some("an empty message".to_owned());
            }
            MessageBody::Assistant(said) => open = said.tool_calls().map(|call| call.id.clone()).collect(),
            _ => {}
        }
    }
    (!open.is_empty()).then(|| format!("{open:?} have no result"))
}

/// Calls two tools for each message of the user's, and then says so.
fn model() -> ScriptedModel {
    ScriptedModel::new("scripted", |request| {
        point("model");
        if let Some(problem) = problem(request) {
            println!("INVALID {problem}: {:#?}", request.messages);
        }
        let last = request.messages.last().unwrap();
        Ok(match last {
            MessageBody::User { .. } => {
                let input = |label: &str| json!({ "n": format!("{}/{label}", last.text()) });
                Reply::text("let me see").call("a", "note", input("a")).call("b", "note", input("b"))
            }
            _ => Reply::text("done"),
        })
    })
}

async fn agent(directory: &Path) -> (Runtime, Agent) {
    agent_with(directory, AllowAll, Duration::from_millis(100)).await
}

async fn agent_with(directory: &Path, judge: impl Permission, lease: Duration) -> (Runtime, Agent) {
    let effects = directory.join("effects");
    let schema = json!({"type": "object"});
    let tool = tool_fn("note", "Notes something.", schema, move |input: Value| {
        let effects = effects.clone();
        async move {
            point("tool");
            let mut file = fs::File::options().append(true).create(true).open(effects).unwrap();
            file.write_all(format!("{}\n", input["n"].as_str().unwrap()).as_bytes()).unwrap();
            file.sync_all().unwrap();
            point("tool-done");
            Ok("noted".to_owned())
        }
    });
    let runtime = Runtime::builder(ToolLoop::new(model()), host())
        .repositories(repositories(directory).await)
        .permission(Arc::new(judge))
        .lease_time(lease)
        .tool(Arc::new(tool))
        .build()
        .unwrap();
    let container = ContainerId::new("c").unwrap();
    runtime.create_container(&container).await.unwrap();
    let image = match runtime.images(&container).await.unwrap().pop() {
        Some(image) => image,
        None => runtime.create_image(&container, ImageSpec::default()).await.unwrap(),
    };
    let agent = runtime.run(&image.image_id).await.unwrap();
    (runtime, agent)
}

/// Waits out the lease of one that died, and whatever turn is under way.
async fn insist<T>(mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T, Error> {
    loop {
        match attempt().await {
            Err(error) if error.kind() == ErrorKind::Busy => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            done => return done,
        }
    }
}

/// What the test below starts as processes of their own. By itself it does nothing.
#[test]
fn a_process_that_dies() {
    let Some(directory) = env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let name = format!("{}-{}", host().ids.fresh(), getpid().as_raw_nonzero());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        if env::var(POINT).is_ok_and(|point| point == ASK) {
            return ask(&directory).await;
        }
        let (_runtime, agent) = agent(&directory).await;
        for number in 0.. {
            let text = format!("s{number}-{name}");
            let turn = insist(async || agent.send(&text).await).await.unwrap();
            println!("acknowledged {text}.");
            point("acknowledged");
            let text = format!("q{number}-{name}");
            agent.queue(&text).await.unwrap();
            println!("acknowledged {text}.");
            point("queued");
            turn.finish().await.unwrap();
            if env::var(POINT).is_ok_and(|point| point == FINISH) && agent.queued().await.unwrap().is_empty()
            {
                break;
            }
        }
        // The last turn is over, and its lease given back.
        insist(async || agent.send("end").await).await.unwrap().finish().await.unwrap();
    });
}

#[derive(Debug)]
struct Asks;

#[async_trait]
impl Permission for Asks {
    async fn decide(&self, _: PermissionRequest) -> Result<Decision> {
        Ok(Decision::Ask("may I?".to_owned()))
    }
}

/// Long enough for the other to look, and short enough to wait for.
const ASKING: Duration = Duration::from_secs(2);

async fn ask(directory: &Path) {
    let (_runtime, agent) = agent_with(directory, Asks, ASKING).await;
    let mut turn = agent.send("s0").await.unwrap();
    while let Some(event) = turn.next().await {
        if matches!(event.data, EventData::ApprovalRequested { .. }) {
            println!("asked");
        }
    }
}

/// Two processes on one image: one runs, the other is told, and goes on by itself when the first is killed.
#[test]
fn an_agent_that_was_opened_early_takes_over_from_one_that_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = start(directory.path(), ASK);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(std::result::Result::unwrap);
    assert_eq!(lines.filter(|line| line.ends_with("asked")).take(2).count(), 2);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (runtime, agent) = agent_with(directory.path(), Asks, ASKING).await;
        assert_eq!(agent.state(), AgentState::Elsewhere);
        let refused = agent.send("me too").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy);
        assert!(matches!(refused.retry(), Retry::After(Some(time)) if time <= ASKING), "{refused:?}");
        let mut events = agent.subscribe();
        child.kill().unwrap();
        child.wait().unwrap();
        for approval in agent.approvals().await.unwrap() {
            runtime.answer(&approval.approval_id, Decision::Allow).await.unwrap();
        }
        // Nobody opens it again.
        let outcome = loop {
            if let EventData::TurnResponse { outcome, .. } = &events.next().await.unwrap().data {
                break outcome.clone();
            }
        };
        assert_eq!(outcome, OutcomeKind::Completed);
        agent.close().await.unwrap();
    });
    let effects = fs::read_to_string(directory.path().join("effects")).unwrap();
    assert_eq!(effects.lines().collect::<BTreeSet<_>>(), BTreeSet::from(["s0/a", "s0/b"]), "each ran once");
}

fn start(directory: &Path, point: &str) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_process_that_dies", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(POINT, point)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What is stored, checked for itself, and each text that a user said, with how often.
async fn said(directory: &Path) -> BTreeMap<String, usize> {
    let store = repositories(directory).await;
    let container = ContainerId::new("c").unwrap();
    let mut said = BTreeMap::new();
    let Some(image) = store.images.list_images(&container).await.unwrap().pop() else { return said };
    let session = &image.session_id;
    let messages = store.sessions.list_messages(session, MessagePage::first(1_000_000)).await.unwrap();
    let messages: Vec<Message> = messages.into_iter().map(|stored| stored.message).collect();
    for message in &messages {
        if let MessageBody::User { .. } = message.body {
            *said.entry(message.body.text()).or_default() += 1;
        }
    }
    for queued in store.inbox.list_queued(session, 1000).await.unwrap() {
        *said.entry(MessageBody::User { content: queued.content }.text()).or_default() += 1;
    }

    // Numbers without a gap, and an event for each message.
    let events = store.sessions.list_events(session, EventPage::after(0, 1_000_000)).await.unwrap();
    assert!(events.iter().map(|stored| stored.seq).eq(1..=events.len() as u64));
    let told: Vec<_> = events.iter().filter_map(|stored| stored.event.data.message()).cloned().collect();
    assert_eq!(told, messages);
    let ends = events.iter().filter_map(|stored| match &stored.event.data {
        EventData::TurnResponse { turn_id, .. } => Some(turn_id.clone()),
        _ => None,
    });
    let ends: Vec<_> = ends.collect();
    assert_eq!(ends.iter().collect::<BTreeSet<_>>().len(), ends.len(), "a turn ends once");

    // What ran, ran once; what is said not to have run, did not.
    let effects = fs::read_to_string(directory.join("effects")).unwrap_or_default();
    let ran: BTreeSet<_> = effects.lines().collect();
    assert_eq!(ran.len(), effects.lines().count(), "a call ran twice");
    let mut calls = BTreeMap::new();
    for message in &messages {
        match &message.body {
            MessageBody::Assistant(assistant) => {
                for part in &assistant.content {
                    if let AssistantPart::ToolCall(call) = part {
                        calls.insert(call.id.clone(), call.input["n"].as_str().unwrap().to_owned());
                    }
                }
            }
            MessageBody::Tool(result) => {
                let (what, answer) = (&calls[&result.tool_call_id], result.output.to_text());
                let has_run = ran.contains(what.as_str());
                match answer.as_str() {
                    "noted" => assert!(has_run, "{what} did not run"),
                    answer if answer.contains("not run") => assert!(!has_run, "{what}: {answer}"),
                    answer => assert!(answer.contains("unknown"), "{what}: {answer}"),
                }
            }
            _ => {}
        }
    }
    said
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_wherever_an_agent_is_killed() {
    let rounds = env::var("AGENTX_CRASH_ROUNDS").map_or(200, |rounds| rounds.parse().unwrap());
    let groups = Mutex::new((0..rounds).step_by(GROUP));
    // Most of the time is spent waiting for leases of the dead.
    let next = || groups.lock().unwrap().next();
    let work =
        || std::iter::from_fn(next).map(|first| group(first..(first + GROUP).min(rounds))).sum::<usize>();
    let total: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    println!("{total} messages in {rounds} rounds");
    assert!(total > rounds, "{total}");
}

/// Rounds on one database, and one that ends in peace. Gives how many messages were acknowledged.
fn group(rounds: std::ops::Range<usize>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in rounds {
        let place = round % (POINTS.len() + 1);
        let count = 1 + (round / (POINTS.len() + 1)) % 12;
        let point = POINTS.get(place).map_or("none:1".to_owned(), |name| format!("{name}:{count}"));
        // At random: whatever it does behind so many lines.
        let lines = POINTS.get(place).is_none().then_some(2 + round * 7 % 13);
        runtime.block_on(one_round(directory.path(), &point, lines, &mut acknowledged));
    }
    runtime.block_on(one_round(directory.path(), FINISH, None, &mut acknowledged));
    acknowledged.len()
}

/// Runs a process until it dies at this point, or has told so many lines, and looks at what it left.
async fn one_round(
    directory: &Path,
    point: &str,
    lines_to_live: Option<usize>,
    acknowledged: &mut BTreeSet<String>,
) {
    let mut child = start(directory, point);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(std::result::Result::ok);
    let mut take = |line: String| {
        assert!(!line.starts_with("INVALID"), "{point}: {line}");
        if let Some(text) = line.strip_prefix("acknowledged ").and_then(|text| text.strip_suffix('.')) {
            acknowledged.insert(text.to_owned());
        }
    };
    if let Some(count) = lines_to_live {
        lines.by_ref().take(count).for_each(&mut take);
        child.kill().unwrap();
    }
    lines.for_each(&mut take);
    let status = child.wait().unwrap();
    assert_eq!(status.success(), point == FINISH, "{point}: {status}");

    let said = said(directory).await;
    let doubled: Vec<_> = said.iter().filter(|(text, count)| **count > 1 && *text != "end").collect();
    assert!(doubled.is_empty(), "{point}: doubled: {doubled:?}");
    let lost: Vec<_> = acknowledged.iter().filter(|text| !said.contains_key(*text)).collect();
    assert!(lost.is_empty(), "{point}: acknowledged and lost: {lost:?}");
}

//! The repositories in SQLite: the suite, and what their statements cost.
#![cfg(test)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use agentx_conformance::Fresh;
use agentx_core::{
    Append, ApprovalId, ApprovalRecord, ContainerId, ContainerRecord, ContentPart, Decision, ErrorKind,
    EventData, EventPage, Fence, Host, IdSource, ImageId, ImageRecord, ImageSpec, Lease, LeaseRequest,
    Message, MessageBody, MessageId, MessagePage, NewEvent, QueuedMessage, Reply, Repositories, Result,
    Runtime, ScriptedModel, SessionId, SessionRecord, SessionRepositoryExt as _, Timestamp, ToolCall,
    ToolLoop, TurnId,
};
use agentx_provider_local::SqliteExecutor;
use agentx_resource::{BoxFuture, Clock, Spawn};
use agentx_sql::{Executor, Rows, SqlRepositories, Statement, Value};
use async_trait::async_trait;
use futures::{StreamExt, stream};

async fn in_file() -> Result<Fresh<Repositories>> {
    let directory = tempfile::tempdir().unwrap();
    let database = SqliteExecutor::open(directory.path().join("agentx.db")).await?;
    let repositories = Repositories::new(SqlRepositories::open(Arc::new(database)).await?);
    Ok(Fresh::repositories(repositories).with_guard(directory))
}

async fn in_memory() -> Result<Fresh<Repositories>> {
    let database = SqliteExecutor::open_in_memory().await?;
    Ok(Fresh::repositories(Repositories::new(SqlRepositories::open(Arc::new(database)).await?)))
}

agentx_conformance::repository_suite!(sqlite, in_file);
agentx_conformance::repository_suite!(sqlite_in_memory, in_memory);

/// Keeps every statement that goes through it, and counts the rows that come back.
#[derive(Debug)]
struct Recorder {
    database: SqliteExecutor,
    seen: Mutex<Vec<Statement>>,
    rows: AtomicUsize,
}

#[async_trait]
impl Executor for Recorder {
    async fn execute(&self, batch: Vec<Statement>) -> Result<Vec<Rows>> {
        self.seen.lock().unwrap().extend(batch.iter().cloned());
        let results = self.database.execute(batch).await?;
        self.rows.fetch_add(results.iter().map(|rows| rows.rows.len()).sum(), Ordering::Relaxed);
        Ok(results)
    }
}

struct Example {
    container: ContainerRecord,
    image: ImageRecord,
    session: SessionRecord,
}

fn example() -> Example {
    let (container, image) = (ContainerId::new("c").unwrap(), ImageId::new("i").unwrap());
    let (session, now) = (SessionId::new("s").unwrap(), Timestamp::from_millis(1));
    Example {
        image: ImageRecord::new(image.clone(), container.clone(), session.clone(), ImageSpec::default(), now),
        session: SessionRecord::new(session, image, container.clone(), now),
        container: ContainerRecord::new(container, now),
    }
}

fn message(id: &str) -> Message {
    Message::new(MessageId::new(id).unwrap(), Timestamp::from_millis(1), MessageBody::user("hi"))
}

async fn recorded() -> (Arc<Recorder>, Repositories, Example) {
    let database = SqliteExecutor::open_in_memory().await.unwrap();
    let recorder = Arc::new(Recorder { database, seen: Mutex::default(), rows: AtomicUsize::new(0) });
    let store = Repositories::new(SqlRepositories::open(recorder.clone()).await.unwrap());
    let example = example();
    store.containers.save_container(&example.container).await.unwrap();
    store.images.create_image(&example.image, &example.session).await.unwrap();
    (recorder, store, example)
}

/// With an index, the hundred-thousandth message costs what the tenth does; a scan or a sort would cost more.
#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let (recorder, store, Example { container, image, session }) = recorded().await;
    let (id, session) = (&image.image_id, &session.session_id);
    let migration = recorder.seen.lock().unwrap().split_off(0);
    assert!(migration.iter().any(|statement| statement.sql.contains("CREATE TABLE messages")));

    store.containers.save_container(&container).await.unwrap();
    store.containers.find_container(&container.container_id).await.unwrap();
    store.containers.list_containers().await.unwrap();
    store.images.update_image(&image).await.unwrap();
    store.images.find_image(id).await.unwrap();
    store.images.list_images(&container.container_id).await.unwrap();
    store.sessions.find_session(session).await.unwrap();
    store.sessions.append_messages(session, &[message("m1"), message("m2")]).await.unwrap();
    store.sessions.append_messages(session, &[]).await.unwrap();
    store.sessions.list_messages(session, MessagePage::after(1, 10)).await.unwrap();
    store.sessions.find_message(session, &MessageId::new("m1").unwrap()).await.unwrap();
    store.sessions.find_mark(session, Some(9)).await.unwrap();
    store.sessions.list_events(session, EventPage::after(1, 10)).await.unwrap();
    store.sessions.list_events(session, EventPage::last(10)).await.unwrap();
    store.sessions.last_event(session).await.unwrap();

    let moment = Timestamp::from_millis(1);
    let begin = Append::default().with_fence(Fence::Begin(Lease::new(1, "h", moment)));
    store.sessions.append(session, &begin).await.unwrap_err();
    let queued = QueuedMessage::new(MessageId::new("q").unwrap(), vec![], moment);
    store.inbox.enqueue_message(session, &queued, 9).await.unwrap();
    store.inbox.list_queued(session, 9).await.unwrap();
    let lease = store.leases.acquire_lease(session, &LeaseRequest::new("h", moment, moment)).await.unwrap();
    store.leases.find_lease(session).await.unwrap();
    let (approval, turn) = (ApprovalId::new("a").unwrap(), TurnId::new("t").unwrap());
    let call = ToolCall::new("c", "t", serde_json::Value::Null);
    let mut append = Append::new(vec![NewEvent::new(moment, None, EventData::UserMessage(message("m3")))]);
    append.taken.push(queued.id);
    append.approvals.push(ApprovalRecord::new(approval.clone(), session.clone(), turn, call, "", moment));
    append.fence = Fence::Hold(lease.clone());
    store.sessions.append(session, &append).await.unwrap();
    store.inbox.find_approval(&approval).await.unwrap();
    store.inbox.list_approvals(session).await.unwrap();
    store.inbox.answer_approval(&approval, &Decision::Allow, moment).await.unwrap();
    let mut append = Append::default().with_fence(Fence::Release(lease.clone()));
    append.closes_approvals = true;
    store.sessions.append(session, &append).await.unwrap();
    let next = Lease::new(lease.token + 1, "h", moment);
    store.sessions.append(session, &Append::default().with_fence(Fence::Retake(next))).await.unwrap();
    let mut fork = (
        image.clone(),
        SessionRecord::new(
            SessionId::new("fork").unwrap(),
            ImageId::new("fork").unwrap(),
            container.container_id.clone(),
            moment,
        ),
    );
    (fork.0.image_id, fork.0.session_id) = (fork.1.image_id.clone(), fork.1.session_id.clone());
    store.sessions.fork_session(session, Some(9), &fork.0, &fork.1).await.unwrap();
    store.images.delete_image(id).await.unwrap();
    store.containers.delete_container(&container.container_id).await.unwrap();
    recorder
        .seen
        .lock()
        .unwrap()
        .extend(migration.into_iter().filter(|statement| statement.sql.starts_with("INSERT INTO images")));

    let seen = recorder.seen.lock().unwrap().split_off(0);
    assert!(seen.len() >= 67, "{}", seen.len());
    for mut statement in seen {
        let sql = statement.sql.clone();
        statement.sql = format!("EXPLAIN QUERY PLAN {sql}").into();
        let plan = recorder.database.execute(vec![statement]).await.unwrap().remove(0);
        for step in plan.iter().map(|row| row.text("detail").unwrap()) {
            // All containers are listed, in the order in which they lie there.
            let whole = step == "SCAN containers" && sql.ends_with("FROM containers ORDER BY rowid");
            // An aggregate of one row.
            let constant = step.starts_with("SCAN CONSTANT ROW");
            // A fork numbers the messages that it copies: it reads them all anyway.
            let fork = sql.contains("row_number()");
            assert!(whole || constant || fork || !step.contains("SCAN"), "{step}: {sql}");
            assert!(!step.contains("TEMP B-TREE"), "{step}: {sql}");
        }
    }
}

/// As many statements for a message, whatever its session holds.
#[tokio::test]
async fn an_append_is_as_many_statements_in_any_session() {
    let (recorder, store, Example { session, .. }) = recorded().await;
    for number in 0..20 {
        recorder.seen.lock().unwrap().clear();
        let id = format!("m{number}");
        store.sessions.append_messages(&session.session_id, &[message(&id)]).await.unwrap();
        // The message, its event, and the numbers of both.
        assert_eq!(recorder.seen.lock().unwrap().len(), 3);
    }
}

/// Numbers that a float does not hold never travel as numbers.
#[tokio::test]
async fn no_integer_is_beyond_what_json_carries() {
    let (recorder, store, Example { mut container, session, .. }) = recorded().await;
    let page = MessagePage::after(u64::MAX, usize::MAX);
    store.sessions.list_messages(&session.session_id, page).await.unwrap();
    container.updated_at = Timestamp::from_millis((1 << 53) - 1);
    store.containers.save_container(&container).await.unwrap();
    container.updated_at = Timestamp::from_millis(1 << 53);
    let error = store.containers.save_container(&container).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for statement in recorder.seen.lock().unwrap().iter() {
        for param in &statement.params {
            assert!(
                !matches!(param, Value::Integer(value) if value.abs() > agentx_sql::MAX_INTEGER),
                "{statement:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_error_names_the_operation_and_the_subject_and_keeps_the_cause() {
    let (_recorder, store, Example { session, .. }) = recorded().await;
    let session = &session.session_id;
    store.sessions.append_messages(session, &[message("m")]).await.unwrap();
    let error = store.sessions.append_messages(session, &[message("m")]).await.unwrap_err();
    assert_eq!(error.to_string(), r#"append "m" (sqlite): already exists"#);
    let causes = format!("{error:?}");
    assert!(
        causes.contains("UNIQUE constraint failed: messages.session_id, messages.message_id"),
        "{causes}"
    );
}

/// Stored data that can't be read is an error that says where, and never a guess.
#[tokio::test]
async fn a_damaged_row_is_corrupt_and_named() {
    let (recorder, store, Example { image, session, .. }) = recorded().await;
    let session = &session.session_id;
    let run = async |sql: &'static str| recorder.database.execute(vec![Statement::new(sql)]).await.unwrap();
    store.sessions.append_messages(session, &[message("m1")]).await.unwrap();
    for (damage, column) in [
        ("UPDATE messages SET content = '{'", "content of message m1"),
        (
            "UPDATE messages SET content = '{\"role\":\"user\",\"content\":[]}', role = 'tool'",
            "role of message m1",
        ),
        ("UPDATE messages SET message_id = 'a b'", "message_id"),
    ] {
        run(damage).await;
        let error = store.sessions.list_messages(session, MessagePage::first(10)).await.unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupt, Some(column)), "{error:?}");
    }
    for (damage, column) in [
        ("UPDATE images SET created_at = -1", "created_at"),
        ("UPDATE images SET metadata = '[]'", "metadata"),
        ("UPDATE images SET name = x'00'", "name"),
    ] {
        run(damage).await;
        let error = store.images.find_image(&image.image_id).await.unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupt, Some(column)), "{error:?}");
    }
}

#[tokio::test]
async fn an_image_and_a_session_that_do_not_name_each_other_are_refused() {
    let (_recorder, store, Example { container, .. }) = recorded().await;
    let Example { mut image, mut session, .. } = example();
    image.image_id = ImageId::new("i2").unwrap();
    image.session_id = SessionId::new("s2").unwrap();
    session.session_id = image.session_id.clone();
    let error = store.images.create_image(&image, &session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(store.images.list_images(&container.container_id).await.unwrap().len(), 1);
}

#[derive(Debug)]
struct Tokio;

impl Clock for Tokio {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        // No lease is renewed here.
        Box::pin(std::future::pending())
    }
}

impl Spawn for Tokio {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }
}

/// What taking up a session of so many messages costs, and then each of two turns: statements, and rows read.
async fn costs(messages: usize) -> Vec<(usize, usize)> {
    let (recorder, store, Example { image, session, .. }) = recorded().await;
    for first in (0..messages).step_by(1000) {
        let batch: Vec<_> = (first..messages.min(first + 1000)).map(|n| message(&format!("m{n}"))).collect();
        store.sessions.append_messages(&session.session_id, &batch).await.unwrap();
    }
    let body = MessageBody::Summary {
        content: vec![ContentPart::text("so far")],
        through: MessageId::new(format!("m{}", messages - 3)).unwrap(),
    };
    let summary = Message::new(MessageId::new("summary").unwrap(), Timestamp::default(), body);
    store.sessions.append_messages(&session.session_id, &[summary]).await.unwrap();

    let runtime = || {
        let model = ScriptedModel::new("scripted", |request| {
            Ok(Reply::text(format!("{} shown", request.messages.len())))
        });
        let host = Host::new(Arc::new(Tokio), Arc::new(Tokio), Arc::new(Ids));
        Runtime::builder(ToolLoop::new(model), host).repositories(store.clone()).build().unwrap()
    };
    let first = runtime();
    first.run(&image.image_id).await.unwrap().ask("hello").await.unwrap();
    drop(first);

    let count = || {
        let statements = recorder.seen.lock().unwrap().split_off(0).len();
        (statements, recorder.rows.swap(0, Ordering::Relaxed))
    };
    count();
    let runtime = runtime();
    let agent = runtime.run(&image.image_id).await.unwrap();
    let mut costs = vec![count()];
    for shown in ["6 shown", "8 shown"] {
        assert_eq!(agent.ask("go on").await.unwrap().text, shown);
        costs.push(count());
    }
    costs
}

/// Never the same in two runtimes.
#[derive(Debug)]
struct Ids;

impl IdSource for Ids {
    fn fresh(&self) -> String {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

/// At 100,000 messages as at 100: what is read is what a model is shown, and once; what is written is what is new.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_costs_the_same_in_a_long_session() {
    let short = costs(100).await;
    assert_eq!(costs(100_000).await, short);
    let [open, first, second] = short[..] else { panic!("{short:?}") };
    assert!(open.0 <= 5 && open.1 <= 5, "{open:?}");
    assert!(first.1 <= 50, "what is shown, and the latest events: {first:?}");
    assert!(second.0 <= 20 && second.1 <= 8, "what is new is stored, and nothing read: {second:?}");
}

/// A message that was queued under the schema before waits for its turn, and one that comes behind it keeps its options.
#[tokio::test]
async fn a_queue_of_the_third_schema_goes_on() {
    let database = SqliteExecutor::open_in_memory().await.unwrap();
    let files = [
        include_str!("../../agentx-sql/migrations/0001_init.sql"),
        include_str!("../../agentx-sql/migrations/0002_log.sql"),
        include_str!("../../agentx-sql/migrations/0003_pending.sql"),
    ];
    let statements =
        |file: &'static str| file.split_inclusive(";\n").filter(|sql| sql.trim_end().ends_with(';'));
    let mut batch: Vec<_> = files.into_iter().flat_map(statements).map(Statement::new).collect();
    for sql in [
        "CREATE TABLE agentx_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "INSERT INTO agentx_migrations VALUES (1, '0001_init'), (2, '0002_log'), (3, '0003_pending')",
        "INSERT INTO containers VALUES ('c', NULL, 1, 1)",
        "INSERT INTO images (image_id, container_id, session_id, name, created_at, updated_at) \
         VALUES ('i', 'c', 's', 'agent', 1, 1)",
        "INSERT INTO sessions VALUES ('s', 'i', 'c', 1, 1)",
        r#"INSERT INTO queue (session_id, message_id, content, created_at)
           VALUES ('s', 'old', '[{"type":"text","text":"before"}]', 1)"#,
    ] {
        batch.push(Statement::new(sql));
    }
    database.execute(batch).await.unwrap();
    let store = Repositories::new(SqlRepositories::open(Arc::new(database)).await.unwrap());
    let session = SessionId::new("s").unwrap();
    let options = Some(Arc::new(serde_json::json!({"model": "small"})));
    let content = vec![ContentPart::text("behind")];
    let new = QueuedMessage::new(MessageId::new("new").unwrap(), content, Timestamp::from_millis(2));
    let new = new.with_options(options);
    store.inbox.enqueue_message(&session, &new, 9).await.unwrap();
    let queue = store.inbox.list_queued(&session, 9).await.unwrap();
    assert_eq!((queue[0].id.as_str(), &queue[0].options), ("old", &None));
    assert_eq!(queue[1], new);
    assert_eq!(queue.len(), 2);
}

/// A session of the schema before: its messages are there, each with its event, and it goes on.
#[tokio::test]
async fn a_session_of_the_first_schema_goes_on() {
    let database = SqliteExecutor::open_in_memory().await.unwrap();
    let first = include_str!("../../agentx-sql/migrations/0001_init.sql");
    let mut batch: Vec<_> = first
        .split_inclusive(";\n")
        .filter(|sql| sql.trim_end().ends_with(';'))
        .map(Statement::new)
        .collect();
    let content = [
        ("m1", "user", r#"{"role":"user","content":[{"type":"text","text":"go"}]}"#),
        (
            "m2",
            "assistant",
            r#"{"role":"assistant","content":[{"type":"tool-call","id":"a","name":"t","input":{}}]}"#,
        ),
    ];
    for sql in [
        "CREATE TABLE agentx_migrations (version INTEGER PRIMARY KEY, name TEXT NOT NULL)",
        "INSERT INTO agentx_migrations VALUES (1, '0001_init')",
        "INSERT INTO containers VALUES ('c', NULL, 1, 1)",
        "INSERT INTO images VALUES ('i', 'c', 's', 'agent', NULL, NULL, NULL, NULL, 1, 1)",
        "INSERT INTO sessions VALUES ('s', 'i', 'c', 1, 1)",
    ] {
        batch.push(Statement::new(sql));
    }
    for (id, role, content) in content {
        let insert = "INSERT INTO messages (session_id, message_id, role, content, created_at) VALUES ('s', ?1, ?2, ?3, 1)";
        batch.push(Statement::new(insert).bind(id).bind(role).bind(content));
    }
    database.execute(batch).await.unwrap();
    let store = Repositories::new(SqlRepositories::open(Arc::new(database)).await.unwrap());
    let session = SessionId::new("s").unwrap();
    let events = store.sessions.list_events(&session, EventPage::after(0, 9)).await.unwrap();
    let names: Vec<_> = events.iter().map(|stored| (stored.seq, stored.event.data.name())).collect();
    assert_eq!(names, [(1, "user_message"), (2, "assistant_message")]);

    let host = Host::new(Arc::new(Tokio), Arc::new(Tokio), Arc::new(Ids));
    let model = ScriptedModel::new("scripted", |_| Ok(Reply::text("here again")));
    let runtime = Runtime::builder(ToolLoop::new(model), host).repositories(store).build().unwrap();
    let agent = runtime.run(&ImageId::new("i").unwrap()).await.unwrap();
    let roles = async || {
        let history = agent.history().await.unwrap();
        history.iter().map(|message| message.body.role().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(roles().await, ["user", "assistant", "tool"], "the call that was cut off is answered");
    assert_eq!(agent.ask("still there?").await.unwrap().text, "here again");
    assert_eq!(roles().await, ["user", "assistant", "tool", "user", "assistant"]);
}

/// What this process has in memory, in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
}

const ALONE: &str = "AGENTX_TEST_ALONE";
const AGENTS: usize = 10_000;

/// An agent at rest is its data and at most 512 bytes: no task, no channel, no events. Measured in a process of its own.
#[test]
fn ten_thousand_agents_at_rest_are_their_data() {
    if std::env::var_os(ALONE).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ten_thousand_agents_at_rest_are_their_data", "--nocapture"])
            .env(ALONE, "1")
            .status();
        return assert!(status.unwrap().success());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let database = SqliteExecutor::open(directory.path().join("agentx.db")).await.unwrap();
        let store = Repositories::new(SqlRepositories::open(Arc::new(database)).await.unwrap());
        let model = ScriptedModel::new("scripted", |_| Ok(Reply::text("hello")));
        let host = Host::new(Arc::new(Tokio), Arc::new(Tokio), Arc::new(Ids));
        let tool = |name: &str| {
            let schema = serde_json::json!({"type": "object"});
            Arc::new(agentx_core::tool_fn(name, "", schema, |_: serde_json::Value| async { Ok("") }))
        };
        let runtime = Runtime::builder(ToolLoop::new(model), host).repositories(store).tool(tool("a"));
        let runtime = runtime.tool(tool("b")).build().unwrap();
        let container = ContainerId::new("c").unwrap();
        runtime.create_container(&container).await.unwrap();
        let create = |_| runtime.create_image(&container, ImageSpec::default());
        let made = stream::iter(0..AGENTS).map(create).buffer_unordered(256);
        let ids: Vec<_> = made.map(|image| image.unwrap().image_id).collect().await;
        // One that has had a turn, and whatever the first one makes.
        runtime.run(&ids[0]).await.unwrap().ask("hi").await.unwrap();

        let before = resident();
        let mut data = Vec::with_capacity(AGENTS);
        for id in &ids {
            let image = runtime.image(id).await.unwrap().unwrap();
            let agent = agentx_core::AgentId::new(format!("agent_{id}")).unwrap();
            data.push((image, agent, id.clone(), SessionId::new(format!("{id}-session")).unwrap()));
        }
        let data_size = resident() - before;
        let before = resident();
        for id in &ids {
            runtime.run(id).await.unwrap();
        }
        let size = resident() - before;
        let each = size.saturating_sub(data_size) / AGENTS;
        println!("{} bytes of data and {each} besides for each agent", data_size / AGENTS);
        assert!(each <= 512, "{each} bytes for each agent beyond its data");
        assert_eq!(data.len(), AGENTS);
    });
}

//! One SQLite file and several processes: appended to at once, opened at once, killed in the middle.
//!
//! The other processes are this test program, started again with a role.
#![cfg(test)]

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio, id},
    sync::Arc,
};

use agentx_core::{
    ContainerId, ContainerRecord, ImageId, ImageRecord, ImageSpec, Message, MessageBody, MessageId,
    MessagePage, Repositories, SessionId, SessionRecord, SessionRepositoryExt as _, Timestamp,
};
use agentx_provider_local::SqliteExecutor;
use agentx_sql::{Executor, SqlRepositories, Statement};

const ROLE: &str = "AGENTX_TEST_ROLE";
const DATABASE: &str = "AGENTX_TEST_DATABASE";
const TASKS: usize = 8;

async fn open(path: &Path) -> Repositories {
    let database = SqliteExecutor::open(path).await.unwrap();
    Repositories::new(SqlRepositories::open(Arc::new(database)).await.unwrap())
}

fn session() -> SessionId {
    SessionId::new("s").unwrap()
}

async fn create_session(store: &Repositories) {
    let (container, image) = (ContainerId::new("c").unwrap(), ImageId::new("i").unwrap());
    let now = Timestamp::default();
    store.containers.save_container(&ContainerRecord::new(container.clone(), now)).await.unwrap();
    let record = ImageRecord::new(image.clone(), container.clone(), session(), ImageSpec::default(), now);
    store.images.create_image(&record, &SessionRecord::new(session(), image, container, now)).await.unwrap();
}

/// Appends two messages, whole or not at all.
async fn append(store: &Repositories, id: &str) {
    let message = |part: &str| {
        let id = MessageId::new(format!("{id}-{part}")).unwrap();
        Message::new(id, Timestamp::default(), MessageBody::user("x".repeat(500)))
    };
    store.sessions.append_messages(&session(), &[message("a"), message("b")]).await.unwrap();
}

/// The pairs that are stored, and how often each; fails for half a pair and for one that is torn.
async fn stored(store: &Repositories) -> BTreeMap<String, usize> {
    let page = MessagePage::first(1_000_000);
    let messages = store.sessions.list_messages(&session(), page).await.unwrap();
    let mut pairs = BTreeMap::new();
    for pair in messages.chunks(2) {
        let id = pair[0].message.id.as_str().strip_suffix("-a").expect("half a pair");
        assert_eq!(pair.get(1).expect("half a pair").message.id.as_str(), format!("{id}-b"));
        *pairs.entry(id.to_owned()).or_default() += 1;
    }
    pairs
}

fn start(role: &str, path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_process_of_its_own", "--nocapture"])
        .env(ROLE, role)
        .env(DATABASE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the other tests start as processes of their own. By itself it works on a database of its own.
#[test]
fn a_process_of_its_own() {
    let given = env::var_os(DATABASE).map(PathBuf::from);
    // Not where a database is given: who is killed removes nothing.
    let own = given.is_none().then(|| tempfile::tempdir().unwrap());
    let path = given.clone().or(own.as_ref().map(|own| own.path().join("agentx.db"))).unwrap();
    let role = env::var(ROLE).unwrap_or_else(|_| "some".to_owned());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let store = open(&path).await;
        if given.is_none() {
            create_session(&store).await;
        }
        match role.as_str() {
            "open" => {}
            "some" => {
                for number in 0..100 {
                    append(&store, &format!("{}-{number}", id())).await;
                }
                if given.is_none() {
                    assert_eq!(stored(&store).await.len(), 100);
                }
            }
            _ => {
                let tasks = (0..TASKS).map(|task| {
                    let store = store.clone();
                    tokio::spawn(async move {
                        for number in 0.. {
                            let id = format!("{}-{task}-{number}", id());
                            append(&store, &id).await;
                            println!("acknowledged {id}.");
                        }
                    })
                });
                futures::future::join_all(tasks).await;
            }
        }
    });
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agentx.db");
    create_session(&open(&path).await).await;
    let mut acknowledged = Vec::new();
    for round in 0..20 {
        let mut child = start("for ever", &path);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let id = |line: &str| Some(line.strip_prefix("acknowledged ")?.strip_suffix('.')?.to_owned());
        // Each round is killed at another moment: the first before it has done anything.
        let alive = 1 + round * 37 % 90;
        acknowledged.extend(lines.by_ref().filter_map(|line| id(&line)).take(alive));
        child.kill().unwrap();
        acknowledged.extend(lines.filter_map(|line| id(&line)));
        child.wait().unwrap();

        let pairs = stored(&open(&path).await).await;
        assert!(pairs.values().all(|count| *count == 1), "round {round}: doubled");
        let lost: Vec<_> = acknowledged.iter().filter(|id| !pairs.contains_key(*id)).collect();
        assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
        let unknown = pairs.len() - acknowledged.len();
        assert!(unknown <= TASKS * (round + 1), "a task waits for one answer at most");
    }
    assert!(acknowledged.len() >= 500, "{}", acknowledged.len());
    let database = SqliteExecutor::open(&path).await.unwrap();
    let check = database.execute(vec![Statement::new("PRAGMA integrity_check")]).await.unwrap().remove(0);
    assert_eq!(check.first().unwrap().text("integrity_check").unwrap(), "ok");
}

#[tokio::test]
async fn two_processes_append_to_one_session() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agentx.db");
    let store = open(&path).await;
    create_session(&store).await;
    let mut child = start("some", &path);
    for number in 0..100 {
        append(&store, &format!("parent-{number}")).await;
    }
    // Its pipe holds the few lines of the test runner.
    assert!(child.wait().unwrap().success());
    let pairs = stored(&store).await;
    assert_eq!(pairs.len(), 200);
    assert_eq!(pairs.keys().filter(|id| id.starts_with("parent-")).count(), 100);
}

#[tokio::test]
async fn processes_that_open_a_new_database_at_once_migrate_it_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agentx.db");
    let children: Vec<_> = (0..6).map(|_| start("open", &path)).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let database = SqliteExecutor::open(&path).await.unwrap();
    let count = Statement::new("SELECT count(*) AS count FROM agentx_migrations");
    let rows = database.execute(vec![count]).await.unwrap().remove(0);
    assert_eq!(rows.first().unwrap().integer("count").unwrap(), agentx_sql::SCHEMA_VERSION);
}

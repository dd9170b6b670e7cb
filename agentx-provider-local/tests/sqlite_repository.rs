//! The repositories in SQLite: the suite, and what their statements cost.
#![cfg(test)]

use std::sync::{Arc, Mutex};

use agentx_conformance::Fresh;
use agentx_core::{
    SessionRepositoryExt as _,
    ContainerId, ContainerRecord, ErrorKind, ImageId, ImageRecord, ImageSpec, Message, MessageBody,
    MessageId, MessagePage, Repositories, Result, SessionId, SessionRecord, Timestamp,
};
use agentx_provider_local::SqliteExecutor;
use agentx_sql::{Executor, Rows, SqlRepositories, Statement, Value};
use async_trait::async_trait;

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

/// Keeps every statement that goes through it.
#[derive(Debug)]
struct Recorder {
    database: SqliteExecutor,
    seen: Mutex<Vec<Statement>>,
}

#[async_trait]
impl Executor for Recorder {
    async fn execute(&self, batch: Vec<Statement>) -> Result<Vec<Rows>> {
        self.seen.lock().unwrap().extend(batch.iter().cloned());
        self.database.execute(batch).await
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
    let recorder = Arc::new(Recorder { database, seen: Mutex::default() });
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
    store.images.delete_image(id).await.unwrap();
    store.containers.delete_container(&container.container_id).await.unwrap();
    recorder
        .seen
        .lock()
        .unwrap()
        .extend(migration.into_iter().filter(|statement| statement.sql.starts_with("INSERT INTO images")));

    let seen = recorder.seen.lock().unwrap().split_off(0);
    assert!(seen.len() >= 18, "{}", seen.len());
    for mut statement in seen {
        let sql = statement.sql.clone();
        statement.sql = format!("EXPLAIN QUERY PLAN {sql}").into();
        let plan = recorder.database.execute(vec![statement]).await.unwrap().remove(0);
        for step in plan.iter().map(|row| row.text("detail").unwrap()) {
            // All containers are listed, in the order in which they lie there.
            let whole = step == "SCAN containers" && sql.ends_with("FROM containers ORDER BY rowid");
            assert!(whole || !step.contains("SCAN"), "{step}: {sql}");
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

//! SQLite as an executor: files that can't be used, broken constraints, several at one file.
#![cfg(test)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use agentx_core::{ErrorKind, Repositories, Result, Retry};
use agentx_provider_local::SqliteExecutor;
use agentx_sql::{Executor, Rows, SqlRepositories, Statement, Value};
use futures::future::join_all;
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agentx.db");
    (directory, path)
}

async fn run(database: &SqliteExecutor, sql: &'static str) -> Result<Rows> {
    Ok(database.execute(vec![Statement::new(sql)]).await?.remove(0))
}

async fn kind_of_open(path: impl AsRef<Path>) -> ErrorKind {
    let error = SqliteExecutor::open(path).await.unwrap_err();
    assert_eq!((error.operation(), error.provider()), ("open database", "sqlite"), "{error:?}");
    error.kind()
}

#[tokio::test]
async fn what_is_written_is_there_after_the_last_handle_is_gone() {
    let (_directory, path) = place();
    let database = SqliteExecutor::open(&path).await.unwrap();
    run(&database, "CREATE TABLE t (a, b, c, d, e)").await.unwrap();
    let values = vec![Value::Null, i64::MIN.into(), 0.1.into(), "ü\0'".into(), vec![0, 255].into()];
    let mut insert = Statement::new("INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5)");
    insert.params = values.clone();
    database.execute(vec![insert]).await.unwrap();
    drop(database);
    assert!(!path.with_extension("db-wal").exists(), "the thread has closed the database");

    let database = SqliteExecutor::open(&path).await.unwrap();
    let rows = run(&database, "SELECT * FROM t").await.unwrap();
    assert_eq!(rows, Rows::new(["a", "b", "c", "d", "e"].map(str::to_owned).to_vec(), vec![values]));
    let none = run(&database, "SELECT a FROM t WHERE a = 1").await.unwrap();
    assert_eq!(none, Rows::new(vec!["a".to_owned()], vec![]), "no rows, and the columns all the same");
}

#[tokio::test]
async fn a_commit_is_synced_and_foreign_keys_hold() {
    let (_directory, path) = place();
    let database = SqliteExecutor::open(&path).await.unwrap();
    run(&database, "CREATE TABLE t (a)").await.unwrap();
    for (pragma, column, expected) in [
        ("PRAGMA synchronous", "synchronous", Value::Integer(2)),
        ("PRAGMA foreign_keys", "foreign_keys", Value::Integer(1)),
        ("PRAGMA journal_mode", "journal_mode", "wal".into()),
    ] {
        let rows = run(&database, pragma).await.unwrap();
        assert_eq!(*rows.first().unwrap().get(column).unwrap(), expected, "{pragma}");
    }
}

#[tokio::test]
async fn a_batch_is_whole_or_not_at_all() {
    let database = SqliteExecutor::open_in_memory().await.unwrap();
    assert_eq!(database.execute(vec![]).await.unwrap(), []);
    run(&database, "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT NOT NULL, CHECK (id < 100))")
        .await
        .unwrap();
    run(&database, "CREATE TABLE u (t INTEGER REFERENCES t(id), k TEXT UNIQUE)").await.unwrap();
    run(&database, "INSERT INTO u VALUES (NULL, 'k')").await.unwrap();
    for (sql, kind) in [
        ("INSERT INTO t VALUES (1, 'again')", ErrorKind::AlreadyExists),
        ("INSERT INTO u VALUES (NULL, 'k')", ErrorKind::AlreadyExists),
        ("INSERT INTO u VALUES (77, 'l')", ErrorKind::NotFound),
        ("INSERT INTO t VALUES (2, NULL)", ErrorKind::InvalidInput),
        ("INSERT INTO t VALUES (100, 'x')", ErrorKind::InvalidInput),
        ("INSERT INTO t VALUES ('no number', 'x')", ErrorKind::InvalidInput),
        ("SELEC 1", ErrorKind::InvalidInput),
        ("SELECT ?1", ErrorKind::InvalidInput),
        ("SELECT 1; SELECT 2", ErrorKind::InvalidInput),
        ("SELECT '\0", ErrorKind::InvalidInput),
        ("", ErrorKind::InvalidInput),
        ("-- nothing", ErrorKind::InvalidInput),
        ("BEGIN", ErrorKind::InvalidInput),
        ("BEGIN IMMEDIATE", ErrorKind::InvalidInput),
        ("/* now */ commit", ErrorKind::InvalidInput),
        ("END", ErrorKind::InvalidInput),
        ("ROLLBACK", ErrorKind::InvalidInput),
        ("ROLLBACK TO batch", ErrorKind::InvalidInput),
        ("SAVEPOINT mine", ErrorKind::InvalidInput),
        ("RELEASE batch", ErrorKind::InvalidInput),
        ("ATTACH ':memory:' AS other", ErrorKind::InvalidInput),
        ("VACUUM", ErrorKind::InvalidInput),
        ("PRAGMA synchronous = OFF", ErrorKind::InvalidInput),
    ] {
        let batch = vec![Statement::new("INSERT INTO t VALUES (1, 'first')"), Statement::new(sql)];
        let error = database.execute(batch).await.expect_err(sql);
        assert_eq!((error.kind(), error.retry()), (kind, Retry::Never), "{sql}: {error:?}");
        assert_eq!((error.operation(), error.path()), ("execute", Some(":memory:")), "{sql}");
        assert_eq!(run(&database, "SELECT * FROM t").await.unwrap().rows.len(), 0, "{sql}");
    }
    let more = database.execute(vec![Statement::new("SELECT 1").bind(1)]).await;
    assert_eq!(more.unwrap_err().kind(), ErrorKind::InvalidInput, "a parameter too many");
}

#[tokio::test]
async fn text_that_is_not_utf8_is_corrupt_and_names_its_column() {
    let database = SqliteExecutor::open_in_memory().await.unwrap();
    let error = run(&database, "SELECT 1 AS a, CAST(x'ff' AS TEXT) AS b").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("column b"), "{error}");
}

#[tokio::test]
async fn a_place_that_holds_no_database_is_told_for_what_it_is() {
    let (directory, path) = place();
    assert_eq!(kind_of_open(directory.path()).await, ErrorKind::IsADirectory);
    assert_eq!(kind_of_open(path.join("x")).await, ErrorKind::NotFound);
    assert_eq!(kind_of_open("").await, ErrorKind::InvalidInput);
    assert_eq!(kind_of_open("/dev/null").await, ErrorKind::InvalidInput);
    fs::write(&path, "").unwrap();
    assert_eq!(kind_of_open(path.join("x")).await, ErrorKind::NotADirectory);
    assert!(SqliteExecutor::open(&path).await.is_ok(), "an empty file is an empty database");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else was made");
}

#[tokio::test]
async fn a_file_that_is_no_database_or_a_damaged_one_is_not_touched() {
    let (_directory, path) = place();
    fs::write(&path, "All work and no play. ".repeat(300)).unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(kind_of_open(&path).await, ErrorKind::Corrupt);
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::remove_file(&path).unwrap();
    drop(store(&path).await.unwrap());
    let good = fs::read(&path).unwrap();
    let mut wrecked = good.clone();
    wrecked[100..4096].fill(0xaa);
    for damaged in [&wrecked[..], &good[..8192]] {
        fs::write(&path, damaged).unwrap();
        assert_eq!(kind_of_open(&path).await, ErrorKind::Corrupt);
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }

    // Damage further inside shows when it is met.
    let mut inside = good.clone();
    inside[4096..].fill(0xaa);
    fs::write(&path, &inside).unwrap();
    assert_eq!(store(&path).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(fs::read(&path).unwrap(), inside);
}

async fn store(path: &Path) -> Result<Repositories> {
    let database = Arc::new(SqliteExecutor::open(path).await?);
    Ok(Repositories::new(SqlRepositories::open(database).await?))
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_not_touched() {
    for mode in ["WAL", "DELETE"] {
        let (directory, path) = place();
        drop(store(&path).await.unwrap());
        let other = rusqlite::Connection::open(&path).unwrap();
        other.query_row(&format!("PRAGMA journal_mode = {mode}"), [], |_| Ok(())).unwrap();
        other.execute("INSERT INTO agentx_migrations VALUES (99, '0099_future')", []).unwrap();
        drop(other);
        let before = fs::read(&path).unwrap();
        let error = store(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let told = format!("version 99, this library knows {}", agentx_sql::SCHEMA_VERSION);
        assert!(error.to_string().contains(&told), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before, "{mode}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "{mode}: no journal is left");
    }
}

#[tokio::test]
async fn the_tables_of_somebody_else_are_not_touched() {
    let (_directory, path) = place();
    let other = rusqlite::Connection::open(&path).unwrap();
    other
        .execute_batch("CREATE TABLE containers (ship TEXT); INSERT INTO containers VALUES ('Emma')")
        .unwrap();
    drop(other);
    let error = store(&path).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::InvalidInput, "migrate"), "{error:?}");
    let database = SqliteExecutor::open(&path).await.unwrap();
    let tables = run(&database, "SELECT name FROM sqlite_schema").await.unwrap();
    assert_eq!(tables.rows, [[Value::from("containers")]]);
}

#[tokio::test]
async fn of_many_that_open_a_new_database_at_once_one_migrates_it() {
    let (_directory, path) = place();
    for opened in join_all((0..8).map(|_| store(&path))).await {
        opened.unwrap();
    }
    let database = SqliteExecutor::open(&path).await.unwrap();
    let rows = run(&database, "SELECT version, name FROM agentx_migrations").await.unwrap();
    let names = ["0001_init", "0002_log", "0003_pending", "0004_options"];
    let expected: Vec<_> = (1..).zip(names).map(|(n, name)| [Value::Integer(n), name.into()]).collect();
    assert_eq!(rows.rows, expected);
}

#[tokio::test]
async fn two_at_one_file_see_what_the_other_wrote() {
    let (_directory, path) = place();
    let (a, b) = (SqliteExecutor::open(&path).await.unwrap(), SqliteExecutor::open(&path).await.unwrap());
    run(&a, "CREATE TABLE t (n INTEGER)").await.unwrap();
    for _ in 0..20 {
        run(&a, "INSERT INTO t VALUES (1)").await.unwrap();
        run(&b, "INSERT INTO t VALUES (2)").await.unwrap();
    }
    for database in [a, b] {
        let rows = run(&database, "SELECT sum(n) AS sum FROM t").await.unwrap();
        assert_eq!(rows.first().unwrap().integer("sum").unwrap(), 60);
    }
}

#[tokio::test]
async fn a_reader_does_not_wait_for_a_writer() {
    let (_directory, path) = place();
    let database = SqliteExecutor::open(&path).await.unwrap();
    run(&database, "CREATE TABLE t (n INTEGER)").await.unwrap();
    let mut other = rusqlite::Connection::open(&path).unwrap();
    let writing = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    writing.execute("INSERT INTO t VALUES (1)", []).unwrap();
    assert_eq!(run(&database, "SELECT * FROM t").await.unwrap().rows.len(), 0);
    writing.commit().unwrap();
    run(&database, "INSERT INTO t VALUES (2)").await.unwrap();
    assert_eq!(run(&database, "SELECT * FROM t").await.unwrap().rows.len(), 2);
}

#[tokio::test]
async fn dropping_a_future_leaves_its_batch_whole_or_not_at_all() {
    let (_directory, path) = place();
    let database = SqliteExecutor::open(&path).await.unwrap();
    run(&database, "CREATE TABLE t (n INTEGER)").await.unwrap();
    for number in 0..50 {
        let insert = || Statement::new("INSERT INTO t VALUES (?1)").bind(number);
        let mut pending = database.execute(vec![insert(), insert()]);
        // Polled once: the batch is with the thread.
        assert!(futures::poll!(pending.as_mut()).is_pending() || number >= 0);
        drop(pending);
    }
    drop(database);
    let database = SqliteExecutor::open(&path).await.unwrap();
    let counts = run(&database, "SELECT n FROM t GROUP BY n HAVING count(*) <> 2").await.unwrap();
    assert_eq!(counts.rows, [] as [Vec<Value>; 0]);
}

/// On a thread that is nobody, where this program is root: root may write everything.
#[test]
fn a_file_or_directory_that_may_not_be_written_is_told_and_not_touched() {
    let (directory, path) = place();
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime().block_on(async { drop(store(&path).await.unwrap()) });
    let before = fs::read(&path).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let kind = move |path: PathBuf| {
        let other = std::thread::spawn(move || {
            if rustix::process::geteuid().is_root() {
                rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65534)).unwrap();
            }
            runtime().block_on(kind_of_open(path))
        });
        other.join().unwrap()
    };
    mode(directory.path(), 0o555);
    for closed in [0o444, 0o000] {
        mode(&path, closed);
        assert_eq!(kind(path.clone()), ErrorKind::PermissionDenied, "{closed:o}");
    }
    mode(&path, 0o666);
    assert_eq!(kind(path.clone()), ErrorKind::PermissionDenied, "there is no room for its log");
    assert_eq!(kind(directory.path().join("new.db")), ErrorKind::PermissionDenied);
    mode(directory.path(), 0o755);
    assert_eq!(fs::read(&path).unwrap(), before);
}

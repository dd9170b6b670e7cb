//! A batch is one request and one transaction, and D1 says what it cost.

use std::time::Duration;

use agentx_core::{ErrorKind, Retry};
use agentx_provider_cloudflare::D1Executor;
use agentx_sql::{Executor, Statement, Value};
use agentx_tests_cloudflare::Place;

use super::{WAYS, Way, api, database, run};

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_batch_is_whole_or_not_at_all() {
    for way in WAYS {
        let database = database(way);
        assert_eq!(database.execute(vec![]).await.unwrap(), []);
        run(&database, "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT NOT NULL, CHECK (id < 100))")
            .await
            .unwrap();
        run(&database, "CREATE TABLE u (t INTEGER REFERENCES t(id), k TEXT UNIQUE)").await.unwrap();
        run(&database, "INSERT INTO u VALUES (NULL, 'k')").await.unwrap();
        let large = format!("SELECT '{}'", "x".repeat(100_001));
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
            ("SELECT * FROM nowhere", ErrorKind::InvalidInput),
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
            (&large, ErrorKind::LimitExceeded),
        ] {
            let statement = Statement::new(sql.to_owned());
            let batch = vec![Statement::new("INSERT INTO t VALUES (1, 'first')"), statement];
            let error = database.execute(batch).await.expect_err(sql);
            assert_eq!((error.kind(), error.retry()), (kind, Retry::Never), "{way:?}: {sql}: {error:?}");
            assert_eq!((error.operation(), error.provider()), ("execute", "d1"), "{way:?}: {sql}");
            assert_eq!(run(&database, "SELECT * FROM t").await.unwrap().rows.len(), 0, "{way:?}: {sql}");
        }
    }
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_hundred_statements_are_one_request_and_their_rows_are_metered() {
    for way in WAYS {
        let database = database(way);
        run(&database, "CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT UNIQUE)").await.unwrap();
        // From the first change on there is a table for the marks.
        run(&database, "DELETE FROM t").await.unwrap();
        let before = database.usage();
        let insert = |n: i64| Statement::new("INSERT INTO t VALUES (?1, ?2)").bind(n).bind(n.to_string());
        database.execute((0..100).map(insert).collect()).await.unwrap();
        let used = database.usage().since(&before);
        assert_eq!((used.batches, used.statements, used.unmetered), (1, 101, 0), "{way:?}");
        // Each row, and its place in the index; and the mark.
        assert_eq!(used.rows_written, 201, "{way:?}");
        let before = database.usage();
        run(&database, "SELECT count(k) FROM t").await.unwrap();
        assert_eq!(database.usage().since(&before).rows_read, 100, "{way:?}");
    }
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_token_that_is_not_known_and_a_database_that_is_not_there_are_told() {
    let place = Place::take();
    let missing = D1Executor::new(api(Way::Account, &place), "nowhere").unwrap();
    let error = run(&missing, "SELECT 1").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.path(), error.retry()),
        (ErrorKind::Unavailable, Some("nowhere"), Retry::Never)
    );
    assert!(error.to_string().contains("could not be found"), "{error}");
    for id in ["", "../x", "a/b", "a b"] {
        let refused = D1Executor::new(api(Way::Account, &place), id);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput, "{id}");
    }
}

/// Dropped at any moment, a batch is whole or not at all.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn dropping_a_future_leaves_its_batch_whole_or_not_at_all() {
    let database = database(Way::Explorer);
    run(&database, "CREATE TABLE t (n INTEGER)").await.unwrap();
    for number in 0..30 {
        let insert = || Statement::new("INSERT INTO t VALUES (?1)").bind(number);
        let pending = database.execute(vec![insert(), insert()]);
        // Some have not been sent by then, some are under way, and some are answered.
        let _ =
            tokio::time::timeout(Duration::from_micros(u64::try_from(number).unwrap() * 200), pending).await;
    }
    let counts = run(&database, "SELECT n FROM t GROUP BY n HAVING count(*) <> 2").await.unwrap();
    assert_eq!(counts.rows, [] as [Vec<Value>; 0]);
}

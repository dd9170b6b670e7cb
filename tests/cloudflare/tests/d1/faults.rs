//! Answers get lost between the client and the database: nothing is lost, doubled or made up.

use std::{sync::Arc, time::Duration};

use agentx::SystemClock;
use agentx_core::{Error, ErrorKind, Result, Retry};
use agentx_provider_cloudflare::{ApiToken, CloudflareApi, D1Executor};
use agentx_resource::memory::MemoryEnv;
use agentx_sql::{Executor, SCHEMA_VERSION, SqlRepositories, Statement};
use agentx_tests_cloudflare::{Fault, FaultProxy, Place, TOKEN};

use super::run;

const ERROR: &str = "HTTP/1.1 500 Internal Server Error";
const JSON: &str = "content-type: application/json";
const HTML: &str = "content-type: text/html";

/// How long an answer that stands still is waited for; and any other, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// A database behind a proxy, and the same database without.
struct Behind {
    proxy: FaultProxy,
    database: D1Executor,
    direct: D1Executor,
}

async fn behind() -> Behind {
    let place = Place::take();
    let proxy = FaultProxy::start(place.url()).await;
    let api = |base: String| {
        CloudflareApi::at(base, ApiToken::value(TOKEN), Arc::new(SystemClock)).unwrap().with_retries(1)
    };
    let database = |base| D1Executor::new(api(base).with_timeout(PATIENCE), place.database()).unwrap();
    let direct = database(place.explorer_api());
    run(&direct, "CREATE TABLE t (n INTEGER)").await.unwrap();
    Behind { database: database(proxy.through(&place.explorer_api())), proxy, direct }
}

impl Behind {
    async fn insert(&self) -> Result<()> {
        let insert = || Statement::new("INSERT INTO t VALUES (1)");
        self.database.execute(vec![insert(), insert()]).await.map(drop)
    }

    async fn select(&self) -> Result<i64> {
        run(&self.database, "SELECT count(*) AS n FROM t").await?.first().unwrap().integer("n")
    }

    /// The rows that are there, and none from now on.
    async fn stored(&self) -> i64 {
        let count = run(&self.direct, "SELECT count(*) AS n FROM t").await.unwrap();
        run(&self.direct, "DELETE FROM t").await.unwrap();
        count.first().unwrap().integer("n").unwrap()
    }
}

fn kind_and_retry(error: &Error) -> (ErrorKind, Retry) {
    (error.kind(), error.retry())
}

/// Counted on the way, not by the executor.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_batch_of_a_hundred_statements_is_one_request() {
    let behind = behind().await;
    // From the first change on there is a table for the marks.
    behind.insert().await.unwrap();
    let before = behind.proxy.requests();
    let insert = |n: i64| Statement::new("INSERT INTO t VALUES (?1)").bind(n);
    behind.database.execute((0..100).map(insert).collect()).await.unwrap();
    assert_eq!((behind.proxy.requests() - before, behind.stored().await), (1, 102));
}

/// What the database has not seen is tried again, also where it changes something.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_batch_that_was_turned_away_is_tried_again() {
    let behind = behind().await;
    let limited = Fault::Answer(&["HTTP/1.1 429 Too Many Requests", "retry-after: 0", JSON], "{}");
    let overloaded = Fault::Answer(
        &["HTTP/1.1 500 Internal Server Error", JSON],
        r#"{"success": false, "result": null, "messages": [],
            "errors": [{"code": 7500, "message": "D1 DB is overloaded. Too many requests queued."}]}"#,
    );
    for fault in [limited, overloaded] {
        let before = behind.proxy.requests();
        behind.proxy.inject(fault.clone());
        behind.insert().await.unwrap();
        assert_eq!((behind.proxy.requests() - before, behind.stored().await), (2, 2), "{fault:?}");

        behind.proxy.inject(fault.clone());
        behind.proxy.inject(fault.clone());
        let error = behind.insert().await.unwrap_err();
        assert_eq!(kind_and_retry(&error), (ErrorKind::Busy, Retry::Exhausted), "{error:?}");
        assert_eq!(behind.stored().await, 0, "{fault:?}");
    }
    let later = Fault::Answer(&["HTTP/1.1 429 Too Many Requests", "retry-after: 300", JSON], "{}");
    behind.proxy.inject(later);
    let error = behind.insert().await.unwrap_err();
    assert_eq!(kind_and_retry(&error), (ErrorKind::Busy, Retry::After(Some(Duration::from_mins(5)))));
}

/// All that can become of a batch whose answer is none, and how many rows are stored then.
const LOSSES: [(Fault, i64); 17] = [
    (Fault::Refuse, 0),
    (Fault::Reset, 0),
    (Fault::Lose, 2),
    (Fault::LoseByReset, 2),
    (Fault::Length(7), 2),
    (Fault::Length(-7), 2),
    (Fault::Truncate(0), 2),
    (Fault::Truncate(20), 2),
    (Fault::Stall(0), 2),
    (Fault::Stall(20), 2),
    (Fault::Replace(&["HTTP/1.1 503 Service Unavailable", HTML], "<html>"), 2),
    (Fault::Answer(&["HTTP/1.1 502 Bad Gateway", HTML], "<html>"), 0),
    (
        Fault::Replace(
            &[ERROR, JSON],
            r#"{"success": false, "errors": [{"code": 7500, "message": "internal error"}]}"#,
        ),
        2,
    ),
    (Fault::Replace(&["HTTP/1.1 200 OK", HTML], "<html>"), 2),
    (Fault::Replace(&["HTTP/1.1 200 OK", JSON], r#"{"success": true, "result": []}"#), 2),
    (Fault::Replace(&["HTTP/1.1 200 OK", JSON], r#"{"success": true, "result": null}"#), 2),
    (Fault::Replace(&["HTTP/1.1 200 OK", JSON], r#"{"success": tr"#), 2),
];

/// What has been done is found out, and what has not is done again: it is there once.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_change_without_an_answer_is_found_and_made_once() {
    let behind = behind().await;
    for (fault, stored) in LOSSES {
        let before = (behind.proxy.requests(), behind.database.usage());
        behind.proxy.inject(fault.clone());
        behind.insert().await.unwrap();
        // The batch, what became of it, and where nothing did, the batch again.
        let requests = if stored == 0 { 3 } else { 2 };
        assert_eq!(behind.proxy.requests() - before.0, requests, "{fault:?}");
        assert_eq!(behind.stored().await, 2, "{fault:?}");
        assert_eq!(behind.database.usage().since(&before.1).unmetered, 1, "{fault:?}");
    }
}

/// What it gave can't be had a second time.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_change_whose_rows_are_lost_says_that_it_was_done() {
    let behind = behind().await;
    for (fault, stored) in LOSSES {
        let insert = Statement::new("INSERT INTO t VALUES (1), (2) RETURNING n");
        behind.proxy.inject(fault.clone());
        let result = behind.database.execute(vec![insert]).await;
        if stored == 0 {
            assert_eq!(result.unwrap()[0].rows.len(), 2, "{fault:?}");
        } else {
            let error = result.unwrap_err();
            assert_eq!(kind_and_retry(&error), (ErrorKind::Lost, Retry::Never), "{fault:?}: {error:?}");
            assert!(error.message().starts_with("all was done"), "{fault:?}: {error}");
        }
        assert_eq!(behind.stored().await, 2, "{fault:?}");
    }
}

/// Nobody answers to the question either.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_change_of_which_nothing_can_be_found_out_is_lost_and_not_repeated() {
    let behind = behind().await;
    for (fault, stored) in [(Fault::Refuse, 0), (Fault::Lose, 2)] {
        // The batch; and the question, twice.
        for fault in [fault.clone(), Fault::Refuse, Fault::Refuse] {
            behind.proxy.inject(fault);
        }
        let before = behind.proxy.requests();
        let error = behind.insert().await.unwrap_err();
        assert_eq!(kind_and_retry(&error), (ErrorKind::Lost, Retry::Never), "{fault:?}: {error:?}");
        assert!(!error.message().contains("was done"), "{error}");
        assert_eq!(behind.proxy.requests() - before, 3, "{fault:?}");
        assert_eq!(behind.stored().await, stored, "{fault:?}");
    }
}

/// The network keeps a batch back, or delivers it twice.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_batch_that_comes_late_or_twice_does_nothing() {
    let behind = behind().await;
    for round in 0..3 {
        behind.proxy.inject(Fault::Late);
        behind.insert().await.unwrap();
        let answers = behind.proxy.release().await.unwrap();
        assert!(
            matches!(&answers[..], [answer] if answer.contains("agentx_d1_batches.batch")),
            "{answers:?}"
        );
        assert_eq!(behind.stored().await, 2, "round {round}");

        behind.proxy.inject(Fault::Double);
        behind.insert().await.unwrap();
        assert_eq!(behind.stored().await, 2, "round {round}");
    }
    // Dropped meanwhile, and overtaken by another one.
    behind.proxy.inject(Fault::Late);
    let before = behind.proxy.requests();
    let pending = behind.insert();
    tokio::select! {
        result = pending => result.unwrap(),
        () = async { while behind.proxy.requests() == before { tokio::task::yield_now().await } } => {}
    }
    behind.insert().await.unwrap();
    let stored = behind.stored().await;
    behind.proxy.release().await.unwrap();
    assert_eq!((stored == 2 || stored == 4, behind.stored().await), (true, 0), "{stored}");
}

/// A second attempt that fails is told as what it is, since then it is known that nothing has changed.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_change_that_is_known_not_to_be_done_is_told_as_what_it_failed_with() {
    let behind = behind().await;
    let broken = Fault::Answer(&["HTTP/1.1 502 Bad Gateway", HTML], "<html>");
    let slow = Fault::Answer(
        &[ERROR, JSON],
        r#"{"success": false, "errors": [{"code": 7500, "message": "D1 DB exceeded its CPU time limit and was reset."}]}"#,
    );
    behind.proxy.inject(slow);
    let error = behind.insert().await.unwrap_err();
    assert_eq!(kind_and_retry(&error), (ErrorKind::LimitExceeded, Retry::Never), "{error:?}");
    // The question in between passes.
    for fault in [broken.clone(), Fault::Pass, broken] {
        behind.proxy.inject(fault);
    }
    let error = behind.insert().await.unwrap_err();
    assert_eq!(kind_and_retry(&error), (ErrorKind::Unavailable, Retry::Exhausted), "{error:?}");
    assert_eq!(behind.stored().await, 0);
}

/// Somebody tidies up.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn the_table_of_the_marks_is_made_again_where_it_is_gone() {
    let behind = behind().await;
    behind.insert().await.unwrap();
    run(&behind.direct, "DROP TABLE agentx_d1_batches").await.unwrap();
    behind.insert().await.unwrap();
    assert_eq!(behind.stored().await, 4);
}

/// Of its requests some are lost, before or after they were done, or come twice.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_migration_goes_on_where_an_answer_was_lost() {
    for fault in [Fault::Refuse, Fault::Lose, Fault::Double] {
        let behind = behind().await;
        for _ in 0..20 {
            for fault in [fault.clone(), Fault::Pass, Fault::Pass] {
                behind.proxy.inject(fault);
            }
        }
        SqlRepositories::open(Arc::new(behind.database.clone())).await.unwrap();
        // As many as without a fault, and what was asked again.
        assert!(behind.proxy.requests() > 4, "{fault:?}");
        let versions = run(&behind.direct, "SELECT max(version) AS n FROM agentx_migrations").await.unwrap();
        assert_eq!(versions.first().unwrap().integer("n").unwrap(), SCHEMA_VERSION, "{fault:?}");
    }
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_read_without_an_answer_is_asked_again() {
    let behind = behind().await;
    behind.insert().await.unwrap();
    for fault in [
        Fault::Refuse,
        Fault::Reset,
        Fault::Lose,
        Fault::LoseByReset,
        Fault::Length(7),
        Fault::Truncate(20),
        Fault::Stall(20),
        Fault::Answer(&["HTTP/1.1 503 Service Unavailable", HTML], "<html>"),
    ] {
        behind.proxy.inject(fault.clone());
        assert_eq!(behind.select().await.unwrap(), 2, "{fault:?}");
        behind.proxy.inject(fault.clone());
        behind.proxy.inject(fault.clone());
        let error = behind.select().await.unwrap_err();
        assert_eq!(error.retry(), Retry::Exhausted, "{fault:?}: {error:?}");
    }
    for fault in [Fault::Answer(&["HTTP/1.1 200 OK", HTML], "<html>"), Fault::Length(-7)] {
        behind.proxy.inject(fault.clone());
        assert_eq!(behind.select().await.unwrap_err().kind(), ErrorKind::Corrupt, "{fault:?}");
    }
    let before = behind.proxy.requests();
    behind.proxy.inject(Fault::Trickle);
    assert_eq!((behind.select().await.unwrap(), behind.proxy.requests() - before), (2, 1), "byte by byte");
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_database_that_can_not_be_reached_has_done_nothing() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let api = CloudflareApi::at(format!("http://{free}"), ApiToken::value(TOKEN), Arc::new(SystemClock));
    let database = D1Executor::new(api.unwrap().with_retries(1), "d1").unwrap();
    let error = run(&database, "INSERT INTO t VALUES (1)").await.unwrap_err();
    assert_eq!(kind_and_retry(&error), (ErrorKind::Unavailable, Retry::Exhausted), "{error:?}");
    assert!(
        error.to_string().contains("refused") && !error.to_string().contains(&free.to_string()),
        "{error}"
    );
}

/// It expires between two batches: the next one goes with the new token, once there is one.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn an_expired_token_is_read_anew() {
    let place = Place::take();
    let proxy = FaultProxy::start(place.url()).await;
    let settings = MemoryEnv::new([("TOKEN", "expired-token")]).unwrap();
    let token = ApiToken::from_env(Arc::new(settings.clone()), "TOKEN");
    let base = format!("{}/accounts/a", proxy.through(&place.rest_api()));
    let api = CloudflareApi::at(base, token, Arc::new(SystemClock)).unwrap();
    let database = D1Executor::new(api, place.database()).unwrap();

    let error = run(&database, "CREATE TABLE t (n)").await.unwrap_err();
    assert_eq!(kind_and_retry(&error), (ErrorKind::Unauthenticated, Retry::Never), "{error:?}");
    assert!(!format!("{error:?}").contains("expired-token"));
    assert_eq!(proxy.requests(), 1, "the same token is not tried again");

    settings.set("TOKEN", TOKEN).unwrap();
    run(&database, "CREATE TABLE t (n)").await.unwrap();
    // Revoked just before the batch, and replaced just after the token was read.
    proxy.inject(Fault::Answer(
        &["HTTP/1.1 401 Unauthorized", JSON],
        r#"{"success": false, "errors": [{"code": 10000, "message": "Authentication error"}]}"#,
    ));
    let changes = RotatesOnce::new(settings);
    let api = CloudflareApi::at(
        format!("{}/accounts/a", proxy.through(&place.rest_api())),
        ApiToken::from_env(Arc::new(changes), "TOKEN"),
        Arc::new(SystemClock),
    );
    let database = D1Executor::new(api.unwrap(), place.database()).unwrap();
    run(&database, "INSERT INTO t VALUES (1)").await.unwrap();
    let count = run(&database, "SELECT count(*) AS n FROM t").await.unwrap();
    assert_eq!(count.first().unwrap().integer("n").unwrap(), 1);
    proxy.inject(Fault::Answer(&["HTTP/1.1 403 Forbidden", JSON], "{}"));
    let error = run(&database, "SELECT 1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}

/// Gives another token the first time.
#[derive(Debug)]
struct RotatesOnce {
    settings: MemoryEnv,
    asked: std::sync::atomic::AtomicBool,
}

impl RotatesOnce {
    fn new(settings: MemoryEnv) -> Self {
        Self { settings, asked: false.into() }
    }
}

#[agentx::async_trait]
impl agentx_resource::Env for RotatesOnce {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        if self.asked.swap(true, std::sync::atomic::Ordering::SeqCst) {
            return self.settings.get(key).await;
        }
        Ok(Some("revoked-token".to_owned()))
    }

    async fn get_all(&self) -> Result<std::collections::BTreeMap<String, String>> {
        self.settings.get_all().await
    }
}

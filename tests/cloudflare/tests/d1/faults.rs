//! Answers get lost between the client and the database: nothing is lost, doubled or made up.

use std::{sync::Arc, time::Duration};

use agentx::SystemClock;
use agentx_core::{Error, ErrorKind, Result, Retry};
use agentx_provider_cloudflare::{ApiToken, CloudflareApi, D1Executor};
use agentx_resource::memory::MemoryEnv;
use agentx_sql::{Executor, Statement};
use agentx_tests_cloudflare::{Fault, FaultProxy, Place, TOKEN};

use super::run;

const ERROR: &str = "HTTP/1.1 500 Internal Server Error";
const JSON: &str = "content-type: application/json";
const HTML: &str = "content-type: text/html";

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
    let database =
        |base| D1Executor::new(api(base).with_timeout(Duration::from_secs(2)), place.database()).unwrap();
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

/// Of a batch that the database has done, and of one that it has not seen, the client may know the same: nothing.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_change_without_an_answer_is_lost_and_not_repeated() {
    let behind = behind().await;
    for (fault, stored) in [
        (Fault::Refuse, 0),
        (Fault::Lose, 2),
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
    ] {
        let before = (behind.proxy.requests(), behind.database.usage());
        behind.proxy.inject(fault.clone());
        let error = behind.insert().await.unwrap_err();
        assert_eq!(kind_and_retry(&error), (ErrorKind::Lost, Retry::Never), "{fault:?}: {error:?}");
        assert_eq!(behind.proxy.requests() - before.0, 1, "{fault:?}");
        assert_eq!(behind.stored().await, stored, "{fault:?}");
        assert_eq!(behind.database.usage().since(&before.1).unmetered, 1, "{fault:?}");
    }
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_read_without_an_answer_is_asked_again() {
    let behind = behind().await;
    behind.insert().await.unwrap();
    for fault in [
        Fault::Refuse,
        Fault::Lose,
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
    behind.proxy.inject(Fault::Answer(&["HTTP/1.1 200 OK", HTML], "<html>"));
    assert_eq!(behind.select().await.unwrap_err().kind(), ErrorKind::Corrupt, "a page of a proxy");
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

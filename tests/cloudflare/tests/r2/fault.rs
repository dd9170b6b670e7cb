//! Faults on the way: nothing is lost, doubled or made up.

use std::time::Duration;

use agentx_provider_cloudflare::{R2FileSystem, R2Keys};
use agentx_resource::{
    Error, ErrorKind, FileSystem, FileSystemExt, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath,
    Retry, TransferOptions, Version, WriteMode, WriteOptions, memory::MemoryLlmProvider,
};
use agentx_tests_cloudflare::Place;
use futures::TryStreamExt;
use tokio::sync::oneshot;

use crate::{
    bucket, path,
    proxy::{Fault, Proxy},
};

/// A file system by way of a proxy, and the same one without it.
struct World {
    proxy: Proxy,
    fs: R2FileSystem,
    direct: R2FileSystem,
}

/// How long the server may be silent.
const IDLE: Duration = Duration::from_secs(5);

async fn world() -> World {
    world_with(IDLE).await
}

async fn world_with(idle: Duration) -> World {
    let place = Place::take();
    let proxy = Proxy::start(place.url()).await;
    let endpoint = place.s3_endpoint().replace(place.url(), &proxy.url);
    let through = bucket(&place)
        .with_endpoint(endpoint)
        .with_retries(3, Duration::from_secs(20))
        .with_idle_timeout(idle);
    let fs = R2FileSystem::connect(&through).unwrap();
    World { proxy, fs, direct: R2FileSystem::connect(&bucket(&place)).unwrap() }
}

fn assert_kind(error: &Error, kind: ErrorKind, retry: Retry) {
    assert_eq!((error.kind(), error.retry()), (kind, retry), "{error:?}");
}

type Make = fn() -> Fault;

const PUT: &[&str] = &["PUT ", "/f HTTP"];
const CREATE: &[&str] = &["PUT ", "/f HTTP", "if-none-match: *"];
const UPDATE: &[&str] = &["PUT ", "/f HTTP", "if-match: "];
const GET: &[&str] = &["GET ", "/f HTTP"];

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_conditional_write_whose_answer_is_lost_is_known_again() {
    let World { proxy, fs, direct } = world_with(Duration::from_secs(1)).await;
    let file = path("/f");
    let lost: [Make; 3] = [
        || Fault::BreakAfter(None),
        || Fault::AnswerAfter(500, "InternalError"),
        || Fault::Silence(Duration::from_secs(3)),
    ];
    for fault in lost {
        proxy.then(CREATE, fault());
        let created = fs.write(&file, "one".into(), WriteMode::CreateNew.into()).await.unwrap();
        assert_eq!(created.version, direct.metadata(&file).await.unwrap().version);
        proxy.then(UPDATE, fault());
        let mode = WriteMode::IfMatch(created.version.unwrap());
        let updated = fs.write(&file, "two".into(), mode.into()).await.unwrap();
        assert_eq!(updated.version, direct.metadata(&file).await.unwrap().version);
        assert_eq!(direct.read_to_string(&file).await.unwrap(), "two");
        proxy.assert_used();
        // Somebody else's file is not taken for one's own.
        let error = fs.write(&file, "mine".into(), WriteMode::CreateNew.into()).await.unwrap_err();
        assert_kind(&error, ErrorKind::AlreadyExists, Retry::Never);
        direct.rm(&file, RemoveOptions::default()).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn what_somebody_else_has_replaced_meanwhile_is_told_as_unknown() {
    let World { proxy, fs, direct } = world().await;
    let file = path("/f");
    let first = direct.write_file(&file, "first").await.unwrap().version.unwrap();
    for mode in [WriteMode::IfMatch(first), WriteMode::CreateNew] {
        if mode == WriteMode::CreateNew {
            direct.rm(&file, RemoveOptions::default()).await.unwrap();
        }
        let ((done, is_done), (go, gone)) = (oneshot::channel(), oneshot::channel());
        proxy.then(PUT, Fault::BreakAfter(Some((done, gone))));
        let others = async {
            is_done.await.unwrap();
            assert_eq!(direct.read_to_string(&file).await.unwrap(), "mine");
            direct.write_file(&file, "theirs").await.unwrap();
            go.send(()).unwrap();
        };
        let (written, ()) = futures::join!(fs.write(&file, "mine".into(), mode.into()), others);
        assert_kind(&written.unwrap_err(), ErrorKind::Lost, Retry::Never);
        assert_eq!(direct.read_to_string(&file).await.unwrap(), "theirs");
    }
    proxy.assert_used();
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_directory_is_made_once_also_when_the_answer_is_lost() {
    let World { proxy, fs, direct } = world().await;
    proxy.then(&["PUT ", "/d/.agentx-dir HTTP"], Fault::BreakAfter(None));
    fs.mkdir(&path("/d"), MkdirOptions::default()).await.unwrap();
    proxy.assert_used();
    assert!(direct.metadata(&path("/d")).await.unwrap().is_dir());
    let error = fs.mkdir(&path("/d"), MkdirOptions::default()).await.unwrap_err();
    assert_kind(&error, ErrorKind::AlreadyExists, Retry::Never);
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn what_passes_is_repeated() {
    let World { proxy, fs, direct } = world().await;
    let (file, other) = (path("/f"), path("/g"));
    let passing: [Make; 5] = [
        || Fault::Answer(429, "SlowDown"),
        || Fault::Answer(500, "InternalError"),
        || Fault::Answer(503, "ServiceUnavailable"),
        || Fault::Break,
        || Fault::BreakAfter(None),
    ];
    for fault in passing {
        proxy.times(2, CREATE, fault);
        let version =
            fs.write(&file, "1".into(), WriteMode::CreateNew.into()).await.unwrap().version.unwrap();
        proxy.times(2, UPDATE, fault);
        fs.write(&file, "2".into(), WriteMode::IfMatch(version).into()).await.unwrap();
        proxy.times(2, PUT, fault);
        fs.write_file(&file, "3").await.unwrap();
        proxy.times(2, GET, fault);
        assert_eq!(fs.read_to_string(&file).await.unwrap(), "3");
        proxy.times(2, &["HEAD ", "/f HTTP"], fault);
        assert_eq!(fs.metadata(&file).await.unwrap().len, 1);
        proxy.times(2, &["GET ", "list-type=2"], fault);
        assert_eq!(fs.readdir(&path("/")).await.unwrap().len(), 1);
        proxy.times(2, &["PUT ", "x-amz-copy-source: "], fault);
        proxy.times(2, &["POST ", "?delete"], fault);
        fs.rename(&file, &other, TransferOptions::default()).await.unwrap();
        assert!(!direct.exists(&file).await.unwrap());
        assert_eq!(direct.read_to_string(&other).await.unwrap(), "3");
        proxy.times(1, &["POST ", "?delete"], fault);
        fs.rm(&other, RemoveOptions::default()).await.unwrap();
        proxy.assert_used();
        assert!(direct.readdir(&path("/")).await.unwrap().is_empty());
    }
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn what_does_not_pass_is_told_and_changes_nothing() {
    let World { proxy, fs, direct } = world().await;
    let file = path("/f");
    let version = direct.write_file(&file, "first").await.unwrap().version.unwrap();
    let refusals: [(Make, ErrorKind, Retry); 7] = [
        (|| Fault::Answer(503, "SlowDown"), ErrorKind::Unavailable, Retry::Exhausted),
        (|| Fault::Break, ErrorKind::Unavailable, Retry::Exhausted),
        (|| Fault::Answer(409, "OperationAborted"), ErrorKind::Busy, Retry::Exhausted),
        (|| Fault::Answer(403, "AccessDenied"), ErrorKind::PermissionDenied, Retry::Never),
        (|| Fault::Answer(403, "ExpiredToken"), ErrorKind::Unauthenticated, Retry::Never),
        (|| Fault::Answer(400, "EntityTooLarge"), ErrorKind::LimitExceeded, Retry::Never),
        (|| Fault::Answer(501, "NotImplemented"), ErrorKind::Unsupported, Retry::Never),
    ];
    for (fault, kind, retry) in refusals {
        for mode in [WriteMode::Overwrite, WriteMode::IfMatch(version.clone())] {
            proxy.times(4, PUT, fault);
            let error = fs.write(&file, "other".into(), mode.into()).await.unwrap_err();
            assert_kind(&error, kind, retry);
            assert!(error.to_string().starts_with(r#"write "/f" (r2): "#), "{error}");
            proxy.clear();
        }
        proxy.times(4, &["PUT ", "/new HTTP"], fault);
        let error = fs.write(&path("/new"), "x".into(), WriteMode::CreateNew.into()).await.unwrap_err();
        assert_kind(&error, kind, retry);
        proxy.times(4, GET, fault);
        assert_kind(&fs.read_file(&file).await.unwrap_err(), kind, retry);
        proxy.times(4, &["GET ", "list-type=2"], fault);
        assert_kind(&fs.readdir(&path("/")).await.unwrap_err(), kind, retry);
        proxy.clear();
    }
    assert_eq!(direct.read_to_string(&file).await.unwrap(), "first");
    assert_eq!(direct.readdir(&path("/")).await.unwrap().len(), 1);
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_bucket_that_can_not_be_reached_says_why() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere = bucket(&Place::take()).with_endpoint(format!("http://{free}"));
    let fs = R2FileSystem::connect(&nowhere.with_retries(1, Duration::from_secs(20))).unwrap();
    let error = fs.read_file(&path("/f")).await.unwrap_err();
    assert_kind(&error, ErrorKind::Unavailable, Retry::Exhausted);
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_missing_bucket_is_not_an_empty_one() {
    let World { proxy, fs, .. } = world().await;
    proxy.then(&["GET ", "list-type=2"], Fault::Answer(404, "NoSuchBucket"));
    let error = fs.readdir(&path("/")).await.unwrap_err();
    assert_kind(&error, ErrorKind::InvalidInput, Retry::Never);
    assert!(error.to_string().contains("no such bucket"), "{error}");
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_body_that_breaks_off_is_taken_up_or_told() {
    let World { proxy, fs, direct } = world().await;
    let file = path("/f");
    let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    direct.write_file(&file, content.clone()).await.unwrap();
    for kept in [0, 1, 100_000, 299_999] {
        proxy.times(2, GET, || Fault::Truncate(kept));
        assert_eq!(fs.read_file(&file).await.unwrap(), content, "after {kept} bytes");
        proxy.clear();
    }
    proxy.times(8, GET, || Fault::Truncate(1000));
    let error = fs.read_file(&file).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Truncated), "{error:?}");
    proxy.clear();
    // A file that is replaced meanwhile is not put together of two.
    proxy.then(GET, Fault::Truncate(1000));
    let read = fs.read(&file, ReadOptions::default()).await.unwrap();
    direct.write_file(&file, vec![7; 300_000]).await.unwrap();
    assert!(read.bytes(1 << 20).await.is_err());
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_wrong_length_is_never_a_success() {
    let World { proxy, fs, direct } = world().await;
    let file = path("/f");
    direct.write_file(&file, "0123456789").await.unwrap();
    for difference in [-1, -9, -10, 1, 1000] {
        proxy.times(4, GET, || Fault::Length(difference));
        // The range in the answer says what the file has: all of that has come, or it is told.
        match fs.read_file(&file).await {
            Ok(content) => assert_eq!((&content[..], difference > 0), (&b"0123456789"[..], true)),
            Err(error) => {
                let kinds = [ErrorKind::Corrupt, ErrorKind::Truncated, ErrorKind::Unavailable];
                assert!(kinds.contains(&error.kind()), "{difference}: {error:?}");
            }
        }
        proxy.clear();
        proxy.times(4, GET, || Fault::Length(difference.max(-3)));
        // All that was asked for may have come, and nothing else.
        assert!(fs.read_range(&file, 2..6).await.is_ok_and(|part| part == "2345") == (difference > 0));
        proxy.clear();
        proxy.times(4, &["GET ", "list-type=2"], || Fault::Length(difference));
        assert!(fs.readdir(&path("/")).await.is_err(), "{difference}");
        proxy.clear();
    }
    assert_eq!(fs.read_to_string(&file).await.unwrap(), "0123456789");
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn silence_is_bounded() {
    let World { proxy, fs, direct } = world_with(Duration::from_millis(300)).await;
    let file = path("/f");
    direct.write_file(&file, "first").await.unwrap();
    let silence = || Fault::Silence(Duration::from_secs(20));
    for matching in [GET, PUT] {
        proxy.times(4, matching, silence);
        let result = match matching {
            GET => fs.read_file(&file).await.map(drop),
            _ => fs.write_file(&file, "second").await.map(drop),
        };
        assert_kind(&result.unwrap_err(), ErrorKind::TimedOut, Retry::Exhausted);
        proxy.clear();
    }
}

/// The bound is on silence, and not on the whole: whoever tells something every now and then is listened to.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_body_that_stands_still_is_taken_up_and_a_slow_one_is_waited_for() {
    const IDLE: Duration = Duration::from_secs(1);
    let World { proxy, fs, direct } = world_with(IDLE).await;
    let file = path("/f");
    let content: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    direct.write_file(&file, content.clone()).await.unwrap();
    for kept in [0, 1, 19_999] {
        proxy.then(GET, Fault::Stall(kept));
        assert_eq!(fs.read_file(&file).await.unwrap(), content, "after {kept} bytes");
        proxy.assert_used();
    }
    proxy.times(4, GET, || Fault::Stall(10));
    let error = fs.read_file(&file).await.unwrap_err();
    assert_kind(&error, ErrorKind::TimedOut, Retry::Exhausted);
    proxy.clear();
    // Twenty pieces in twice the time.
    proxy.then(GET, Fault::Slow(1_000, IDLE / 10));
    let before = proxy.seen(GET);
    assert_eq!(fs.read_file(&file).await.unwrap(), content);
    assert_eq!(proxy.seen(GET), before + 1, "it was not asked for again");
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_large_write_survives_what_befalls_its_parts_and_its_end() {
    let World { proxy, fs, direct } = world().await;
    let file = path("/f");
    let content: Vec<u8> = (0..=250).cycle().take((8 << 20) + 1000).collect();
    proxy.then(&["POST ", "?uploads"], Fault::BreakAfter(None));
    proxy.then(&["PUT ", "partNumber=1"], Fault::BreakAfter(None));
    proxy.then(&["PUT ", "partNumber=2"], Fault::Answer(503, "SlowDown"));
    proxy.then(&["POST ", "uploadId="], Fault::BreakAfter(None));
    let mut writer = fs.writer(&file, WriteOptions::default()).await.unwrap();
    writer.write(content.clone().into()).await.unwrap();
    let written = writer.close().await.unwrap();
    proxy.assert_used();
    assert_eq!(written.version, direct.metadata(&file).await.unwrap().version);
    assert_eq!(direct.read_file(&file).await.unwrap(), content);

    // An upload that the store does not finish leaves what was there.
    proxy.times(4, &["POST ", "uploadId="], || Fault::Answer(503, "SlowDown"));
    let mut writer = fs.writer(&file, WriteOptions::default()).await.unwrap();
    writer.write(vec![1; (8 << 20) + 1].into()).await.unwrap();
    assert_kind(&writer.close().await.unwrap_err(), ErrorKind::Unavailable, Retry::Exhausted);
    assert_eq!(direct.metadata(&file).await.unwrap().version, written.version);
    assert_eq!(proxy.seen(&["DELETE ", "uploadId="]), 1, "the parts are cleared away");
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_tree_is_removed_and_moved_whatever_befalls_one_step() {
    let World { proxy, fs, direct } = world().await;
    let options = WriteOptions::default().with_create_parents();
    for name in 0..5 {
        direct.write(&path(&format!("/a/{name}")), "x".into(), options.clone()).await.unwrap();
    }
    // Half-way, it is told; nothing is gone, and another attempt ends it.
    proxy.times(4, &["PUT ", "/b/3 HTTP", "x-amz-copy-source: "], || Fault::Break);
    let error = fs.rename(&path("/a"), &path("/b"), TransferOptions::default()).await.unwrap_err();
    assert_kind(&error, ErrorKind::Unavailable, Retry::Exhausted);
    proxy.assert_used();
    assert_eq!(direct.readdir(&path("/a")).await.unwrap().len(), 5);
    direct.rm_all(&path("/b")).await.unwrap();
    proxy.then(&["PUT ", "/b/3 HTTP", "x-amz-copy-source: "], Fault::BreakAfter(None));
    fs.rename(&path("/a"), &path("/b"), TransferOptions::default()).await.unwrap();
    proxy.assert_used();
    assert!(!direct.exists(&path("/a")).await.unwrap());
    let entries: Vec<_> = direct.walk(&path("/")).try_collect().await.unwrap();
    assert_eq!(entries.len(), 6);
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn keys_and_clocks() {
    let World { proxy, fs, .. } = world().await;
    // A request that carries a moment of another year, judged by the server itself.
    proxy.then(GET, Fault::Date("20200101T000000Z"));
    let error = fs.read_file(&path("/f")).await.unwrap_err();
    assert_kind(&error, ErrorKind::Unauthenticated, Retry::Never);
    assert!(error.to_string().contains("clock"), "{error}");

    let place = Place::take();
    let (id, secret) = agentx_tests_cloudflare::S3_CREDENTIALS;
    let keys = MemoryLlmProvider::new("rotated", R2Keys::new(id, "not the secret"));
    let fs =
        R2FileSystem::connect(&bucket(&place).with_keys_from(std::sync::Arc::new(keys.clone()))).unwrap();
    // The answer to a look (HEAD) has no body to say so.
    assert_kind(&fs.metadata(&path("/f")).await.unwrap_err(), ErrorKind::PermissionDenied, Retry::Never);
    let error = fs.readdir(&path("/")).await.unwrap_err();
    assert_kind(&error, ErrorKind::Unauthenticated, Retry::Never);
    assert!(!format!("{error:?}").contains("not the secret"), "{error:?}");
    // They are asked for anew each time.
    keys.set(R2Keys::new(id, secret));
    fs.write_file(&path("/f"), "x").await.unwrap();
}

/// Half of them create, and half replace.
const ROUNDS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn of_many_racers_one_wins_in_each_of_a_hundred_rounds() {
    let fs = crate::fresh();
    for round in 0..ROUNDS / 2 {
        let file = path(&format!("/{round}"));
        let version = one_wins(&fs, &file, &WriteMode::CreateNew, ErrorKind::AlreadyExists).await;
        one_wins(&fs, &file, &WriteMode::IfMatch(version), ErrorKind::ConditionFailed).await;
    }
}

/// Lets 16 racers write `file` at once; the version that the one winner made.
async fn one_wins(fs: &R2FileSystem, file: &ResourcePath, mode: &WriteMode, losers: ErrorKind) -> Version {
    let racers = (0..16).map(|racer| {
        let (fs, file, mode) = (fs.clone(), file.clone(), mode.clone());
        tokio::spawn(async move {
            (racer, fs.write(&file, format!("{mode:?} {racer}").into(), mode.into()).await)
        })
    });
    let mut winners = Vec::new();
    for result in futures::future::join_all(racers).await {
        match result.unwrap() {
            (racer, Ok(written)) => winners.push((racer, written.version.unwrap())),
            (_, Err(error)) => assert_kind(&error, losers, Retry::Never),
        }
    }
    assert_eq!(winners.len(), 1, "{file:?} {mode:?}: {winners:?}");
    let (winner, version) = winners.remove(0);
    assert_eq!(fs.read_to_string(file).await.unwrap(), format!("{mode:?} {winner}"));
    version
}

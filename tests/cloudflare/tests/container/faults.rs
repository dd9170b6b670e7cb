//! Faults between a client and the Worker in front of its container.

use std::time::Duration;

use agentx_provider_cloudflare::{Container, ContainerEngine, ContainerFileSystem, ContainerOptions};
use agentx_resource::{Error, ErrorKind, ExecRequest, FileSystemExt, ProcessExt, ResourcePath, Retry};
use agentx_tests_cloudflare::{Fault, FaultProxy, Place};

use crate::engine::{Engine, TOKEN};

const TEXT: &str = "content-type: text/plain;charset=UTF-8";

/// What Cloudflare says where it has no place for a container, or has lost one.
const FULL: &[&str] = &["HTTP/1.1 503 Service Unavailable", "retry-after: 7", TEXT];
const LIMITED: &[&str] = &["HTTP/1.1 429 Too Many Requests", TEXT];
const BROKEN: &[&str] = &["HTTP/1.1 500 Internal Server Error", TEXT];
const TAKEN: &[&str] = &["HTTP/1.1 409 Conflict", TEXT];
const GONE: &str = "Container suddenly disconnected, try again";

/// A container through a proxy, and the same one without.
struct Behind {
    proxy: FaultProxy,
    container: Container,
    direct: ContainerFileSystem,
    _engine: Engine,
}

async fn behind() -> Behind {
    let (place, engine) = (Place::take(), Engine::start().await);
    let proxy = FaultProxy::start(place.url()).await;
    let address = engine.container_at(&proxy.through(place.url()), TOKEN).start().await.unwrap();
    let container = Container::connect(&address, ContainerOptions::default()).await.unwrap();
    let direct = engine.connected().await.files();
    Behind { proxy, container, direct, _engine: engine }
}

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

fn kind_and_retry(error: &Error) -> (ErrorKind, Retry) {
    (error.kind(), error.retry())
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_read_without_an_answer_says_whether_to_ask_again() {
    let behind = behind().await;
    let (files, file) = (behind.container.files(), path("/f"));
    behind.direct.write_file(&file, "content").await.unwrap();
    let again = Retry::After(None);
    for (fault, kind, retry) in [
        (Fault::Answer(FULL, "full"), ErrorKind::Unavailable, Retry::After(Some(Duration::from_secs(7)))),
        (Fault::Answer(LIMITED, "slowly"), ErrorKind::Unavailable, again),
        (Fault::Answer(TAKEN, "another is at work"), ErrorKind::Busy, again),
        (Fault::Answer(BROKEN, GONE), ErrorKind::Unavailable, again),
        (Fault::Answer(&["HTTP/1.1 401 Unauthorized"], ""), ErrorKind::Unauthenticated, Retry::Never),
        (Fault::Answer(&["HTTP/1.1 403 Forbidden"], ""), ErrorKind::PermissionDenied, Retry::Never),
        (Fault::Refuse, ErrorKind::Unavailable, again),
        (Fault::Reset, ErrorKind::Unavailable, again),
        (Fault::Lose, ErrorKind::Unavailable, again),
        (Fault::LoseByReset, ErrorKind::Unavailable, again),
        (Fault::Truncate(3), ErrorKind::Truncated, again),
    ] {
        behind.proxy.inject(fault.clone());
        let error = files.read_file(&file).await.unwrap_err();
        assert_eq!(kind_and_retry(&error), (kind, retry), "{fault:?}: {error:?}");
    }
    behind.proxy.inject(Fault::Answer(BROKEN, GONE));
    let error = files.metadata(&file).await.unwrap_err();
    assert!(error.to_string().contains(GONE), "{error}");
    // A part of the content is none, and a page of somebody else's is no answer.
    for fault in [Fault::Length(-3), Fault::Answer(&["HTTP/1.1 200 OK", "content-type: text/html"], "<html>")]
    {
        behind.proxy.inject(fault.clone());
        assert!(files.read_file(&file).await.is_err(), "{fault:?}");
    }
    // All that the server says the file has may have come, and nothing else.
    behind.proxy.inject(Fault::Length(7));
    assert!(files.read_to_string(&file).await.map_or(true, |content| content == "content"));
    behind.proxy.inject(Fault::Trickle);
    assert_eq!(files.read_to_string(&file).await.unwrap(), "content");
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_write_without_an_answer_is_lost_and_one_that_nobody_took_may_be_tried_again() {
    let behind = behind().await;
    let (files, file) = (behind.container.files(), path("/f"));
    for (fault, kind, written) in [
        (Fault::Answer(FULL, "full"), ErrorKind::Unavailable, false),
        (Fault::Answer(LIMITED, "slowly"), ErrorKind::Unavailable, false),
        (Fault::Answer(TAKEN, "another is at work"), ErrorKind::Busy, false),
        (Fault::Answer(BROKEN, GONE), ErrorKind::Lost, false),
        (Fault::Replace(BROKEN, GONE), ErrorKind::Lost, true),
        (Fault::Reset, ErrorKind::Lost, false),
        (Fault::Lose, ErrorKind::Lost, true),
        (Fault::LoseByReset, ErrorKind::Lost, true),
        (Fault::Truncate(3), ErrorKind::Lost, true),
    ] {
        behind.direct.write_file(&file, "old").await.unwrap();
        behind.proxy.inject(fault.clone());
        let error = files.write_file(&file, "new").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{fault:?}: {error:?}");
        let content = if written { "new" } else { "old" };
        assert_eq!(behind.direct.read_to_string(&file).await.unwrap(), content, "{fault:?}");
    }
}

/// The server knows a command again by the id that its client has given it.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_command_whose_answer_is_lost_runs_once() {
    let behind = behind().await;
    for (number, fault) in [
        Fault::Refuse,
        Fault::Reset,
        Fault::Lose,
        Fault::LoseByReset,
        Fault::Double,
        Fault::Answer(BROKEN, GONE),
        Fault::Replace(BROKEN, GONE),
    ]
    .into_iter()
    .enumerate()
    {
        let script = format!("echo once >> {number}.txt; cat {number}.txt");
        behind.proxy.inject(fault.clone());
        let output = behind.container.process().exec(ExecRequest::shell(&script)).await;
        assert_eq!(output.unwrap().stdout_text(), "once\n", "{fault:?}");
        let written = behind.direct.read_to_string(&path(&format!("/{number}.txt"))).await.unwrap();
        assert_eq!(written, "once\n", "{fault:?}");
    }
    for fault in [Fault::Answer(FULL, "full"), Fault::Answer(LIMITED, "slowly")] {
        behind.proxy.inject(fault.clone());
        let refused = behind.container.process().exec(ExecRequest::shell("touch refused")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{fault:?}: {refused:?}");
        assert!(matches!(refused.retry(), Retry::After(_)), "{fault:?}: {refused:?}");
        assert!(!behind.direct.exists(&path("/refused")).await.unwrap(), "{fault:?}");
    }
}

/// It may have been rotated.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_token_that_is_not_the_worker_s_is_refused_in_its_words() {
    let (place, engine) = (Place::take(), Engine::start().await);
    let error = engine.container_at(place.url(), "yesterday's").start().await.unwrap_err();
    assert_eq!(kind_and_retry(&error), (ErrorKind::Unauthenticated, Retry::Never));
    assert!(error.to_string().contains("the token is missing or wrong"), "{error}");
    assert!(!format!("{error:?}").contains("yesterday"), "{error:?}");
    assert_eq!(engine.started(), 0);
}

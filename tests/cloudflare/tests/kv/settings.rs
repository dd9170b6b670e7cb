//! What the kit asks of every environment, and what is KV's own.

use std::{sync::Arc, time::Duration};

use agentx_conformance::{Case, Fresh, Outcome, Profile, env};
use agentx_core::{ErrorKind, Retry};
use agentx_provider_cloudflare::KvEnv;
use agentx_resource::Env;
use agentx_tests_cloudflare::{Fault, FaultProxy, Place};

use super::{api, namespace};

/// How long an answer is waited for where it stands still.
const PATIENCE: Duration = Duration::from_secs(2);

async fn fresh() -> Fresh<dyn Env> {
    let place = Place::take();
    for (key, value) in env::SETTINGS {
        place.put_key(key, value.as_bytes());
    }
    Fresh::new(Arc::new(namespace(&place, place.explorer_api())) as Arc<dyn Env>)
}

#[test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
fn all_that_an_environment_does() -> Outcome {
    Case::run_all(env::CASES, fresh, &Profile::new())
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn all_settings_come_in_order_page_by_page_and_are_cached() {
    let place = Place::take();
    place.put_keys((0..1100).map(|number| (format!("agent/k{number:04}"), format!("v{number}"))));
    place.put_key("agent%2Fno%3Dname", b"x");
    place.put_key("other", b"x");
    let kv = namespace(&place, place.explorer_api()).with_prefix("agent/");
    let all = kv.get_all().await.unwrap();
    assert_eq!(all.len(), 1100);
    assert!(all.iter().enumerate().all(|(number, (name, value))| {
        *name == format!("k{number:04}") && *value == format!("v{number}")
    }));
    assert_eq!((kv.usage().lists, kv.usage().reads), (2, 1100));
    assert_eq!(kv.get("k0007").await.unwrap().as_deref(), Some("v7"));
    assert_eq!(kv.get("other").await.unwrap(), None);
    assert_eq!(kv.get_all().await.unwrap(), all);
    assert_eq!((kv.usage().lists, kv.usage().reads), (2, 1100), "from the cache");
    place.put_key("agent%2Fk0007", b"new");
    kv.forget();
    assert_eq!(kv.get("k0007").await.unwrap().as_deref(), Some("new"));
}

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_key_that_kv_can_not_have_is_not_set_and_a_value_that_is_no_text_is_told() {
    let place = Place::take();
    place.put_key("bytes", &[0xff, 0xfe]);
    place.put_key("sign", "\u{fffd}".as_bytes());
    place.put_key("a%2F..%2Fb%20%3F%23%25", b"odd");
    place.put_key("large", &vec![b'x'; (1 << 20) + 1]);
    let kv = namespace(&place, place.explorer_api());
    assert_eq!(kv.get("a/../b ?#%").await.unwrap().as_deref(), Some("odd"));
    for missing in [".", "..", &"k".repeat(513), "a"] {
        assert_eq!(kv.get(missing).await.unwrap(), None, "{missing}");
    }
    assert_eq!(kv.get("sign").await.unwrap().as_deref(), Some("\u{fffd}"));
    assert_eq!(kv.get("bytes").await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(kv.get("large").await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    let error = kv.get_all().await.unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupt, Some("bytes")), "{error:?}");
}

/// A failure is never told as a setting that is missing, and never kept.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_failure_is_no_missing_setting() {
    const JSON: &str = "content-type: application/json";
    let place = Place::take();
    place.put_key("KEY", b"value");
    let proxy = FaultProxy::start(place.url()).await;
    let kv = namespace(&place, proxy.through(&place.explorer_api())).with_ttl(Duration::ZERO);
    for fault in [
        Fault::Answer(&["HTTP/1.1 429 Too Many Requests", "retry-after: 0", JSON], "{}"),
        Fault::Answer(&["HTTP/1.1 500 Internal Server Error", JSON], "{}"),
        Fault::Answer(&["HTTP/1.1 503 Service Unavailable", JSON], "{}"),
        Fault::Reset,
        Fault::Lose,
        Fault::LoseByReset,
        Fault::Truncate(2),
        Fault::Length(7),
    ] {
        proxy.inject(fault.clone());
        assert_eq!(kv.get("KEY").await.unwrap().as_deref(), Some("value"), "{fault:?}");
        proxy.inject(fault.clone());
        proxy.inject(fault.clone());
        let error = kv.get("KEY").await.unwrap_err();
        assert_eq!((error.retry(), error.path()), (Retry::Exhausted, Some("KEY")), "{fault:?}: {error:?}");
    }
    for (head, body, kind) in [
        ("HTTP/1.1 404 Not Found", "{}", ErrorKind::Unavailable),
        ("HTTP/1.1 401 Unauthorized", "{}", ErrorKind::Unauthenticated),
        ("HTTP/1.1 403 Forbidden", "{}", ErrorKind::PermissionDenied),
    ] {
        proxy.inject(Fault::Answer(Box::leak(Box::new([head, JSON])), body));
        assert_eq!(kv.get("KEY").await.unwrap_err().kind(), kind, "{head}");
    }
    proxy.inject(Fault::Answer(
        &["HTTP/1.1 404 Not Found", JSON],
        r#"{"success": false, "errors": [{"code": 10013, "message": "namespace not found"}]}"#,
    ));
    assert_eq!(kv.get("KEY").await.unwrap_err().kind(), ErrorKind::Unavailable, "no such namespace");
    // What a proxy says is no value, and neither is a part of one.
    for fault in [
        Fault::Replace(&["HTTP/1.1 200 OK", JSON], r#"{"success": true, "result": {"values": {}}}"#),
        Fault::Replace(&["HTTP/1.1 200 OK", "content-type: text/html"], "<html>"),
        Fault::Replace(&["HTTP/1.1 200 OK", "content-type: text/plain"], "value"),
        Fault::Length(-7),
    ] {
        proxy.inject(fault.clone());
        assert_eq!(kv.get("KEY").await.unwrap_err().kind(), ErrorKind::Corrupt, "{fault:?}");
        proxy.inject(fault.clone());
        assert_eq!(kv.get_all().await.unwrap_err().kind(), ErrorKind::Corrupt, "{fault:?}");
    }
    let impatient = api(proxy.through(&place.explorer_api())).with_timeout(PATIENCE);
    let impatient = KvEnv::new(impatient, place.namespace()).unwrap();
    for bytes in [0, 2] {
        proxy.inject(Fault::Stall(bytes));
        proxy.inject(Fault::Stall(bytes));
        let error = impatient.get("KEY").await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::TimedOut, Retry::Exhausted), "{error:?}");
    }
    proxy.inject(Fault::Trickle);
    assert_eq!(kv.get("KEY").await.unwrap().as_deref(), Some("value"), "byte by byte");
}

/// A value that is no text is looked at as it is; that look is one at the same value.
#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_second_look_at_a_value_gives_no_other_one() {
    let place = Place::take();
    place.put_key("SIGN", "a\u{fffd}".as_bytes());
    let proxy = FaultProxy::start(place.url()).await;
    let kv = namespace(&place, proxy.through(&place.explorer_api())).with_ttl(Duration::ZERO);
    assert_eq!(kv.get("SIGN").await.unwrap().as_deref(), Some("a\u{fffd}"));
    let page = Fault::Replace(&["HTTP/1.1 200 OK", "content-type: text/html"], "<html>");
    for fault in [Fault::Pass, page.clone(), page] {
        proxy.inject(fault);
    }
    let error = kv.get("SIGN").await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Exhausted), "{error:?}");
}

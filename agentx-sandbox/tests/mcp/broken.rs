//! Servers that break the rules. They are written by hand, line by line.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use agentx_core::{Error, ErrorKind, Retry};
use agentx_resource::memory::ProgramContext;
use agentx_sandbox::{NodeRuntime, mcp::McpConnection};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{call, refused, sandbox, server};

/// What a server does about one message.
enum Act {
    Say(Vec<String>),
    Exit(i32),
    /// Says this over and over.
    Flood(String),
}

/// A server that does what `act` says about each message that it reads.
fn scripted(act: impl Fn(&Value) -> Act + Clone + Send + Sync + 'static) -> NodeRuntime {
    sandbox(move |context| {
        let act = act.clone();
        async move {
            let ProgramContext { mut stdin, stdout, stderr, .. } = context;
            stderr.write("a last word\n").await;
            let mut buffer = Vec::new();
            loop {
                while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    match act(&serde_json::from_slice(&line).unwrap()) {
                        Act::Say(lines) => {
                            for line in lines {
                                stdout.write(line + "\n").await;
                            }
                        }
                        Act::Exit(code) => return code,
                        Act::Flood(text) => {
                            let text = Bytes::from(text);
                            loop {
                                stdout.write(text.clone()).await;
                            }
                        }
                    }
                }
                match stdin.read().await {
                    Some(piece) => buffer.extend_from_slice(&piece),
                    None => return 0,
                }
            }
        }
    })
}

fn answer(request: &Value, result: &Value) -> Act {
    Act::Say(vec![json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string()])
}

/// What a server that keeps the rules answers, with one tool `t`.
fn good(request: &Value) -> Act {
    match request["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let info = json!({"name": "s", "version": "1"});
            answer(
                request,
                &json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}),
            )
        }
        "tools/list" => {
            answer(request, &json!({"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}))
        }
        "tools/call" => answer(request, &json!({"content": [{"type": "text", "text": "fine"}]})),
        _ => Act::Say(Vec::new()),
    }
}

fn is(request: &Value, method: &str) -> bool {
    request["method"] == method
}

async fn connect(
    act: impl Fn(&Value) -> Act + Clone + Send + Sync + 'static,
) -> Result<McpConnection, Error> {
    server().connect(Some(&scripted(act))).await
}

/// A server that keeps the rules but for one method.
async fn connect_but(
    method: &'static str,
    act: impl Fn(&Value) -> Act + Clone + Send + Sync + 'static,
) -> Result<McpConnection, Error> {
    connect(move |request| if is(request, method) { act(request) } else { good(request) }).await
}

#[tokio::test]
async fn one_that_ends_at_once() {
    let error = connect(|_| Act::Exit(3)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::After(None)));
    assert_eq!(error.message(), "it ended (exit code 3); it wrote to standard error: a last word");
    let missing = agentx_sandbox::mcp::McpServer::stdio("test", "missing", [""; 0]);
    let error = missing.connect(Some(&scripted(good))).await.unwrap_err();
    assert!(error.message().contains("no such program"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn one_that_says_nothing() {
    let error = connect(|_| Act::Say(Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.message().contains("60s") && error.message().contains("a last word"), "{error}");
    let error = connect_but("tools/list", |_| Act::Say(Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn one_that_floods() {
    for method in ["initialize", "tools/list"] {
        let error = connect_but(method, |_| Act::Flood("noise without end\n".repeat(100))).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Corrupt, Retry::Never), "{error}");
        let error = connect_but(method, |_| Act::Flood("x".repeat(1 << 20))).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::LimitExceeded, Retry::Never), "{error}");
    }
    // Messages that are none of ours can be read for ever: the bound is that of the time.
    let limits = agentx_sandbox::mcp::McpLimits::default().with_start(std::time::Duration::from_millis(300));
    let ping =
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}});
    let flood = scripted(move |_| Act::Flood(format!("{ping}\n").repeat(100)));
    let error = server().with_limits(limits).connect(Some(&flood)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
}

#[tokio::test]
async fn one_that_refuses() {
    let refusal = |request: &Value| {
        Act::Say(vec![
            json!({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32000, "message": "no"}})
                .to_string(),
        ])
    };
    let error = connect(refusal).await.unwrap_err();
    assert!(error.message().contains("the server answered: no (code -32000)"), "{error}");
    let error = connect_but("tools/list", refusal).await.unwrap_err();
    assert!(error.message().contains("the server answered: no (code -32000)"), "{error}");
}

#[tokio::test]
async fn one_of_the_latest_version_alone() {
    // It knows no `initialize`, and is asked again in the new way.
    let act = |request: &Value| match request["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let error = json!({"code": -32601, "message": "Method not found"});
            Act::Say(vec![json!({"jsonrpc": "2.0", "id": request["id"], "error": error}).to_string()])
        }
        "server/discover" => answer(
            request,
            &json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "s", "version": "1"}, "ttlMs": 0, "cacheScope": "private",
            }),
        ),
        "tools/list" => answer(
            request,
            &json!({
                "resultType": "complete", "tools": [{"name": "t", "inputSchema": {"type": "object"}}],
                "ttlMs": 0, "cacheScope": "private",
            }),
        ),
        _ => good(request),
    };
    let connection = connect(act).await.unwrap();
    assert_eq!(call(&connection, "t", json!({})).await, "fine");
}

#[tokio::test(start_paused = true)]
async fn one_that_answers_with_a_wrong_id() {
    let wrong = |request: &Value| {
        let id = request["id"].as_u64().unwrap() + 100;
        Act::Say(vec![json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}}).to_string()])
    };
    let error = connect_but("initialize", wrong).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::TimedOut), "{error}");
    let connection = connect_but("tools/call", wrong).await.unwrap();
    let error = refused(&connection, "t", json!({})).await;
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn one_that_answers_what_is_no_answer() {
    for result in [json!({"tools": 5}), json!([1]), json!("x"), json!({"content": [{"type": "text"}]})] {
        let connection = connect_but("tools/call", move |request| answer(request, &result)).await.unwrap();
        let error = refused(&connection, "t", json!({})).await;
        assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
        assert!(error.message().contains("the call was carried out is unknown"), "{error}");
    }
}

#[tokio::test]
async fn one_whose_list_has_no_end() {
    let error =
        connect_but("tools/list", |request| answer(request, &json!({"tools": [], "nextCursor": "more"})));
    let error = error.await.unwrap_err();
    assert!(error.kind() == ErrorKind::LimitExceeded && error.message().contains("100 pages"), "{error}");
    let tools: Vec<_> =
        (0..501).map(|n| json!({"name": format!("t{n}"), "inputSchema": {"type": "object"}})).collect();
    let error = connect_but("tools/list", move |request| answer(request, &json!({"tools": tools})))
        .await
        .unwrap_err();
    assert!(error.kind() == ErrorKind::LimitExceeded && error.message().contains("500 tools"), "{error}");
}

#[tokio::test]
async fn one_that_ends_within_a_call() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let connection =
        connect_but("tools/call", move |request| match counted.fetch_add(1, Ordering::Relaxed) {
            0 => Act::Exit(9),
            _ => good(request),
        });
    let connection = connection.await.unwrap();
    let error = refused(&connection, "t", json!({})).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Lost, Retry::Never));
    assert!(error.message().contains("exit code 9") && error.message().contains("a last word"), "{error}");
    assert_eq!(calls.load(Ordering::Relaxed), 1, "the call is not made again");
    // The next one finds it started anew.
    assert_eq!(call(&connection, "t", json!({})).await, "fine");
}

#[tokio::test]
async fn one_that_sends_too_much_within_a_call() {
    let connection = connect_but("tools/call", |_| Act::Flood("x".repeat(1 << 20))).await.unwrap();
    let error = refused(&connection, "t", json!({})).await;
    assert!(error.kind() == ErrorKind::Lost && error.message().contains("16777216 bytes"), "{error}");
}

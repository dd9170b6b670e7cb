//! What the tools of a server do.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use agentx_core::{ContentPart, ErrorKind, Retry, ToolOutput};
use agentx_resource::FileSystemExt;
use agentx_sandbox::mcp::{McpConnection, McpLimits, McpServer};
use serde_json::json;

use crate::{
    call, refused, sandbox,
    sdk::{self, Seen},
    server, tool, try_call,
};

async fn connect() -> (McpConnection, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let ran = Arc::clone(&seen);
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&ran), ""));
    (server().connect(Some(&runtime)).await.unwrap(), seen)
}

#[tokio::test]
async fn tools_are_offered_and_answer() {
    let (connection, _) = connect().await;
    let echo = tool(&connection, "echo");
    assert_eq!(echo.definition().description, "Says what it is told");
    assert_eq!(echo.definition().input_schema["required"], json!(["text"]));
    assert_eq!(call(&connection, "echo", json!({"text": "grüße\n"})).await, "grüße\n");
    assert_eq!(call(&connection, "structured", json!({})).await, r#"{"answer":42}"#);
    assert_eq!(connection.instructions().await.as_deref(), Some("Be kind."));

    let infos = connection.infos();
    let info = infos.iter().find(|info| info.tool == "echo").unwrap();
    assert_eq!((info.name.as_str(), info.read_only, info.destructive), ("mcp__test__echo", true, false));
    let info = infos.iter().find(|info| info.tool == "fail").unwrap();
    assert_eq!((info.read_only, info.destructive), (false, true));
}

#[tokio::test]
async fn failures_are_told_to_the_model() {
    let (connection, _) = connect().await;
    let failed = try_call(&tool(&connection, "fail"), json!({})).await.unwrap();
    assert_eq!(failed, ToolOutput::error("it did not work"));
    let error = refused(&connection, "echo", json!({})).await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.message().contains("text is missing"), "{error}");
    let error = refused(&connection, "wrong", json!({})).await;
    assert!(
        error.kind() == ErrorKind::Internal && error.message().contains("a fault of the server"),
        "{error}"
    );
    let error = refused(&connection, "echo", json!("text")).await;
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn images_are_images() {
    let (connection, _) = connect().await;
    let ToolOutput::Content(parts) = try_call(&tool(&connection, "image"), json!({})).await.unwrap() else {
        panic!("no content")
    };
    assert_eq!(parts[0], ContentPart::text("look:"));
    assert!(matches!(&parts[1], ContentPart::Image { media_type, .. } if media_type == "image/png"));
}

#[tokio::test]
async fn a_result_of_12_megabytes_is_put_away() {
    let seen = Arc::new(Seen::default());
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&seen), ""));
    let connection = server().connect(Some(&runtime)).await.unwrap();
    let told = call(&connection, "large", json!({})).await;
    assert!(told.len() < 30_000 && told.contains("the whole output is in /mcp-call-1.txt"), "{told}");
    let path = agentx_resource::ResourcePath::new("/mcp-call-1.txt").unwrap();
    assert_eq!(runtime.file_system().read_file(&path).await.unwrap().len(), 12 << 20);
}

#[tokio::test]
async fn calls_run_side_by_side() {
    let (connection, _) = connect().await;
    // Each of them ends only when the other has begun.
    let (one, two) = tokio::join!(call(&connection, "both", json!({})), call(&connection, "both", json!({})));
    assert_eq!((one.as_str(), two.as_str()), ("together", "together"));
}

#[tokio::test]
async fn a_call_that_is_dropped_is_cancelled() {
    let (connection, seen) = connect().await;
    let never = tool(&connection, "never");
    tokio::select! {
        _ = try_call(&never, json!({})) => panic!("it ended"),
        () = seen.begun.notified() => {}
    }
    seen.cancelled.notified().await;
    assert_eq!(call(&connection, "echo", json!({"text": "on"})).await, "on");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_which_nothing_is_heard_ends() {
    let (connection, seen) = connect().await;
    let error = refused(&connection, "never", json!({})).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TimedOut, Retry::Never));
    seen.cancelled.notified().await;
}

#[tokio::test(start_paused = true)]
async fn progress_keeps_a_call_alive_up_to_its_bound() {
    let seen = Arc::new(Seen::default());
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&seen), ""));
    // A limit that no clock can add is none.
    let endless = McpLimits::default().with_start(Duration::MAX).with_close(Duration::MAX);
    let limits = endless.with_idle(Duration::MAX).with_call(Duration::MAX);
    let endless = server().with_limits(limits).connect(Some(&runtime)).await.unwrap();
    assert_eq!(call(&endless, "echo", json!({"text": "x"})).await, "x");
    let limits = McpLimits::default().with_idle(Duration::from_secs(45)).with_call(Duration::from_secs(630));
    let connection = server().with_limits(limits).connect(Some(&runtime)).await.unwrap();
    assert_eq!(call(&connection, "working", json!({})).await, "done");

    let connection =
        server().with_limits(limits.with_call(Duration::from_secs(590))).connect(Some(&runtime)).await;
    let error = refused(&connection.unwrap(), "working", json!({})).await;
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn tools_are_allowed_and_denied() {
    let seen = Arc::new(Seen::default());
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&seen), ""));
    let names = async |server: McpServer| {
        let tools = server.connect(Some(&runtime)).await.unwrap().tools();
        tools.iter().map(|tool| tool.definition().name.clone()).collect::<Vec<_>>()
    };
    let allowed = server().with_allowed_tools(["echo", "fail"]);
    assert_eq!(names(allowed.clone()).await, ["mcp__test__fail", "mcp__test__echo"]);
    assert_eq!(names(allowed.with_denied_tools(["fail"])).await, ["mcp__test__echo"]);
    let error = server().with_denied_tools(["ehco"]).connect(Some(&runtime)).await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.message().contains("ehco"), "{error}");
}

#[tokio::test]
async fn no_secret_is_told() {
    let seen = Arc::new(Seen::default());
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&seen), ""))
        .with_secrets(["sandbox-secret".into()]);
    let server = server().with_secret_env("KEY", "server-secret");
    let connection = server.connect(Some(&runtime)).await.unwrap();
    let said = call(&connection, "echo", json!({"text": "a server-secret and a sandbox-secret"})).await;
    assert_eq!(said, "a [redacted] and a [redacted]");
    // Nor does the description of a tool that the server wrote it into.
    assert_eq!(tool(&connection, "wrong").definition().description, "with [redacted]");
    // The program writes the value to its standard error, which errors tell.
    let error = refused(&connection, "wrong", json!({})).await.to_string();
    assert!(error.contains("the key is [redacted]"), "{error}");
    for shown in [format!("{server:?}"), format!("{connection:?}")] {
        assert!(shown.contains("KEY") && !shown.contains("secret"), "{shown}");
    }
}

#[tokio::test]
async fn settings_of_the_other_kind_of_server_are_refused() {
    let seen = Arc::new(Seen::default());
    let ran = Arc::clone(&seen);
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&ran), ""));
    let none = [""; 0];
    for name in ["", "a b", "a__b", "a_", "ü", &"x".repeat(49)] {
        let error = McpServer::stdio(name, "server", none).connect(Some(&runtime)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
    }
    let error = server().connect(None).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidInput && error.message().contains("a child of a sandbox"),
        "{error}"
    );
    assert_eq!(seen.starts.load(Ordering::Relaxed), 0);
}

//! A server that changes, ends and comes back.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use agentx_core::{ErrorKind, Retry};
use agentx_sandbox::{Sandbox, mcp::McpLimits};
use serde_json::json;

use crate::{
    call, refused, sandbox,
    sdk::{self, Seen},
    server, tool, try_call,
};

#[tokio::test]
async fn a_tool_that_is_taken_back_is_refused_and_a_new_one_offered() {
    let seen = Arc::new(Seen::default());
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&seen), ""));
    let connection = server().connect(Some(&runtime)).await.unwrap();
    let echo = tool(&connection, "echo");
    assert_eq!(call(&connection, "change", json!({})).await, "changed");
    let error = try_call(&echo, json!({"text": "x"})).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::NotFound && error.message().contains("taken this tool back"),
        "{error}"
    );
    assert_eq!(tool(&connection, "new").definition().description, "A new tool");
    // A tool that was offered stays as it was.
    assert_eq!(echo.definition().description, "Says what it is told");
}

#[tokio::test]
async fn a_list_can_be_asked_for() {
    let seen = Arc::new(Seen::default());
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&seen), ""));
    let connection = server().connect(Some(&runtime)).await.unwrap();
    call(&connection, "change", json!({})).await;
    connection.refresh().await.unwrap();
    let names: Vec<_> = connection.infos().into_iter().map(|info| info.tool).collect();
    assert!(names.contains(&"new".to_owned()) && !names.contains(&"echo".to_owned()), "{names:?}");
}

#[tokio::test]
async fn the_server_ends_with_the_last_of_its_tools() {
    let seen = Arc::new(Seen::default());
    let ran = Arc::clone(&seen);
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&ran), ""));
    let connection = server().connect(Some(&runtime)).await.unwrap();
    let sandbox = Sandbox::new(runtime).with_mcp(connection);
    let tools = sandbox.tools();
    let echo = tools.into_iter().find(|tool| tool.definition().name == "mcp__test__echo").unwrap();
    drop(sandbox);
    assert_eq!(try_call(&echo, json!({"text": "still"})).await.unwrap().to_text(), "still");
    drop(echo);
    seen.dropped.notified().await;
}

#[tokio::test]
async fn a_connection_that_was_closed_stays_closed() {
    let seen = Arc::new(Seen::default());
    let ran = Arc::clone(&seen);
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&ran), ""));
    // The server waits for its calls to end before it ends itself.
    let limits = McpLimits::default().with_close(Duration::from_millis(50));
    let connection = server().with_limits(limits).connect(Some(&runtime)).await.unwrap();
    let never = tool(&connection, "never");
    let under_way = tokio::spawn(async move { try_call(&never, json!({})).await });
    seen.begun.notified().await;
    connection.close().await;
    seen.dropped.notified().await;
    let error = under_way.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Lost, Retry::Never), "{error}");
    let error = refused(&connection, "echo", json!({"text": "x"})).await;
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Never), "{error}");
    assert_eq!(connection.refresh().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(seen.starts.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_server_that_writes_more_than_messages_is_understood() {
    let seen = Arc::new(Seen::default());
    let banner = "Welcome!\n{\"level\":\"info\"}\n[1, 2]\n\n";
    let runtime = sandbox(move |context| sdk::run(context, Arc::clone(&seen), banner));
    let connection = server().connect(Some(&runtime)).await.unwrap();
    assert_eq!(call(&connection, "echo", json!({"text": "x"})).await, "x");
    let error = refused(&connection, "wrong", json!({})).await;
    assert!(error.message().contains("what is no message: \"Welcome!\""), "{error}");
}

//! The reference server in TypeScript, over stdio and over HTTP.
#![cfg(test)]

use std::sync::Arc;

use agentx::{
    ErrorKind, McpServer, ToolContext, ToolOutput,
    core::ContentPart,
    resource::{Child, ExecEvent, ExecRequest, Process, memory::ManualClock},
    sandbox::{NodeRuntime, mcp::McpConnection},
};
use agentx_tests_mcp::everything;
use serde_json::{Value, json};
use tempfile::TempDir;

async fn call(connection: &McpConnection, name: &str, input: Value) -> agentx::Result<ToolOutput> {
    let name = format!("mcp__all__{name}");
    let tools = connection.tools();
    let tool = tools.iter().find(|tool| tool.definition().name == name).unwrap();
    tool.call(input, ToolContext::new("1", Arc::new(ManualClock::default()))).await
}

/// What the server does, whatever the way to it.
async fn check(connection: &McpConnection) {
    assert!(connection.infos().len() > 10, "{:?}", connection.infos());
    assert_eq!(connection.left_out(), []);
    let echo = connection.infos().into_iter().find(|info| info.tool == "echo").unwrap();
    assert!(echo.read_only && !echo.destructive);

    let (echoed, sum) = tokio::join!(
        call(connection, "echo", json!({"message": "grüße\n\"x\""})),
        call(connection, "get-sum", json!({"a": 2, "b": 40})),
    );
    assert_eq!(echoed.unwrap(), ToolOutput::text("Echo: grüße\n\"x\""));
    assert!(sum.unwrap().to_text().contains("42"));

    let ToolOutput::Content(parts) = call(connection, "get-tiny-image", json!({})).await.unwrap() else {
        panic!("no image")
    };
    let is_image = |part: &ContentPart| matches!(part, ContentPart::Image { media_type, .. } if media_type == "image/png");
    assert!(parts.iter().any(is_image), "{parts:?}");

    let structured =
        call(connection, "get-structured-content", json!({"location": "Chicago"})).await.unwrap();
    assert!(structured.to_text().contains("temperature"), "{structured:?}");
    let links = call(connection, "get-resource-links", json!({"count": 2})).await.unwrap().to_text();
    assert!(links.contains("[a resource of the server: "), "{links}");
    let resource =
        call(connection, "get-resource-reference", json!({"resourceId": 1})).await.unwrap().to_text();
    assert!(resource.contains("demo://"), "{resource}");
    let long = json!({"duration": 1, "steps": 4});
    let long = call(connection, "trigger-long-running-operation", long).await.unwrap().to_text();
    assert!(long.contains("completed"), "{long}");

    // The server checks what it is told, and says what is wrong.
    let wrong = call(connection, "get-sum", json!({"a": "two"})).await;
    let told = wrong.map_or_else(
        |error| error.to_string(),
        |output| {
            assert!(output.is_error(), "{output:?}");
            output.to_text()
        },
    );
    assert!(told.contains("number"), "{told}");
}

fn runtime(dir: &TempDir) -> NodeRuntime {
    agentx::local_runtime(dir.path()).unwrap()
}

#[tokio::test]
#[ignore = "cargo xtask test mcp"]
async fn over_stdio() {
    let dir = TempDir::new().unwrap();
    let (node, everything) = everything();
    let server = McpServer::stdio("all", node, [everything.as_str(), "stdio"])
        .with_env("PLAIN", "to be seen")
        .with_secret_env("SECRET", "never-to-be-seen");
    let connection = server.connect(Some(&runtime(&dir))).await.unwrap();
    check(&connection).await;
    // It has what it was given, and nothing of this program's environment.
    let env = call(&connection, "get-env", json!({})).await.unwrap().to_text();
    assert!(env.contains("to be seen") && env.contains("\"SECRET\": \"[redacted]\""), "{env}");
    assert!(!env.contains("CARGO") && !env.contains(agentx_tests_mcp::VARIABLE), "{env}");
    connection.close().await;
    let error = call(&connection, "echo", json!({"message": "x"})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// The server behind a URL. It ends with the child.
async fn serve(runtime: &NodeRuntime) -> (Box<dyn Child>, String) {
    let (node, everything) = everything();
    let loopback = concat!(env!("CARGO_MANIFEST_DIR"), "/loopback.cjs");
    let request = ExecRequest::program(node, ["--require", loopback, &everything, "streamableHttp"]);
    let child = runtime.process().spawn(request).await.unwrap();
    let mut told = String::new();
    while let Some(event) = child.next_event().await.unwrap() {
        if let ExecEvent::Stdout(piece) | ExecEvent::Stderr(piece) = event {
            told.push_str(&String::from_utf8_lossy(&piece));
        }
        let port = told
            .split_once("loopback port ")
            .and_then(|(_, rest)| rest.split_once('\n'))
            .map(|(port, _)| port);
        if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) {
            return (child, format!("http://127.0.0.1:{port}/mcp"));
        }
    }
    panic!("the server did not start: {told}");
}

#[tokio::test]
#[ignore = "cargo xtask test mcp"]
async fn over_http() {
    let dir = TempDir::new().unwrap();
    let (child, url) = serve(&runtime(&dir)).await;
    let connection = McpServer::http("all", url).connect(None).await.unwrap();
    check(&connection).await;
    connection.close().await;
    drop(child);
}

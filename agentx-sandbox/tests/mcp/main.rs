//! The tools of MCP servers: of the protocol's official SDK, and of servers that break its rules.
#![cfg(test)]
#![cfg(feature = "mcp")]

mod broken;
mod calls;
mod changes;
#[cfg(target_os = "linux")]
mod child;
#[cfg(feature = "mcp-http")]
mod http;
mod sdk;

use std::sync::Arc;

use agentx_core::{Error, Tool, ToolContext, ToolOutput};
use agentx_resource::{
    FileSystem,
    memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess, ProgramContext},
};
use agentx_sandbox::{
    NodeRuntime, Offload,
    mcp::{McpConnection, McpServer},
};
use serde_json::Value;

/// A sandbox with one program, called `server`; large results go to its `/large`.
fn sandbox<R>(program: impl Fn(ProgramContext) -> R + Send + Sync + 'static) -> NodeRuntime
where
    R: Future<Output = i32> + Send + 'static,
{
    let files: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let process = MemoryProcess::new(Arc::new(ManualClock::default()))
        .with_file_system(Arc::clone(&files))
        .program("server", program);
    let runtime = NodeRuntime::new(Arc::clone(&files), Arc::new(MemoryEnv::default()), Arc::new(process));
    runtime.with_offload(Offload::new(files, "/"))
}

fn server() -> McpServer {
    McpServer::stdio("test", "server", [""; 0])
}

fn tool(connection: &McpConnection, name: &str) -> Arc<dyn Tool> {
    let name = format!("mcp__test__{name}");
    let tools = connection.tools();
    tools.into_iter().find(|tool| tool.definition().name == name).expect("the tool is offered")
}

async fn try_call(tool: &Arc<dyn Tool>, input: Value) -> Result<ToolOutput, Error> {
    tool.call(input, ToolContext::new("call-1", Arc::new(ManualClock::default()))).await
}

async fn call(connection: &McpConnection, name: &str, input: Value) -> String {
    try_call(&tool(connection, name), input).await.unwrap().to_text()
}

async fn refused(connection: &McpConnection, name: &str, input: Value) -> Error {
    try_call(&tool(connection, name), input).await.unwrap_err()
}

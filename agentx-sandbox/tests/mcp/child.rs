//! A server that is a real child: a shell script, which starts more.

use std::{path::PathBuf, sync::Arc};

use agentx_provider_local::{LocalEnv, LocalFileSystem, LocalProcess};
use agentx_sandbox::{
    NodeRuntime,
    mcp::{McpConnection, McpServer},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::call;

/// Answers with its process id. It and a child that leaves its session hold the pipe `held` open.
const SERVER: &str = r#"
exec 3>held
setsid sleep 1000 &
trap '' TERM
while read -r line; do
  id=${line##*\"id\":}; id=${id%%[,\}]*}
  case "$line" in
    *'"initialize"'*) result='{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"sh","version":"1"}}';;
    *'"tools/list"'*) result='{"tools":[{"name":"pid","inputSchema":{"type":"object"}}]}';;
    *'"tools/call"'*) result='{"content":[{"type":"text","text":"'$$' '$GREETING' '$(pwd)'"}]}';;
    *) continue;;
  esac
  echo '{"jsonrpc":"2.0","id":'"$id"',"result":'"$result"'}'
done
# Its input is closed, and it stays all the same.
sleep 1000
"#;

struct Started {
    dir: TempDir,
    runtime: NodeRuntime,
    connection: McpConnection,
    /// Ends when nobody holds the pipe any more.
    released: JoinHandle<()>,
}

async fn start() -> Started {
    let dir = TempDir::new().unwrap();
    let held = dir.path().join("held");
    rustix::fs::mkfifoat(rustix::fs::CWD, &held, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    std::fs::write(dir.path().join("server.sh"), SERVER).unwrap();
    let released = tokio::task::spawn_blocking(move || read_to_end(held));
    let files = LocalFileSystem::open(dir.path()).unwrap();
    let process = LocalProcess::new(dir.path()).unwrap();
    let runtime = NodeRuntime::new(Arc::new(files), Arc::new(LocalEnv::new()), Arc::new(process));
    let limits = agentx_sandbox::mcp::McpLimits::default().with_close(std::time::Duration::from_millis(50));
    let server =
        McpServer::stdio("test", "sh", ["server.sh"]).with_env("GREETING", "hello").with_limits(limits);
    let connection = server.connect(Some(&runtime)).await.unwrap();
    Started { dir, runtime, connection, released }
}

fn read_to_end(pipe: PathBuf) {
    std::fs::read(pipe).unwrap();
}

#[tokio::test]
async fn it_runs_in_the_sandbox_and_ends_with_all_that_it_started() {
    let Started { dir, runtime, connection, released } = start().await;
    let told = call(&connection, "pid", json!({})).await;
    assert!(told.ends_with(&format!(" hello {}", runtime.root())), "{told}");
    assert!(!released.is_finished());
    drop(connection);
    released.await.unwrap();
    drop(dir);
}

#[tokio::test]
async fn closing_waits_for_its_end() {
    let Started { dir, connection, released, .. } = start().await;
    connection.close().await;
    released.await.unwrap();
    drop(dir);
}

#[tokio::test]
async fn it_is_started_anew_when_it_was_killed() {
    let Started { dir, connection, released, .. } = start().await;
    let pid = |told: String| told.split(' ').next().unwrap().to_owned();
    let first = pid(call(&connection, "pid", json!({})).await);
    let process = rustix::process::Pid::from_raw(first.parse().unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    // What it started ends with it.
    released.await.unwrap();
    let held = dir.path().join("held");
    let released = tokio::task::spawn_blocking(move || read_to_end(held));
    let second = pid(call(&connection, "pid", json!({})).await);
    assert_ne!(first, second);
    drop(connection);
    released.await.unwrap();
}

//! The tools over memory.
#![cfg(test)]

#[path = "../cases/mod.rs"]
mod cases;
mod shell;

use std::sync::Arc;

use agentx_resource::memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess};
use agentx_sandbox::NodeRuntime;
use futures::FutureExt;

use self::cases::Pair;

fn pair() -> Pair {
    let clock = ManualClock::default();
    let fs = Arc::new(MemoryFileSystem::new());
    let process = MemoryProcess::new(Arc::new(clock.clone()))
        .with_root("/workspace")
        .with_file_system(fs.clone())
        .shell(shell::run);
    let runtime = NodeRuntime::new(fs, Arc::new(MemoryEnv::default()), Arc::new(process));
    Pair::new(runtime, Some(clock), ())
}

cases::on!(crate::pair());

#[test]
fn a_dropped_call_ends_its_command() {
    let running = Arc::new(());
    let witness = Arc::clone(&running);
    let process = MemoryProcess::new(Arc::new(ManualClock::default())).shell(move |_| {
        let alive = Arc::clone(&witness);
        async move {
            std::future::pending::<()>().await;
            drop(alive);
            0
        }
    });
    let fs = Arc::new(MemoryFileSystem::new());
    let runtime = NodeRuntime::new(fs, Arc::new(MemoryEnv::default()), Arc::new(process));
    let tools = agentx_sandbox::tools(&runtime);
    let idle = Arc::strong_count(&running);
    let mut call = Box::pin(cases::call(&tools, "bash", serde_json::json!({"command": "wait"})));
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(Arc::strong_count(&running), idle + 1);
    drop(call);
    assert_eq!(Arc::strong_count(&running), idle);
}

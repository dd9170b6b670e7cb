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

#[test]
fn agents_on_several_threads_lose_nothing() {
    let pair = pair();
    let runtime = &pair.runtime;
    futures::executor::block_on(pair.put("/a.txt", "0=0\n1=0\n2=0\n3=0\n"));
    let agent = |line: usize| {
        let tools = agentx_sandbox::tools(runtime);
        let mut done = 0;
        while done < 50 {
            let (old, new) = (format!("{line}={done}\n"), format!("{line}={}\n", done + 1));
            let input = serde_json::json!({"file_path": "a.txt", "old_string": old, "new_string": new});
            match futures::executor::block_on(cases::call(&tools, "edit", input)) {
                Ok(_) => done += 1,
                Err(error) => assert_eq!(error.kind(), agentx_core::ErrorKind::Busy, "{error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for line in 0..4 {
            scope.spawn(move || agent(line));
        }
    });
    assert_eq!(futures::executor::block_on(pair.get("/a.txt")), "0=50\n1=50\n2=50\n3=50\n");
}

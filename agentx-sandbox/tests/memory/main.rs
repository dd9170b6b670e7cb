//! The tools over memory.
#![cfg(test)]

#[path = "../cases/mod.rs"]
mod cases;
mod shell;

use std::sync::Arc;

use agentx_resource::memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess};
use agentx_sandbox::NodeRuntime;

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

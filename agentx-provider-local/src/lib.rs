//! AgentX resources on this machine: a directory as a file system or a disk, child processes, environment variables
//! and API keys.
//!
//! This is the one crate of AgentX that touches the host's files, processes and environment. It builds on Linux alone,
//! since what confines a path or a process is the kernel's own doing there (best from 5.6 on).

#[cfg(not(target_os = "linux"))]
compile_error!("agentx-provider-local builds on Linux alone: elsewhere use another provider");

mod blocking;
mod disk;
mod env;
mod fs;
mod llm;
mod process;
mod sqlite;

pub use disk::LocalDisk;
pub use env::LocalEnv;
pub use fs::{Durability, LocalFileSystem, Resolution};
pub use llm::ApiKey;
pub use process::{
    AllowList, Attempt, Containment, Engine, Guarantee, Isolation, LocalProcess, Namespaces, Network,
    Outcome, Probe, TreeGroup, TreeLimits, TreeUsage, Verdict,
};
pub use sqlite::SqliteExecutor;

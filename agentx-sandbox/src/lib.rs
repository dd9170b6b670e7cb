//! Sandboxes: where an agent works, and the tools through which it does.
//!
//! A [`NodeRuntime`] is a file system, settings and a process over **one tree**, with a working directory; it runs
//! commands, scripts and Node programs. A [`Workspace`] is a file system with the directories `temp`, `projects` and
//! `output`. [`tools`] are what an agent is offered over a runtime, memory or disk alike: `bash`, `read`, `write`,
//! `edit`, `glob`, `grep` and `ls`; with [`ToolOptions`] also one shell for all calls, and commands in the background.
//! [`Snapshots`] keep the states of a tree, and an [`UndoLog`] takes back what a call did to it. [`SandboxProvider`] gives
//! the tools to the images of an `agentx_core::Runtime`.
//!
//! **A path has one meaning.** The tools speak the process's view, absolute or relative to the working directory: what
//! a command prints, a file tool accepts. A path outside the root is an error that names the root.
//!
//! ```
//! use agentx_resource::memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess};
//! use agentx_sandbox::{NodeRuntime, tools};
//! use std::sync::Arc;
//!
//! let fs = Arc::new(MemoryFileSystem::new());
//! let process = MemoryProcess::new(Arc::new(ManualClock::default()))
//!     .with_root("/workspace")
//!     .with_file_system(fs.clone());
//! let runtime = NodeRuntime::new(fs, Arc::new(MemoryEnv::default()), Arc::new(process));
//! let names: Vec<_> = tools(&runtime).iter().map(|tool| tool.definition().name.clone()).collect();
//! // This process has no shell, so there is no `bash`.
//! assert_eq!(names, ["read", "write", "edit", "glob", "grep", "ls"]);
//! assert_eq!(runtime.resolve("/workspace/src/../a.txt")?.as_str(), "/a.txt");
//! # Ok::<(), agentx_core::Error>(())
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

#[cfg(feature = "mcp")]
pub mod mcp;
mod provider;
mod runtime;
mod snapshot;
mod tools;
mod workspace;

pub use provider::{Sandbox, SandboxProvider};
pub use runtime::{NodeRuntime, Offload, ProtectedPaths};
pub use snapshot::{Change, ChangeKind, Restored, SnapshotId, SnapshotLimits, Snapshots, UndoLog, Undone};
pub use tools::{ToolOptions, tools, tools_with};
pub use workspace::Workspace;

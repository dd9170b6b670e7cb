//! The contract between an agent and its world.
//!
//! An agent needs five things: files ([`FileSystem`]), storage to mount ([`Disk`]), settings ([`Env`]),
//! commands ([`Process`]) and a model supply ([`LLMProvider`]). Each is a trait here, and nothing in this crate
//! performs I/O: provider crates implement the traits, [`layer`]s wrap them, and [`memory`] implements all five
//! as the executable specification.
//!
//! * What each verb does in each case is written down in `docs/semantics.md`, one row per case, and proved by
//!   the `agentx-conformance` kit.
//! * The contract traits have no provided methods, so that a wrapper can't forget one. Convenience lives in
//!   the `*Ext` traits, which every implementation gets for free.
//! * The traits are marked with `#[async_trait]` (of the crate async-trait), and so is an `impl` of them.
//! * Dropping a future or a stream cancels its work.
//! * Time and tasks are ports too ([`Clock`], [`Spawn`]), so that this crate needs no async runtime.
//!
//! ```
//! use agentx_resource::{FileSystemExt, ResourcePath, memory::MemoryFileSystem};
//!
//! # futures::executor::block_on(async {
//! let fs = MemoryFileSystem::new();
//! let path = ResourcePath::new("/notes.md")?;
//! fs.write_file(&path, "hello").await?;
//! assert_eq!(fs.read_to_string(&path).await?, "hello");
//! # Ok::<(), agentx_resource::Error>(()) }).unwrap();
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

#[cfg(feature = "record")]
pub mod cassette;
mod clock;
mod disk;
mod env;
mod error;
mod fs;
pub mod layer;
mod llm;
pub mod memory;
pub mod mirror;
mod path;
mod process;
mod secret;

pub use clock::{Clock, Spawn};
pub use disk::{Disk, MountPoint, Mounted};
pub use env::Env;
pub use error::{Error, ErrorKind, Result, Retry};
pub use fs::{
    ByteStream, ConditionStrength, DirEntry, EntryStream, FileKind, FileRead, FileSystem, FileSystemExt,
    FileWriter, FsCapabilities, ListOptions, Metadata, MkdirOptions, ReadOptions, ReadRange, RemoveOptions,
    StatOptions, TransferOptions, Version, WriteMode, WriteOptions,
};
pub use layer::Layer;
pub use llm::{ApiSupply, LLMProvider};
pub use path::ResourcePath;
pub use process::{
    BackgroundId, BackgroundLimits, BackgroundProcesses, BackgroundState, BackgroundStatus, Child, ExecEvent,
    ExecOutput, ExecRequest, ExitStatus, Invocation, LimitedOutput, LogCursor, LogPage, LogPiece, OnExceed,
    OutputLimit, OutputStream, Process, ProcessCapabilities, ProcessExt, ResourceLimits, ShellCommand,
    ShellOptions, ShellOutput, ShellSession, Signal, Stdin, TerminalSize,
};
pub use secret::Secret;

/// A boxed future that can move between threads; what [`Clock`] and [`Spawn`] speak in.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

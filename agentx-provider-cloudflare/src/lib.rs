//! AgentX resources on Cloudflare.
//!
//! With the features `d1` and `kv`, `D1Executor` keeps an agent's sessions in D1 and `KvEnv` reads settings from KV, both over
//! the REST API of an account (`CloudflareApi`); `cost` says what it all costs. [`EnvSupply`] is a key for a model out of
//! settings.
//!
//! With the feature `container`, `Container` is a container that is reached over HTTP: its files and its commands.
//!
//! [`R2FileSystem`] is a [`FileSystem`](agentx_resource::FileSystem) over an object store: R2, and whatever else
//! implements [`object_store::ObjectStore`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

#[cfg(feature = "_api")]
mod api;
#[cfg(any(feature = "_api", feature = "container", feature = "r2"))]
mod client;
#[cfg(feature = "container")]
mod container;
#[cfg(feature = "_container-wire")]
#[path = "container/wire/mod.rs"]
pub mod container_wire;
#[cfg(feature = "cost")]
pub mod cost;
#[cfg(feature = "d1")]
mod d1;
#[cfg(feature = "kv")]
mod kv;
mod llm;
#[cfg(feature = "r2")]
mod r2;

#[cfg(feature = "_api")]
pub use api::{ApiToken, CloudflareApi};
#[cfg(feature = "container")]
pub use container::{
    Container, ContainerAddress, ContainerEngine, ContainerEvent, ContainerFileSystem, ContainerOptions,
    ContainerProcess, FixedContainer, LazyContainer, LazyOptions, SandboxProcess, WorkerContainer,
};
#[cfg(feature = "d1")]
pub use d1::{D1Executor, D1Usage};
#[cfg(feature = "kv")]
pub use kv::{KvEnv, KvUsage};
pub use llm::EnvSupply;
#[cfg(feature = "r2")]
pub use r2::{R2Bucket, R2Disk, R2FileSystem, R2Keys, R2Progress, R2Usage};

/// The crate whose stores [`R2FileSystem`] takes, in the version that it takes.
#[cfg(feature = "r2")]
pub use object_store;

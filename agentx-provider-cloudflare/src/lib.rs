//! AgentX resources on Cloudflare.
//!
//! [`R2FileSystem`] is a [`FileSystem`](agentx_resource::FileSystem) over an object store: R2, and whatever else
//! implements [`object_store::ObjectStore`].

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod r2;

pub use r2::R2FileSystem;

/// The crate whose stores [`R2FileSystem`] takes, in the version that it takes.
pub use object_store;

//! AgentX agents over the network: one [`Server`] puts a [`Runtime`](agentx_core::Runtime) behind the AgentX WebSocket
//! protocol (all three generations of it, told apart frame by frame), a REST API and server-sent events.
//!
//! Everything that a client names or sees belongs to the [`Owner`] that its credentials stand for: what is another's
//! answers exactly as what does not exist.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use agentx_core::{Repositories, Runtime};
//! use agentx_server::Server;
//!
//! # async fn serve(runtime: Runtime, repositories: Repositories) -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder(Arc::new(runtime), repositories).build();
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:5200").await?;
//! axum::serve(listener, server.router()).await?;
//! # Ok(())
//! # }
//! ```
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod auth;
mod failure;
#[doc(hidden)]
pub mod fuzz;
mod http;
pub mod llm;
mod metrics;
mod owner;
mod quota;
mod server;
mod service;
mod socket;
pub mod tenant;
mod wire;

/// The program of the guide compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guides/serving.md")]
struct Serving;

pub use self::{
    owner::Owner,
    quota::Quotas,
    server::{Server, ServerBuilder},
    service::WorkspaceFiles,
};

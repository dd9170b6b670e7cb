//! The server inside an AgentX container: the commands and the files below one directory, over HTTP.
//!
//! It answers two kinds of callers:
//!
//! * `ContainerProcess` and `ContainerFileSystem` of `agentx-provider-cloudflare`, under `/agentx/v1` (`live`): live
//!   input, signals, events that can be taken up again, conditional writes.
//! * The clients of `@cloudflare/sandbox` over its HTTP transport, under `/api` (`sandbox`).
//!
//! Both see one tree: files are those of a `LocalFileSystem` and commands those of a `LocalProcess` on one root.

mod auth;
mod live;
mod reply;
mod sandbox;
mod server;
mod settings;

pub use self::{
    server::Server,
    settings::{Limits, Settings},
};

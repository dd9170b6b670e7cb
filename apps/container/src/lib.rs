//! The server inside an AgentX container: the commands and the files below one directory, over HTTP.
//!
//! It answers `ContainerProcess` and `ContainerFileSystem` of `agentx-provider-cloudflare`, under `/agentx/v1` (`live`):
//! live input, signals, events that can be taken up again, conditional writes. Files are those of a `LocalFileSystem` and commands those of a `LocalProcess` on one root.

mod auth;
mod live;
mod reply;
mod server;
mod settings;

pub use self::{
    server::Server,
    settings::{Limits, Settings},
};

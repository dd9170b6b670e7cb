//! The same agents, in another process: a client of the AgentX WebSocket protocol.
//!
//! A [`RemoteRuntime`] is to a server what a [`Runtime`](crate::Runtime) is to this process: containers, images, and
//! agents that run. What a program does with one conversation is the trait [`Conversation`], which a local
//! [`SoloAgent`](crate::SoloAgent) and a [`RemoteAgent`] both implement.
//!
//! A lost connection is made again by itself, and every stream of events goes on where it was: no event is missing, none
//! comes twice. A server that is gone for too long, refuses the key or does not speak the protocol ends the client with
//! an error that says so.
//!
//! ```no_run
//! use agentx::{ContainerId, ImageSpec, client::{ConversationExt, RemoteRuntime}, prelude::*};
//!
//! # async fn ask() -> agentx::Result<()> {
//! let runtime = RemoteRuntime::builder("ws://127.0.0.1:8080/ws").key("avm_…").connect().await?;
//! let container = ContainerId::new("work")?;
//! runtime.create_container(&container).await?;
//! let image = runtime.create_image(&container, ImageSpec::default().with_name("Chat")).await?;
//! let agent = runtime.run(&image.image_id).await?;
//! println!("{}", agent.ask("What is in this directory?").await?.text);
//! # Ok(())
//! # }
//! ```

mod agent;
mod builder;
mod connection;
mod conversation;
mod events;
mod failure;
mod files;
mod runtime;
mod turn;
mod wire;

pub use self::{
    agent::RemoteAgent,
    builder::RemoteBuilder,
    conversation::{Conversation, ConversationExt},
    events::Events,
    files::FileEntry,
    runtime::RemoteRuntime,
    turn::{Turn, TurnSummary},
};

/// Who reports an error of a remote agent.
const PROVIDER: &str = "remote";

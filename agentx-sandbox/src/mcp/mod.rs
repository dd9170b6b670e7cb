//! The tools of MCP servers, as tools of an agent.
//!
//! An [`McpServer`] says what to start or where to reach it; [`McpServer::connect`] makes an [`McpConnection`] of it,
//! whose [`tools`](McpConnection::tools) an agent is offered as `mcp__{server}__{tool}`. A server over stdio is a child
//! of the sandbox's process, held as every other command of it is, and ends with the connection. A server behind a URL
//! (feature `mcp-http`) is spoken to over streamable HTTP.
//!
//! **What a server says is not trusted.** Names, descriptions, schemas and results are checked and bounded; what it says
//! of a tool's harmlessness is told ([`McpToolInfo`]) and decides nothing: every call goes through the agent's
//! permission. The tools that an agent was offered stay as they were offered; one that the server has taken back
//! answers with an error.
//!
//! **A call is made once.** A server that ended is started anew by the next call, at most once for each call; what was
//! under way when it ended is told as of unknown outcome and never repeated.
//!
//! The protocol is spoken by the crate `rmcp`, of which no type is part of any signature here. It needs a tokio runtime
//! with time.

mod answer;
mod connection;
mod failure;
#[cfg(feature = "mcp-http")]
mod http;
mod limits;
mod listing;
mod live;
mod server;
mod stdio;
mod tool;

pub use self::{
    connection::McpConnection,
    limits::McpLimits,
    listing::{LeftOut, McpToolInfo},
    server::McpServer,
};

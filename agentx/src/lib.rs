#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

mod builder;
#[cfg(all(feature = "claude-code", feature = "local"))]
mod claude_code;
#[cfg(feature = "client")]
pub mod client;
#[cfg(all(feature = "claude", feature = "local"))]
mod from_env;
mod host;
#[cfg(feature = "local")]
mod machine;
#[cfg(feature = "record")]
mod recording;

pub use agentx_core as core;
#[cfg(feature = "tracing")]
pub use agentx_core::telemetry::Telemetry;
pub use agentx_core::{
    Agent, AgentState, AgentTool, ApprovalId, ApprovalPage, ApprovalRecord, Budget, ContainerId, Cursor,
    Decision, Driver, Error, ErrorKind, Event, EventData, Hook, HookAction, HookPoint, Host, ImageId,
    ImageRecord, ImageSpec, Message, MessageBody, MicroDollars, Model, ModelSettings, ModelTable, Outcome,
    PendingApproval, Permission, PermissionRequest, Reply, Repositories, Result, Retry, Runtime,
    ScriptedModel, Subscription, Tool, ToolCall, ToolContext, ToolDefinition, ToolLoop, ToolOutput,
    TurnEvents, TurnReport, Usage, tool_fn,
};
#[cfg(feature = "claude")]
pub use agentx_driver_claude as claude;
#[cfg(feature = "cloudflare")]
pub use agentx_provider_cloudflare as cloudflare;
#[cfg(feature = "local")]
pub use agentx_provider_local as local;
pub use agentx_resource as resource;
#[cfg(feature = "record")]
pub use agentx_resource::cassette::{CassetteMode, Divergence};
pub use agentx_sandbox as sandbox;
#[cfg(feature = "mcp")]
pub use agentx_sandbox::mcp::McpServer;
#[cfg(any(feature = "cloudflare", feature = "local"))]
pub use agentx_sql as sql;
/// What an `impl` of [`Tool`], [`Permission`] or a resource trait is marked with.
pub use async_trait::async_trait;

#[cfg(all(feature = "claude-code", feature = "local"))]
pub use self::claude_code::{claude_code, find_claude_code};
#[cfg(all(feature = "claude", feature = "local"))]
pub use self::from_env::claude_from_env;
#[cfg(feature = "local")]
pub use self::machine::{isolated_runtime, local_runtime};
#[cfg(feature = "record")]
pub use self::recording::Recording;
#[cfg(all(feature = "record", feature = "local"))]
pub use self::recording::{RecordingBuilder, recording};
pub use self::{
    builder::{AgentBuilder, SoloAgent, agent},
    host::{SystemClock, TokioSpawn, UuidSource, tokio_host},
};

/// The examples of the guides run.
#[cfg(all(doctest, feature = "local"))]
mod guides {
    #[doc = include_str!("../../docs/guides/custom-tool.md")]
    struct CustomTool;

    #[doc = include_str!("../../docs/guides/custom-driver.md")]
    struct CustomDriver;

    #[doc = include_str!("../../docs/guides/approvals.md")]
    struct Approvals;

    #[doc = include_str!("../../docs/guides/embedding.md")]
    struct Embedding;

    #[doc = include_str!("../../docs/guides/commands.md")]
    struct RunningCommands;

    #[doc = include_str!("../../docs/guides/isolation.md")]
    struct IsolatingCommands;

    #[cfg(feature = "claude-code")]
    #[doc = include_str!("../../docs/guides/claude-code.md")]
    struct ClaudeCode;

    #[cfg(all(feature = "claude", feature = "cloudflare"))]
    #[doc = include_str!("../../docs/guides/cloudflare.md")]
    struct Cloudflare;

    #[cfg(feature = "record")]
    #[doc = include_str!("../../docs/guides/record-and-replay.md")]
    struct RecordAndReplay;

    #[cfg(feature = "tracing")]
    #[doc = include_str!("../../docs/guides/telemetry.md")]
    struct Telemetry;

    #[doc = include_str!("../../docs/guides/resuming-after-a-crash.md")]
    struct ResumingAfterACrash;

    #[doc = include_str!("../../docs/guides/workspaces.md")]
    struct Workspaces;

    #[cfg(feature = "client")]
    #[doc = include_str!("../../docs/guides/remote.md")]
    struct Remote;

    #[cfg(feature = "mcp-http")]
    #[doc = include_str!("../../docs/guides/mcp.md")]
    struct Mcp;
}

/// Spans and metrics of the models of `provider`, by OpenTelemetry's name for it, such as `anthropic`.
#[cfg(feature = "tracing")]
pub fn telemetry(provider: impl Into<String>) -> Telemetry {
    Telemetry::new(provider, std::sync::Arc::new(SystemClock))
}

/// What a program that embeds an agent needs most.
pub mod prelude {
    pub use futures::StreamExt as _;

    pub use crate::{
        Budget, Decision, EventData, Outcome, Permission, PermissionRequest, Reply, ScriptedModel,
        ToolOutput, async_trait, tool_fn,
    };
}

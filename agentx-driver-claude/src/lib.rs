//! Drivers for Claude.
//!
//! [`messages`] is the light one: a client of the Messages API over HTTP, which runs wherever a host can send a
//! request. [`ToolLoop`](agentx_core::ToolLoop) makes a driver of it. [`code`] is the full one: the claude CLI, an agent of
//! its own, behind the same turns, run through any [`Process`](agentx_resource::Process).

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

#[cfg(feature = "code")]
pub mod code;
pub mod messages;

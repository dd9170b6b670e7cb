//! Drivers for Claude.
//!
//! [`messages`] is the light one: a client of the Messages API over HTTP, which runs wherever a host can send a
//! request. [`ToolLoop`](agentx_core::ToolLoop) makes a driver of it.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod messages;

//! The AgentX protocol, request by request, as the clients of its three generations speak it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod api;
mod client;
mod cut;
mod files;
mod first;
mod hostile;
mod hostile_server;
mod http;
mod identity;
mod later;
mod llms;
mod noise;
mod openapi;
mod owners;
mod quotas;
mod resume;
mod support;
mod tables;
mod tenants;

//! Containers: Cloudflare's own `Container` and `Sandbox` classes in workerd, in front of servers of ours that run on this
//! machine. The engine that would start containers is faked, see `workers/container.mjs`.
#![cfg(test)]

mod conformance;
mod engine;
mod faults;
mod lazy;
mod sandbox;

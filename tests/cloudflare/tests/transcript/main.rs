//! One agent on two worlds: this machine, and Cloudflare's resources. What it says, does and stores is the same.
//!
//! Two transcripts are compared as JSON, all messages and all events as they are stored, after these mappings and no
//! other:
//!
//! * **ids**: each UUID becomes the number of its first appearance;
//! * **times**: a field that is named in [`normal::TIMES`] becomes 0, and so does how long a command says it took;
//! * **the root**: the path at which the tools see the tree becomes `/ROOT`, that of the workspace `/WORKSPACE`; and the
//!   provider that an error names in brackets, `(local)` or `(r2)`, becomes `(provider)`.
//!
//! Tool calls run one after the other here, since side by side they would be stored in the order in which they end. The
//! agent works in a directory below the root.
#![cfg(test)]

mod cost;
mod files;
mod normal;
mod report;
#[path = "../../../../agentx/examples/report/script.rs"]
mod script;
mod world;

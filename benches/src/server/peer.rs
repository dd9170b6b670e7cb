//! The peer: a minimal server in Node, with `ws`.

use std::{path::Path, process::Command};

use crate::Result;

/// The peer's program. Where its library is, the variable says that the benchmark's command sets.
pub(super) fn command() -> Result<Command> {
    let modules = std::env::var(super::PEER).map_err(|_| "`cargo xtask bench server` installs it")?;
    let mut node = Command::new("node");
    node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/peer.cjs"));
    node.arg(Path::new(&modules).join("ws"));
    Ok(node)
}

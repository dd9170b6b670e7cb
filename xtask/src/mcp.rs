//! The suite `mcp`: sets up MCP servers of other makers, and runs the tests that speak with them.

use crate::{
    cargo::{Report, Step},
    npm,
};

/// The package whose tests need the servers; they are ignored elsewhere.
pub(crate) const PACKAGE: &str = "agentx-tests-mcp";

/// Where the tests find the servers' packages.
const VARIABLE: &str = "AGENTX_MCP_MODULES";

/// Sets up the servers.
pub(crate) fn ready() -> Result<(), String> {
    npm::component("mcp").map(drop)
}

/// Runs the tests.
pub(crate) fn run() -> Report {
    match npm::component("mcp") {
        Ok(modules) => Step::ignored_tests(PACKAGE).env(VARIABLE, &modules.to_string_lossy()).run_tests(),
        Err(why) => Report::failed(format!("the servers: {why}")),
    }
}

//! The suites: what each needs, and what it runs.

use crate::{
    cargo::{Report, Step},
    claude_code, cloudflare, example, mcp, package, webchat, workspace,
};

/// One thing that `cargo xtask test` looks at.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Part of `--quick`.
    pub(crate) quick: bool,
    /// Nothing else is worth looking at in a quick run when this fails.
    pub(crate) first: bool,
    /// The suite that runs the same cases: then this one runs only when it is named.
    pub(crate) within: Option<&'static str>,
    /// Sets up what the suite needs; `Err` says why it must be left out.
    pub(crate) ready: fn() -> Result<(), String>,
    pub(crate) run: fn() -> Report,
}

/// A suite of Rust alone, which needs nothing.
const RUST: Suite = Suite {
    name: "rust",
    about: "unit, conformance, integration and architecture tests",
    quick: true,
    first: false,
    within: None,
    ready: || Ok(()),
    run: || {
        let excluded = [claude_code::PACKAGE, cloudflare::PACKAGE, mcp::PACKAGE]
            .map(|package| format!("--exclude {package}"));
        tests(&format!("--workspace --all-features {}", excluded.join(" "))).run_tests()
    },
};

/// All suites, in the order in which they run.
pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "format",
        about: "rustfmt",
        first: true,
        ready: || component("fmt", "rustfmt"),
        run: || Step::new("fmt --all --check").run(),
        ..RUST
    },
    Suite {
        name: "lint",
        about: "clippy, and each crate with no feature and with each alone",
        ready: || component("clippy", "clippy"),
        run: lint,
        ..RUST
    },
    Suite { name: "example", about: "the README's first command", quick: false, run: example::run, ..RUST },
    RUST,
    Suite {
        name: "architecture",
        about: "the rules of the house alone",
        within: Some("rust"),
        run: || tests("--workspace --all-features --test architecture").run_tests(),
        ..RUST
    },
    Suite {
        name: "agentvm",
        about: "the server, its protocol and avm alone",
        within: Some("rust"),
        run: || tests("--package agentx-server --package agentvm").run_tests(),
        ..RUST
    },
    Suite {
        name: "doctest",
        about: "the examples in the documentation",
        quick: false,
        run: || Step::new("test --workspace --all-features --doc --no-fail-fast").run_tests(),
        ..RUST
    },
    Suite {
        name: "docs",
        about: "the documentation without a warning",
        quick: false,
        run: || {
            let docs = Step::new("doc --workspace --all-features --no-deps --exclude xtask");
            docs.env("RUSTDOCFLAGS", "-D warnings").run()
        },
        ..RUST
    },
    Suite {
        name: "fuzz",
        about: "the fuzzer's programs compile; CONTRIBUTING says how to run them",
        quick: false,
        run: || {
            let check = "check --manifest-path fuzz/Cargo.toml --no-default-features --target-dir target";
            Step::new(check).run()
        },
        ..RUST
    },
    Suite {
        name: "package",
        about: "each published crate, packed and built from its package",
        quick: false,
        run: package::run,
        ..RUST
    },
    Suite {
        name: "webchat",
        about: "the page of AgentVM: what its sources make, in a real browser",
        quick: false,
        ready: webchat::ready,
        run: webchat::run,
        ..RUST
    },
    Suite {
        name: "claude-code",
        about: "the full Claude driver on the claude CLI, two versions of it",
        quick: false,
        ready: claude_code::ready,
        run: claude_code::run,
        ..RUST
    },
    Suite {
        name: "cloudflare",
        about: "R2, D1, KV and Containers on Cloudflare's own code, run here",
        quick: false,
        ready: cloudflare::ready,
        run: cloudflare::run,
        ..RUST
    },
    Suite {
        name: "mcp",
        about: "MCP servers of other makers, over stdio and HTTP",
        quick: false,
        ready: mcp::ready,
        run: mcp::run,
        ..RUST
    },
];

/// The tests of all crates, by nextest where it is installed.
fn tests(selection: &str) -> Step {
    if Step::new("nextest --version").output().is_ok() {
        Step::new(&format!("nextest run {selection} --no-fail-fast"))
    } else if selection.contains("--test ") {
        Step::new(&format!("test {selection} --no-fail-fast"))
    } else {
        Step::new(&format!("test {selection} --tests --examples --no-fail-fast"))
    }
}

/// A part of the toolchain, which rustup adds where it is missing.
fn component(command: &str, component: &str) -> Result<(), String> {
    let probe = Step::new(&format!("{command} --version"));
    if probe.output().is_ok() {
        return Ok(());
    }
    let added = std::process::Command::new("rustup").args(["component", "add", component]).status();
    if added.is_ok_and(|status| status.success()) && probe.output().is_ok() {
        return Ok(());
    }
    Err(format!("{component} is not installed; `rustup component add {component}` adds it"))
}

fn lint() -> Report {
    let mut report = Step::new("clippy --workspace --all-targets --all-features -- -D warnings").run();
    let packages = match workspace::packages() {
        Ok(packages) => packages,
        Err(why) => return Report::failed(why),
    };
    for package in packages {
        for selection in package.small_selections() {
            let step = format!("clippy --package {} --lib {selection} -- -D warnings", package.name);
            report.add(Step::new(&step).run());
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_a_part_names_a_suite() {
        for (index, suite) in SUITES.iter().enumerate() {
            assert!(SUITES[..index].iter().all(|other| other.name != suite.name), "{}", suite.name);
            assert!(suite.within.is_none_or(|name| SUITES.iter().any(|other| other.name == name)));
        }
    }
}

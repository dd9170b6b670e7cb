//! `cargo xtask bench`: the benchmark program with the peers beside AgentX, built as a user would ship it.

use std::path::Path;

use crate::{
    cargo::{Step, root},
    cloudflare, npm,
};

/// The workspace of the peers, which are in nobody else's build.
const PEERS: &str = "benches/peers";

/// Passes `args` on to the benchmark program. False when it fails.
///
/// `--no-peers` does without the peers, whose crates take some minutes to build the first time.
pub(crate) fn main(args: &[String]) -> bool {
    let is_server = args.first().is_some_and(|arg| arg == "server");
    // What a month costs is computed: nobody is compared with it. The load on a server has a peer of its own.
    let alone = is_server
        || args.iter().any(|arg| arg == "--no-peers")
        || args.first().is_some_and(|arg| arg == "cost");
    let args: Vec<_> = args.iter().filter(|arg| *arg != "--no-peers").collect();
    let manifest = format!("--manifest-path {PEERS}/Cargo.toml");
    let has_peers =
        !alone && Step::new(&format!("build --profile bench {manifest}")).run().failures.is_empty();
    let mut step = if has_peers {
        with_node(Step::new(&format!("run --quiet --profile bench {manifest} --")))
    } else {
        Step::new("run --profile bench --package agentx-benches --")
    };
    if is_server {
        step = with_ws(step);
    }
    // The rows of R2 ask a server; without one, they say so.
    let asks_r2 = !is_server && args.first().is_none_or(|arg| arg.starts_with("r2") || arg.starts_with("--"));
    let server = asks_r2.then(cloudflare::Server::start).transpose();
    match &server {
        Ok(Some(server)) => step = server.known_to(step),
        Ok(None) => {}
        Err(why) => eprintln!("warning: no R2 but a store in memory ({why})"),
    }
    for arg in args {
        step = step.arg(arg);
    }
    let passed = step.run().failures.is_empty();
    if !alone && !has_peers {
        println!("LEFT OUT: all peers (they could not be built: see above)");
    }
    passed
}

/// With the packages of the peers in Node, or the reason why there are none, which the rows tell.
fn with_node(step: Step) -> Step {
    match npm::component_of("bench-peers", &root().join(Path::new(PEERS)).join("node")) {
        Ok(modules) => step.env("AGENTX_BENCH_NODE_MODULES", &modules.to_string_lossy()),
        Err(why) => step.env("AGENTX_BENCH_NO_NODE", &why).without("AGENTX_BENCH_NODE_MODULES"),
    }
}

/// With the library of the server in Node that the load bench puts beside ours; without it, its table says so.
fn with_ws(step: Step) -> Step {
    match npm::component("ws") {
        Ok(modules) => step.env("AGENTX_BENCH_WS", &modules.to_string_lossy()),
        Err(why) => {
            eprintln!("warning: {why}");
            step.without("AGENTX_BENCH_WS")
        }
    }
}

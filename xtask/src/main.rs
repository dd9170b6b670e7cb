//! The project's own tasks: `cargo xtask test` and `cargo xtask bench`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

mod bench;
mod cargo;
mod claude_code;
mod cloudflare;
mod example;
mod mcp;
mod npm;
mod package;
mod suite;
mod tally;
mod test;
mod webchat;
mod workspace;

use std::{env, process::ExitCode};

const USAGE: &str = "\
Usage: cargo xtask <command>

  test [SUITE…] [--quick] [--strict]
      Runs the named suites, or all that this machine can. What was left out is listed at the end.
      --quick    Rust alone: format, lint and tests, and nothing after unformatted code
      --strict   leaving anything out is a failure
      --list     names the suites

  bench [ROW] [--rounds N] [--no-peers]
      Runs the benchmarks, or one row of them, with other crates and Anthropic's SDK for Node beside AgentX, and prints
      the table. The peers take some minutes to build the first time; --no-peers does without them.

  bench server [--conversations N] [--seconds N] [--sockets N] [--idle N] [--containers N] [--within SECONDS]
      Puts load on a server in another process, beside a server in Node, and prints latencies, errors and memory.

  bench cost [--INPUT N]…
      Prints what agents on Cloudflare cost a month; `bench cost --help` names the inputs.

  cloudflare [COMMAND…]
      Runs R2, D1 and KV on loopback (Cloudflare's own code, by miniflare) and prints where; for a command, while that
      runs, with the address in AGENTX_CLOUDFLARE_URL.
";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let command = args.next();
    let args: Vec<String> = args.collect();
    let asks_help = |arg: &String| matches!(arg.as_str(), "--help" | "-h");
    let result = match command.as_deref() {
        Some("test" | "bench" | "cloudflare") if args.first().is_some_and(asks_help) => {
            print!("{USAGE}");
            Ok(true)
        }
        Some("test") => test::main(&args),
        Some("bench") => Ok(bench::main(&args)),
        Some("cloudflare") => cloudflare::main(&args),
        Some("help" | "--help" | "-h") | None => {
            print!("{USAGE}");
            Ok(true)
        }
        Some(other) => Err(format!("no command {other:?}\n\n{USAGE}")),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

//! `cargo run -p agentx-tests-claude-code --bin claude-drift -- PATH [--all]`: what the claude CLI at this path says that
//! the driver has not seen. With `--all`, all that it says, in the form of the driver's list.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

use std::process::ExitCode;

use agentx_tests_claude_code::drift;

#[tokio::main]
async fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(program), all) = (args.next(), args.next().is_some_and(|arg| arg == "--all")) else {
        eprintln!("usage: claude-drift PATH [--all]");
        return ExitCode::from(2);
    };
    match drift::look(&program).await {
        Ok(drift) if all => {
            drift.seen().for_each(|name| println!("{name}"));
            ExitCode::SUCCESS
        }
        Ok(drift) => {
            let unknown: Vec<_> = drift.unknown().collect();
            for name in &unknown {
                println!("{name}");
            }
            println!("{} of {} are unknown", unknown.len(), drift.seen().count());
            ExitCode::from(u8::from(!unknown.is_empty()))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

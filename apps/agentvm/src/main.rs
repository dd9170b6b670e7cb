//! `avm`: agents as a service on your own machine.
#![expect(clippy::print_stderr, reason = "a command line tool talks to its user")]

mod backup;
mod bounds;
mod chat;
mod container;
mod data;
mod disk;
mod doctor;
mod handover;
mod keys;
mod limits;
mod listen;
mod model;
mod owners;
mod page;
mod permission;
mod remote;
mod serve;
mod settings;
mod tenant;
mod terminal;
mod workspaces;

use std::{process::ExitCode, time::Duration};

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use tokio::runtime::Runtime;

use self::settings::Place;

/// Agents as a service on your own machine: one process, many isolated containers.
#[derive(Parser)]
#[command(name = "avm", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves agents until it is told to stop.
    Serve(serve::Options),
    /// Makes, shows, suspends and removes those who share a server.
    Tenant {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        command: tenant::Command,
    },
    /// Makes, lists and revokes the keys of those who may use a server.
    Key {
        #[command(flatten)]
        place: Place,
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Writes everything that a server knows into one file, also while it serves.
    Backup(backup::Options),
    /// Puts what a backup has into an empty data directory.
    Restore(backup::Options),
    /// Lists, shows and removes the containers of a running server.
    Container {
        #[command(flatten)]
        remote: remote::Remote,
        #[command(subcommand)]
        command: container::Command,
    },
    /// Talks to an agent of a running server.
    Chat(chat::Options),
    /// Tells what a server would go by, and what holds on this machine: the store, the model, isolation, limits.
    Doctor(doctor::Options),
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long what can't be cancelled may go on at the end, such as a read from a terminal.
const LEFTOVERS: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let done = Runtime::new().map_err(Failure::from).and_then(|runtime| {
        let done = runtime.block_on(run(cli.command, &matches));
        runtime.shutdown_timeout(LEFTOVERS);
        done
    });
    done.unwrap_or_else(|failure| {
        if !is_unheard(&*failure) {
            eprintln!("avm: {}", told(&*failure));
        }
        ExitCode::FAILURE
    })
}

/// Whether whoever read what was told is gone, such as `head`: nobody wants the rest.
fn is_unheard(failure: &(dyn std::error::Error + 'static)) -> bool {
    let failed = failure.downcast_ref::<std::io::Error>();
    failed.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// An error, and what it came from where it does not say so itself.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

async fn run(command: Command, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(options) => serve::run(options).await,
        Command::Key { place, command } => keys::run(&place, command).await,
        Command::Tenant { place, command } => tenant::run(&place, command).await,
        Command::Backup(options) => backup::backup(&options),
        Command::Restore(options) => backup::restore(&options),
        Command::Container { remote, command } => container::run(&remote, command).await,
        Command::Chat(options) => chat::run(options).await,
        // Who said what is known to the matches alone.
        Command::Doctor(options) => {
            doctor::run(options, matches.subcommand().map_or(matches, |of| of.1)).await
        }
    }
}

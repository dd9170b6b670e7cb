//! `avm`: agents as a service on your own machine.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

mod chat;
mod doctor;
mod keys;
mod listen;
mod model;
mod page;
mod permission;
mod serve;
mod workspaces;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

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
    /// Makes, lists and revokes the keys of those who may use this server.
    Key {
        #[command(flatten)]
        data: DataDir,
        #[command(subcommand)]
        command: keys::Command,
    },
    /// Talks to an agent of a running server.
    Chat(chat::Options),
    /// Tells what holds on this machine: the store, the model, isolation.
    Doctor(doctor::Options),
}

/// Where a server keeps what it knows.
#[derive(Args, Clone)]
struct DataDir {
    /// Where sessions, workspaces and hashes of keys are kept [default: ~/.agentvm].
    #[arg(long = "data-dir", env = "AVM_DATA_DIR", value_name = "DIR", global = true)]
    path: Option<PathBuf>,
}

impl DataDir {
    fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.path {
            return Ok(path.clone());
        }
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        home.map(|home| PathBuf::from(home).join(".agentvm"))
            .ok_or_else(|| "--data-dir is needed: HOME is not set".into())
    }

    /// The directory, made where there is none; for this user's eyes alone.
    fn create(&self) -> Result<PathBuf, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let path = self.path()?;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(path)
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(options) => serve::run(options).await,
        Command::Key { data, command } => keys::run(&data, command),
        Command::Chat(options) => chat::run(options).await,
        Command::Doctor(options) => doctor::run(&options).await,
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("avm: {failure}");
            ExitCode::FAILURE
        }
    }
}

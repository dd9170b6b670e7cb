//! `avm container`: what an owner has on a running server.

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use agentx::{ContainerId, client::RemoteRuntime};
use clap::Subcommand;

use crate::{Failure, remote::Remote, terminal::plain};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the containers.
    List,
    /// Shows a container's conversations.
    Show {
        /// Its name.
        container: String,
    },
    /// Removes a container with its conversations and their files, for good.
    Remove {
        /// Its name.
        container: String,
    },
}

pub(crate) async fn run(remote: &Remote, command: Command) -> Result<ExitCode, Failure> {
    let runtime = remote.connect().await?;
    match command {
        Command::List => {
            for container in runtime.containers().await? {
                writeln!(stdout(), "{container}")?;
            }
        }
        Command::Show { container } => {
            for image in runtime.images(&find(&runtime, &container).await?).await? {
                writeln!(stdout(), "{}  {}", image.image_id, plain(&image.spec.name))?;
            }
        }
        Command::Remove { container } => {
            runtime.delete_container(&find(&runtime, &container).await?).await?;
            writeln!(stdout(), "removed: {container}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn find(runtime: &RemoteRuntime, name: &str) -> Result<ContainerId, Failure> {
    let found = runtime.containers().await?.into_iter().find(|container| container.as_str() == name);
    found.ok_or_else(|| format!("there is no container {name}").into())
}

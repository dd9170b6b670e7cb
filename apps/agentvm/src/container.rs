//! `avm container`: what an owner has on a running server.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    Failure,
    rpc::{Remote, Rpc},
};

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
    let mut rpc = Rpc::connect(remote).await?;
    match command {
        Command::List => {
            let listed = rpc.call("container.list", json!({})).await?;
            for name in listed.get("containerIds").and_then(Value::as_array).into_iter().flatten() {
                println!("{}", name.as_str().unwrap_or_default());
            }
        }
        Command::Show { container } => {
            exists(&mut rpc, &container).await?;
            let listed = rpc.call("image.list", json!({"containerId": container})).await?;
            for image in listed.get("records").and_then(Value::as_array).into_iter().flatten() {
                let text = |name: &str| image.get(name).and_then(Value::as_str).unwrap_or_default();
                println!("{}  {}", text("imageId"), text("name"));
            }
        }
        Command::Remove { container } => {
            exists(&mut rpc, &container).await?;
            rpc.call("container.delete", json!({"containerId": container})).await?;
            println!("removed: {container}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn exists(rpc: &mut Rpc, container: &str) -> Result<(), Failure> {
    let found = rpc.call("container.get", json!({"containerId": container})).await?;
    match found.get("exists").and_then(Value::as_bool) {
        Some(true) => Ok(()),
        _ => Err(format!("there is no container {container}").into()),
    }
}

//! `agentx-container`: the server inside an AgentX container.

use std::{env, process::ExitCode};

use agentx_container::{Server, Settings};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

/// Where it listens, unless `AGENTX_CONTAINER_ADDRESS` says otherwise: the port that `@cloudflare/sandbox` speaks to.
const ADDRESS: &str = "0.0.0.0:3000";
/// What it serves, unless `AGENTX_CONTAINER_ROOT` says otherwise.
const ROOT: &str = "/workspace";

const USAGE: &str = "agentx-container: serves the commands and files of a directory over HTTP
  AGENTX_CONTAINER_ADDRESS  where to listen (0.0.0.0:3000)
  AGENTX_CONTAINER_ROOT     the directory (/workspace)
  AGENTX_CONTAINER_TOKEN    what callers must send as `authorization: Bearer`; without it, everybody is served
  AGENTX_CONTAINER_ENV      names of variables that commands get, with commas between (HOME,LANG)";

#[tokio::main]
async fn main() -> ExitCode {
    if env::args().nth(1).is_some() {
        say(USAGE);
        return ExitCode::from(2);
    }
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("agentx-container: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = Settings::new(env::var_os("AGENTX_CONTAINER_ROOT").unwrap_or_else(|| ROOT.into()));
    // Commands start from an empty environment, so that the token is not theirs.
    if let Ok(token) = env::var("AGENTX_CONTAINER_TOKEN") {
        if token.is_empty() {
            return Err("AGENTX_CONTAINER_TOKEN is empty: unset it, or give it a value".into());
        }
        settings = settings.with_token(token);
    }
    for name in
        env::var("AGENTX_CONTAINER_ENV").unwrap_or_default().split(',').filter(|name| !name.is_empty())
    {
        settings = settings.with_env(name, env::var(name).map_err(|error| format!("{name}: {error}"))?);
    }
    let server = Server::new(settings)?;
    let address = env::var("AGENTX_CONTAINER_ADDRESS").unwrap_or_else(|_| ADDRESS.to_owned());
    let listener = TcpListener::bind(&address).await.map_err(|error| format!("{address}: {error}"))?;
    say(&format!("listening on {}", listener.local_addr()?));
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    server.serve(listener, stop).await?;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a program speaks to whoever started it")]
fn say(text: &str) {
    eprintln!("{text}");
}

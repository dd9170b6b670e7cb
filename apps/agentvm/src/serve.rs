//! `avm serve`.

use std::{
    io::Write,
    net::{IpAddr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use agentx::{Repositories, Runtime, core::ModelSettings, local::Isolation, tokio_host};
use agentx_provider_local::SqliteExecutor;
use agentx_server::Server;
use agentx_sql::SqlRepositories;
use clap::{Args, ValueEnum};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::{
    DataDir, Failure, keys::Keys, listen, model, page, permission::AskBefore, workspaces::Workspaces,
};

/// The tools of an agent.
const TOOLS: [&str; 7] = ["bash", "edit", "glob", "grep", "ls", "read", "write"];

/// How long turns that run may take to end when the server stops.
const SHUTDOWN: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct Options {
    /// The port; 0 takes a free one.
    #[arg(short, long, default_value_t = 8080, env = "AVM_PORT")]
    port: u16,
    /// The address to listen on. Any but this machine's own needs keys: see `avm key`.
    #[arg(long, default_value = "127.0.0.1", env = "AVM_HOST")]
    host: IpAddr,
    #[command(flatten)]
    data: DataDir,
    /// The model to ask for; the provider's own choice by default.
    #[arg(long, env = "AVM_MODEL")]
    model: Option<String>,
    /// Asks a person before this tool runs, such as `bash`; may be given several times.
    #[arg(long, env = "AVM_ASK", value_delimiter = ',', value_name = "TOOL")]
    ask: Vec<String>,
    /// What holds the commands that agents run [default: full where there are keys, else none].
    #[arg(long, env = "AVM_ISOLATION")]
    isolation: Option<Held>,
}

/// What holds commands.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Held {
    /// Nothing: they may do what the server's user may do.
    None,
    /// Landlock, seccomp and namespaces: they see their workspace, and no network.
    Full,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AVM_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_env_filter(filter).init();

    let data = options.data.create()?;
    let mut keys = Keys::open(&data)?;
    if keys.is_none() && !options.host.is_loopback() {
        let message = format!(
            "{} can be reached by others: make a key first, with `avm key create NAME`",
            options.host
        );
        return Err(message.into());
    }
    if let Some(unknown) = options.ask.iter().find(|tool| !TOOLS.contains(&tool.as_str())) {
        return Err(format!("--ask {unknown}: there is no such tool; there are {}", TOOLS.join(", ")).into());
    }
    let owners = keys.as_ref().map_or(1, Keys::owners);
    let held = options.isolation.unwrap_or(if keys.is_some() { Held::Full } else { Held::None });
    if held == Held::None && owners > 1 {
        return Err("several owners share this server: their commands need `--isolation full`".into());
    }
    if let Some(keys) = keys.as_mut().filter(|_| held == Held::None) {
        // Whoever gets a key while it serves would have a shell among this owner's files.
        keys.admit_nobody_else();
    }
    let isolation = match held {
        Held::Full => Some(verified(Isolation::full()).await?),
        Held::None => None,
    };

    let executor = SqliteExecutor::open(data.join("agentvm.db")).await?;
    let repositories = Repositories::new(SqlRepositories::open(Arc::new(executor)).await?);
    let workspaces = Workspaces::new(data.join("workspaces"), isolation);
    let (driver, real) = model::driver()?;
    let mut settings = ModelSettings::default();
    settings.model = options.model;
    let runtime = Runtime::builder(driver, tokio_host()?)
        .name("avm")
        .repositories(repositories.clone())
        .workspaces(Arc::new(workspaces.clone()))
        .permission(Arc::new(AskBefore(options.ask.into_iter().collect())))
        .settings(settings)
        .build()?;
    let runtime = Arc::new(runtime);
    let mut server = Server::builder(runtime.clone(), repositories)
        .version(env!("CARGO_PKG_VERSION"))
        .workspace_files(workspaces);
    if let Some(keys) = keys {
        server = server.authenticator(keys.known.clone());
        drop(tokio::spawn(keys.follow()));
    }
    let server = server.build();

    let address = SocketAddr::new(options.host, options.port);
    let listener =
        TcpListener::bind(address).await.map_err(|error| format!("listen on {address}: {error}"))?;
    let address = listener.local_addr()?;
    let mut banner = format!(
        "AgentVM {} on http://{address}  (WebSocket: ws://{address}/ws)\n",
        env!("CARGO_PKG_VERSION")
    );
    if !real {
        banner += model::NO_KEY;
        banner += "\n";
    }
    // Whoever started it may have stopped reading: it serves all the same.
    drop(std::io::stdout().write_all(banner.as_bytes()));
    tracing::info!(%address, owners, isolated = held == Held::Full, "serving");

    let (stopping, ending) = (server.clone(), runtime.clone());
    let stop = async move {
        stopped().await;
        tracing::info!("stopping");
        // Turns first: whoever listens is told how they end.
        let ended = ending.shutdown(SHUTDOWN).await;
        stopping.close();
        ended
    };
    let routes = server.router().merge(page::routes());
    listen::serve(listener, routes, stop).await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The isolation, where all that it promises was tried on this machine and holds.
async fn verified(isolation: Isolation) -> Result<Isolation, Failure> {
    let report = isolation.probe().await?;
    if report.holds() {
        return Ok(isolation);
    }
    Err(format!("`--isolation full` does not hold on this machine, so no command may run:\n{report}").into())
}

/// Passes when the server is told to stop.
async fn stopped() {
    let told = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(error) => {
                tracing::error!(%error, "signals can't be heard");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = told(SignalKind::terminate()) => {}
        () = told(SignalKind::interrupt()) => {}
    }
}

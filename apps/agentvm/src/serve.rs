//! `avm serve`.

use std::{
    collections::BTreeSet, env::VarError, io::Write, net::SocketAddr, os::fd::AsFd, path::Path, pin::pin,
    process::ExitCode, sync::Arc, time::Duration,
};

use agentx::{
    Repositories, Runtime,
    core::ModelSettings,
    local::{Containment, Isolation, LocalFileSystem, LocalProcess},
    resource::ResourcePath,
    tokio_host,
};
use agentx_server::{
    Server,
    auth::{
        AnyOf, Authenticator,
        jwt::{JwksFile, JwksUrl, Jwt, JwtOptions},
    },
};
use agentx_sql::SqlRepositories;
use clap::Args;
use sd_notify::NotifyState;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time,
};
use tracing_subscriber::EnvFilter;

use crate::{
    Failure,
    bounds::Bounds,
    data::{self, Lock},
    handover::{self, Door},
    limits, listen,
    model::{self, Answering},
    owners::{OnlyThese, Owners},
    page,
    permission::AskBefore,
    settings::{Addresses, Held, Place, Settings},
    workspaces::Workspaces,
};

/// How long turns may take to end that are interrupted.
const CUT: Duration = Duration::from_secs(5);

/// How much longer than its turns a server may take to end: requests, the claude CLI's processes, the store.
const ENDING: Duration = Duration::from_secs(30);

/// How long each process of the claude CLI may take to end.
const CLAUDE_END: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    settings: Settings,
    /// Takes the place of the server that this data directory has, if it has one: its address, its clients, its
    /// conversations. No connection is refused meanwhile.
    #[arg(long)]
    upgrade: bool,
}

/// What was found to hold before anything was touched.
struct Checked {
    settings: Settings,
    owners: Owners,
    /// Who says who comes in; none where whoever is on this machine does.
    authenticator: Option<Arc<dyn Authenticator>>,
    isolation: Option<Isolation>,
    bounds: Bounds,
    answering: Answering,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let filter = match std::env::var("AVM_LOG") {
        Ok(filter) => EnvFilter::try_new(&filter).map_err(|error| format!("AVM_LOG={filter}: {error}"))?,
        Err(VarError::NotPresent) => EnvFilter::new("info"),
        Err(error) => return Err(format!("AVM_LOG: {error}").into()),
    };
    tracing_subscriber::fmt().json().with_writer(std::io::stderr).with_env_filter(filter).init();

    let found = options.place.find()?;
    let data = found.data;
    data::create(&data)?;
    limits::raise();
    let checked = check(options.settings.or(found.file)?, &data).await?;
    let taken = take(&checked, &data, options.upgrade).await?;
    serve(checked, &data, taken).await
}

/// Everything that may refuse to work is asked before a server that runs is asked for its place.
async fn check(settings: Settings, data: &Path) -> Result<Checked, Failure> {
    let owners = Owners::open(data).await?;
    let mut authenticator = authenticator(&settings, &owners).await?;
    let tenants: BTreeSet<String> =
        owners.all().await?.iter().map(|tenant| tenant.owner.to_string()).collect();
    let held = settings.isolation.unwrap_or(if authenticator.is_some() { Held::Full } else { Held::None });
    if held == Held::None && tenants.len() > 1 {
        return Err("several tenants share this server: their commands need `--isolation full`".into());
    }
    if held == Held::None {
        // Whoever is made while it serves would have a shell among this one's files.
        authenticator = authenticator
            .map(|known| Arc::new(OnlyThese { known, owners: tenants }) as Arc<dyn Authenticator>);
    }
    let isolation = match held {
        Held::Full => Some(verified(Isolation::full()).await?),
        Held::None => None,
    };
    let bounds = bounds(&settings, isolation.is_some() && authenticator.is_some(), data).await?;
    for lacking in &bounds.lacking {
        tracing::warn!(
            lacking,
            "commands are not bounded by it on this machine, as they would be by default"
        );
    }
    let answering = model::driver(&settings, data).await?;
    Ok(Checked { settings, owners, authenticator, isolation, bounds, answering })
}

/// What each owner may use. Whatever was asked for and can't be kept here is an error.
pub(crate) async fn bounds(settings: &Settings, is_shared: bool, data: &Path) -> Result<Bounds, Failure> {
    let bounds = Bounds::find(settings, is_shared)?;
    if bounds.needs_helper()
        && let Containment::Sweep { why } = LocalProcess::new(data)?.containment().await?
    {
        return Err(
            format!("commands can't be limited on this machine, their helper does not work: {why}").into()
        );
    }
    Ok(bounds)
}

/// Whoever has a key, or a token of the issuer; none where there is neither, so that nobody is asked.
async fn authenticator(
    settings: &Settings,
    owners: &Owners,
) -> Result<Option<Arc<dyn Authenticator>>, Failure> {
    let Some(jwks) = &settings.jwks else {
        let keys = owners.tenants.keys(None).await?;
        return Ok((!keys.is_empty()).then(|| Arc::new(owners.tenants.clone()) as Arc<dyn Authenticator>));
    };
    let (Some(issuer), Some(audience)) = (&settings.jwt_issuer, &settings.jwt_audience) else {
        return Err("--jwks needs --jwt-issuer and --jwt-audience: whose tokens, and for whom".into());
    };
    let options = JwtOptions::new(issuer, audience);
    let jwt = if jwks.starts_with("https://") || jwks.starts_with("http://") {
        Jwt::new(JwksUrl::new(jwks)?, options)
    } else {
        let path = std::path::absolute(jwks)?;
        let no_file = || format!("--jwks {jwks}: it is neither a URL nor a file");
        let (folder, name) = path.parent().zip(path.file_name()).ok_or_else(no_file)?;
        let files = LocalFileSystem::open(folder).map_err(|error| format!("{}: {error}", no_file()))?;
        Jwt::new(JwksFile::new(Arc::new(files), ResourcePath::new(format!("/{}", name.display()))?), options)
    };
    Ok(Some(Arc::new(AnyOf::new().or(owners.tenants.clone()).or(jwt))))
}

/// The data directory and a listening socket.
struct Taken {
    lock: Lock,
    listener: TcpListener,
    /// Whether they are those of the server before, which may still be ending its work.
    is_handed_over: bool,
}

/// The data directory and a listening socket, which may be those of the server before.
async fn take(checked: &Checked, data: &Path, upgrade: bool) -> Result<Taken, Failure> {
    let admit = |address: SocketAddr| {
        if checked.authenticator.is_some() || address.ip().is_loopback() {
            return Ok(());
        }
        let told = "can be reached by others: make a key first, with `avm key create NAME`";
        Err(format!("{} {told}", address.ip()).into())
    };
    let address = SocketAddr::new(checked.settings.host(), checked.settings.port());
    admit(address)?;
    let (lock, listener, is_handed_over) = match (upgrade, Lock::try_take(data)?) {
        (_, Some(lock)) => (lock, None, false),
        (true, None) => {
            let place = handover::take_over(data, checked.settings.drain() + ENDING, admit).await?;
            (place.lock, place.listener, true)
        }
        (false, None) => {
            return Err(format!("{}; take its place with --upgrade", Lock::is_taken(data)).into());
        }
    };
    lock.is_whole()?;
    let listener = match listener {
        Some(listener) => {
            let taken = listener.local_addr()?;
            if taken.ip() != address.ip() || ![0, taken.port()].contains(&address.port()) {
                tracing::warn!(%address, %taken, "another address needs a stop and a start: it stays what it was");
            }
            TcpListener::from_std(listener)?
        }
        None => TcpListener::bind(address).await.map_err(|error| format!("listen on {address}: {error}"))?,
    };
    Ok(Taken { lock, listener, is_handed_over })
}

async fn serve(checked: Checked, data: &Path, taken: Taken) -> Result<ExitCode, Failure> {
    let Taken { lock, listener, is_handed_over } = taken;
    let Checked { settings, owners, authenticator, isolation, bounds, answering } = checked;
    let llms = owners.llms.with_any_model(authenticator.is_none());
    let here = if authenticator.is_some() { Addresses::Public } else { Addresses::Any };
    let driver = model::with_brought(answering.driver, llms.clone(), settings.llm_addresses.unwrap_or(here))?;
    let repositories = SqlRepositories::open(owners.executor).await?;
    // Whoever had them is gone: this process has the lock.
    repositories.end_leases().await?;
    let repositories = Repositories::new(repositories);
    let isolated = isolation.is_some();
    let workspaces = Workspaces::new(data.join(data::WORKSPACES), isolation, bounds);
    if !is_handed_over {
        let count = workspaces.clear().await?;
        if count > 0 {
            tracing::info!(count, "copies of workspaces that were cut off are removed");
        }
    }
    let mut model = ModelSettings::default();
    model.model = settings.model.clone();
    let runtime = Runtime::builder(driver, tokio_host()?)
        .name("avm")
        .repositories(repositories.clone())
        .workspaces(Arc::new(workspaces.clone()))
        .permission(Arc::new(AskBefore(settings.ask().map(str::to_owned).collect())))
        .settings(model)
        .build()?;
    let runtime = Arc::new(runtime);
    let mut server = Server::builder(runtime.clone(), repositories)
        .version(env!("CARGO_PKG_VERSION"))
        .workspace_files(workspaces)
        .largest_connections(limits::connections().1)
        .tenants(owners.tenants)
        .llms(llms);
    if let Some(authenticator) = authenticator {
        server = server.authenticator(authenticator);
    }
    let server = server.build();
    let door = Door::open(data, &lock)?;
    drop(tokio::spawn(handover::follow_hangups()));
    announce(listener.local_addr()?, answering.is_real);
    tracing::info!(address = %listener.local_addr()?, isolated, "serving");

    let follows = watch::Sender::new(false);
    let leave = async {
        door.taken(listener.as_fd()).await;
        tracing::info!("another process takes this one's place");
        follows.send_replace(true);
    };
    let mut followed = follows.subscribe();
    let stop = async {
        tokio::select! {
            () = stopped() => {}
            // The sender lives as long as this.
            _ = followed.wait_for(|follows| *follows) => {}
        }
        tracing::info!("stopping");
        // Turns first: whoever listens is told how they end.
        let mut ended = pin!(runtime.shutdown(settings.drain() + CUT));
        let cut = async {
            time::sleep(settings.drain()).await;
            server.interrupt().await;
        };
        let ended = tokio::select! {
            ended = &mut ended => ended,
            () = cut => ended.await,
        };
        server.close();
        ended
    };
    let routes = server.router().merge(page::routes());
    let ended = listen::serve(&listener, routes, leave, stop).await;
    if let Some(claude) = answering.claude {
        claude.close(CLAUDE_END).await?;
    }
    ended?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Says where it serves, to whoever started it.
fn announce(address: SocketAddr, is_real: bool) {
    let version = env!("CARGO_PKG_VERSION");
    let mut banner = format!("AgentVM {version} on http://{address}  (WebSocket: ws://{address}/ws)\n");
    if !is_real {
        banner += model::NO_KEY;
        banner += "\n";
    }
    // Whoever started it may have stopped reading: it serves all the same.
    drop(std::io::stdout().write_all(banner.as_bytes()));
    handover::notify(&[NotifyState::Ready]);
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

use std::{
    collections::hash_map::RandomState,
    fmt,
    future::Future,
    hash::{BuildHasher, Hasher},
    io,
    sync::Arc,
};

use agentx::{
    SystemClock, TokioSpawn,
    local::{LocalFileSystem, LocalProcess},
    resource::{Clock, FileSystem, Process, Result, Spawn},
};
use axum::{Router, extract::DefaultBodyLimit, middleware, serve::ListenerExt};
use tokio::net::TcpListener;

use crate::{auth, live, sandbox, settings::Settings};

/// The server, ready to take connections.
///
/// ```no_run
/// use agentx_container::{Server, Settings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let server = Server::new(Settings::new("/workspace").with_token("a-long-random-token"))?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// server.serve(listener, async { drop(tokio::signal::ctrl_c().await) }).await?;
/// # Ok(()) }
/// ```
pub struct Server {
    router: Router,
    commands: Arc<live::Commands>,
    instance: String,
}

/// What both kinds of callers reach.
pub(crate) struct Resources {
    pub(crate) files: Arc<dyn FileSystem>,
    pub(crate) process: Arc<dyn Process>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) spawn: Arc<dyn Spawn>,
}

impl Server {
    /// A server of the directory that the settings name. Needs a tokio runtime.
    ///
    /// # Errors
    /// Those of opening the directory; `Unavailable` without a runtime.
    pub fn new(settings: Settings) -> Result<Self> {
        let process = LocalProcess::new(&settings.root)?;
        let process =
            settings.env.iter().fold(process, |process, (name, value)| process.with_env(name, value));
        let resources = Arc::new(Resources {
            files: Arc::new(LocalFileSystem::open(&settings.root)?),
            process: Arc::new(process),
            clock: Arc::new(SystemClock),
            spawn: Arc::new(TokioSpawn::current()?),
        });
        let instance = instance();
        let commands = Arc::new(live::Commands::new(Arc::clone(&resources.process), settings.limits));
        let router = live::router(&instance, &resources, Arc::clone(&commands))
            .merge(sandbox::router(resources))
            // Each path has its own bound, or takes its body as it comes.
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(Arc::new(settings.token), auth::check));
        Ok(Self { router, commands, instance })
    }

    /// Which instance this is: a text that no other start of a server has.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Serves until `stop` completes; then all commands end, and so does this. Dropping it stops too.
    ///
    /// # Errors
    /// Those of the listener.
    pub async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let _ended = EndCommands(Arc::clone(&self.commands));
        // Small pieces go out as they come. Where that can't be set, they go out all the same.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let commands = Arc::clone(&self.commands);
        let stopped = async move {
            stop.await;
            // Streams of events end with their commands, and connections with their streams.
            commands.end_all().await;
        };
        axum::serve(listener, self.router).with_graceful_shutdown(stopped).await
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("instance", &self.instance).finish_non_exhaustive()
    }
}

struct EndCommands(Arc<live::Commands>);

impl Drop for EndCommands {
    fn drop(&mut self) {
        self.0.end_all_now();
    }
}

/// 128 bits from the system's random numbers, as hexadecimal.
fn instance() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}

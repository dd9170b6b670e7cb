//! What an engine does, as far as a test needs it: it starts a server of an empty directory, and ends it.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use agentx_container::{Server, Settings};
use agentx_provider_cloudflare::{Container, ContainerEngine, ContainerOptions, WorkerContainer};
use agentx_tests_cloudflare::Place;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

/// The token of the Worker and of its servers, as `workers/container.mjs` has it.
pub(crate) const TOKEN: &str = "token";

/// How many engines this process has started.
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// Starts servers when the Worker asks for them.
#[derive(Clone)]
pub(crate) struct Engine {
    address: SocketAddr,
    /// Which engine of this process it is.
    number: usize,
    shared: Arc<Shared>,
}

struct Shared {
    dir: TempDir,
    /// The servers that run, each with threads of its own, and how many there were of each name.
    servers: Mutex<HashMap<String, (Option<Runtime>, usize)>>,
}

impl Engine {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared { dir: tempfile::tempdir().unwrap(), servers: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/start/{name}", post(start))
            .route("/destroy/{name}", post(destroy))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, number: STARTED.fetch_add(1, Ordering::Relaxed), shared }
    }

    /// The name of a container that the Worker asks of this engine. No other engine has it, not even one that gets the
    /// same port later: the Worker still knows the container of the earlier one, and takes it for running.
    pub(crate) fn name(&self) -> String {
        format!("e{}-{}-{}", self.address.port(), process::id(), self.number)
    }

    /// Where the container's commands see the root.
    pub(crate) fn root(&self) -> PathBuf {
        fs::canonicalize(self.shared.dir.path()).unwrap().join(self.name())
    }

    /// The container behind the Worker.
    pub(crate) fn container(&self, place: &Place) -> WorkerContainer {
        self.container_at(place.url(), TOKEN)
    }

    /// The container behind the Worker at `url`.
    pub(crate) fn container_at(&self, url: &str, token: &str) -> WorkerContainer {
        WorkerContainer::new(url, &self.name(), token, ContainerOptions::default()).unwrap()
    }

    /// The container, started.
    pub(crate) async fn connected(&self) -> Container {
        let address = self.container(&Place::take()).start().await.unwrap();
        Container::connect(&address, ContainerOptions::default()).await.unwrap()
    }

    /// How many servers there were.
    pub(crate) fn started(&self) -> usize {
        self.shared.servers.lock().unwrap().values().map(|(_, started)| started).sum()
    }

    pub(crate) fn runs(&self) -> bool {
        self.shared.servers.lock().unwrap().values().any(|(runtime, _)| runtime.is_some())
    }

    /// Ends the servers without a word, as a machine that fails.
    pub(crate) fn kill(&self) {
        for (runtime, _) in self.shared.servers.lock().unwrap().values_mut() {
            end(runtime.take());
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for (runtime, _) in self.servers.get_mut().unwrap().values_mut() {
            end(runtime.take());
        }
    }
}

fn end(runtime: Option<Runtime>) {
    if let Some(runtime) = runtime {
        runtime.shutdown_background();
    }
}

/// Starts a server with what the container would have in its environment.
async fn start(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Json(config): Json<Value>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let root = shared.dir.path().join(&name);
    if root.exists() {
        fs::remove_dir_all(&root).unwrap();
    }
    fs::create_dir(&root).unwrap();
    let settings = Settings::new(&root);
    let settings = match config["env"]["AGENTX_CONTAINER_TOKEN"].as_str() {
        Some(token) => settings.with_token(token),
        None => settings,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let served = runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server::new(settings).map_err(|error| error.to_string())?;
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
        Ok::<_, String>(port)
    });
    let port = served.await.unwrap().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error))?;
    let mut servers = shared.servers.lock().unwrap();
    let (running, started) = servers.entry(name).or_default();
    *started += 1;
    end(running.replace(runtime));
    Ok(Json(json!({"port": port})))
}

async fn destroy(State(shared): State<Arc<Shared>>, Path(name): Path<String>) {
    if let Some((runtime, _)) = shared.servers.lock().unwrap().get_mut(&name) {
        end(runtime.take());
    }
}

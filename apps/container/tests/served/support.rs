//! A server of a directory, on a port and with threads of its own.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use agentx::resource::FileSystem;
use agentx_container::{Limits, Server, Settings};
use agentx_provider_cloudflare::{
    Container, ContainerAddress, ContainerOptions, FixedContainer, LazyContainer, LazyOptions,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

pub(crate) const TOKEN: &str = "a-token-of-the-tests";

/// Short enough for a test, and longer than what a busy machine needs to come back.
const UNATTENDED: Duration = Duration::from_secs(5);

/// Any port of this machine.
pub(crate) const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(crate) struct Served {
    pub(crate) root: PathBuf,
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
    dir: Option<TempDir>,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default().with_unattended(UNATTENDED)).await
    }

    pub(crate) async fn start_with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap();
        let mut served = Self::serve(root, limits, ANY).await;
        served.dir = Some(dir);
        served
    }

    /// A server of an existing directory, at this address.
    pub(crate) async fn serve(root: PathBuf, limits: Limits, address: SocketAddr) -> Self {
        let settings = Settings::new(&root).with_token(TOKEN).with_limits(limits);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = runtime
            .spawn(async move {
                let listener = bind(address).await;
                let address = listener.local_addr().unwrap();
                let server = Server::new(settings).unwrap();
                tokio::spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
                address
            })
            .await
            .unwrap();
        Self { root, address, runtime: Some(runtime), dir: None }
    }

    pub(crate) fn at(&self) -> ContainerAddress {
        ContainerAddress::new(format!("http://{}", self.address)).with_token(TOKEN)
    }

    pub(crate) async fn container(&self) -> Container {
        Container::connect(&self.at(), ContainerOptions::default()).await.unwrap()
    }

    /// A container that is asked for with the first command.
    pub(crate) fn lazy(&self, store: Arc<dyn FileSystem>) -> LazyContainer {
        let root = LazyOptions::new(self.root.to_str().unwrap());
        LazyContainer::new(store, Arc::new(FixedContainer::new(self.at())), root)
    }

    /// Ends the server as if its machine were switched off: its connections break, and its commands end. The directory
    /// stays as long as what this gives.
    pub(crate) fn kill(mut self) -> Option<TempDir> {
        self.end();
        self.dir.take()
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Asks whether a process works below the directory, or a write was not finished there.
    pub(crate) fn check(&self) -> impl Fn() -> Result<(), String> + Send + use<> {
        let root = self.root.clone();
        move || {
            let mut left = processes(&root);
            left.extend(unfinished(&root));
            if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.end();
    }
}

fn processes(dir: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir)))
        .map(|process| {
            format!("the process {}", fs::read_to_string(process.join("stat")).unwrap_or_default())
        })
        .collect()
}

/// The names that are given to unfinished writes, which no listing shows.
fn unfinished(dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix(".agentx-").is_some_and(|rest| rest.strip_suffix(".tmp").is_some()) {
            left.push(format!("the unfinished write {}", entry.path().display()));
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            left.extend(unfinished(&entry.path()));
        }
    }
    left
}

/// Listens at an address, also at that of a server that was killed just now, whose sockets may be open for a moment.
async fn bind(address: SocketAddr) -> TcpListener {
    for _ in 0..1_000 {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            bound => return bound.unwrap(),
        }
    }
    panic!("{address} stays in use");
}

//! A server of a directory of its own, on a port of its own.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use agentx_container::{Limits, Server, Settings};
use agentx_provider_cloudflare::{Container, ContainerAddress, ContainerOptions};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

pub(crate) const TOKEN: &str = "a-token-of-the-tests";

/// Short enough for a test, and longer than what a busy machine needs to come back.
const UNATTENDED: Duration = Duration::from_secs(5);

pub(crate) struct Served {
    pub(crate) dir: TempDir,
    pub(crate) address: SocketAddr,
    server: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::default().with_unattended(UNATTENDED)).await
    }

    pub(crate) async fn start_with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings::new(dir.path()).with_token(TOKEN).with_limits(limits);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::new(settings).unwrap();
        let server =
            tokio::spawn(async move { server.serve(listener, std::future::pending()).await.unwrap() });
        Self { dir, address, server }
    }

    pub(crate) fn at(&self) -> ContainerAddress {
        ContainerAddress::new(format!("http://{}", self.address)).with_token(TOKEN)
    }

    pub(crate) async fn container(&self) -> Container {
        Container::connect(&self.at(), ContainerOptions::default()).await.unwrap()
    }

    /// Asks whether a process works below the directory, or a write was not finished there.
    pub(crate) fn check(&self) -> impl Fn() -> Result<(), String> + Send + use<> {
        let dir = fs::canonicalize(self.dir.path()).unwrap();
        move || {
            let mut left = processes(&dir);
            left.extend(unfinished(&dir));
            if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
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

fn unfinished(dir: &Path) -> Vec<String> {
    let mut left = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(".agentx-") {
            left.push(format!("the unfinished write {}", entry.path().display()));
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            left.extend(unfinished(&entry.path()));
        }
    }
    left
}

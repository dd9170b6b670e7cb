//! What stands between client and server, and breaks.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use agentx_provider_cloudflare::ContainerAddress;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::support::{Served, TOKEN};

/// Passes bytes on, and cuts connections as it is told.
pub(crate) struct Proxy {
    address: SocketAddr,
    plan: Arc<Plan>,
}

#[derive(Default)]
struct Plan {
    /// How many more connections are cut.
    cuts: AtomicUsize,
    /// After how many bytes from the server each is cut.
    after: AtomicU64,
    /// Connections are held up while this is true: nothing passes, and nothing is closed.
    mute: watch::Sender<bool>,
    connections: AtomicUsize,
    /// All connections are cut when this is true, and no new one is passed on.
    closed: watch::Sender<bool>,
}

impl Proxy {
    pub(crate) async fn before(served: &Served) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (plan, behind) = (Arc::<Plan>::default(), served.address);
        let proxy = Self { address, plan: Arc::clone(&plan) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                plan.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass(client, behind, Arc::clone(&plan)));
            }
        });
        proxy
    }

    pub(crate) fn at(&self) -> ContainerAddress {
        ContainerAddress::new(format!("http://{}", self.address)).with_token(TOKEN)
    }

    /// Resets the next `count` connections that tell `after` bytes from now on.
    pub(crate) fn cut(&self, count: usize, after: u64) {
        self.plan.after.store(after, Ordering::SeqCst);
        self.plan.cuts.store(count, Ordering::SeqCst);
    }

    pub(crate) fn mute(&self, mute: bool) {
        self.plan.mute.send_replace(mute);
    }

    /// Cuts all connections for good.
    pub(crate) fn close(&self) {
        self.plan.closed.send_replace(true);
    }

    pub(crate) fn connections(&self) -> usize {
        self.plan.connections.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, behind: SocketAddr, plan: Arc<Plan>) {
    let Ok(server) = TcpStream::connect(behind).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move { drop(tokio::io::copy(&mut from_client, &mut to_server).await) });
    let (mut buffer, mut told) = ([0; 4096], 0_u64);
    let (mut mute, mut closed) = (plan.mute.subscribe(), plan.closed.subscribe());
    loop {
        let read = tokio::select! {
            read = from_server.read(&mut buffer) => read.unwrap_or(0),
            _ = closed.wait_for(|closed| *closed) => break,
        };
        mute.wait_for(|mute| !mute).await.unwrap();
        told += read as u64;
        let cuts = plan.cuts.load(Ordering::SeqCst);
        if cuts > 0 && told >= plan.after.load(Ordering::SeqCst) {
            plan.cuts.store(cuts - 1, Ordering::SeqCst);
            // A part of it arrives, cut wherever it is.
            drop(to_client.write_all(&buffer[..read / 2]).await);
            break;
        }
        if read == 0 || to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    up.abort();
}

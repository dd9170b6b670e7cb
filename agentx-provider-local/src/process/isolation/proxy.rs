//! The way out of a network namespace: an HTTP proxy of the host, on a socket that listens inside.

mod head;
mod target;
mod tunnel;

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, lookup_host},
    runtime::Handle,
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

use self::{head::Head, target::is_allowed};
use super::AllowList;

/// How many connections a proxy carries at once. More wait.
const MAX_CONNECTIONS: usize = 256;
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// How long a client may take for the head of its request, and a server to be connected to.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the proxy rests when the host has no handles left.
const REST: Duration = Duration::from_millis(50);

/// A proxy for the commands of one helper. Dropping it ends it with all its connections.
#[derive(Debug)]
pub(in crate::process) struct Proxy {
    listener: StdListener,
    list: AllowList,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Proxy {
    /// # Errors
    /// When the handle is no socket.
    pub(super) fn new(listener: OwnedFd, list: AllowList) -> io::Result<Self> {
        let listener = StdListener::from(listener);
        listener.set_nonblocking(true)?;
        Ok(Self { listener, list, task: Mutex::default() })
    }

    /// Serves in this runtime, unless it is served already.
    ///
    /// # Errors
    /// When the host has no handles left.
    pub(in crate::process) fn serve(&self, runtime: &Handle) -> io::Result<()> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            let _entered = runtime.enter();
            let listener = TcpListener::from_std(self.listener.try_clone()?)?;
            *task = Some(runtime.spawn(serve(listener, self.list.clone())));
        }
        Ok(())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
    }
}

/// Serves until it is dropped, and all connections with it.
async fn serve(listener: TcpListener, list: AllowList) {
    let mut connections = tokio::task::JoinSet::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let list = list.clone();
                connections.spawn(async move {
                    // An error is the client's or the server's, who see it themselves.
                    let _ = carry(client, &list).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
}

async fn carry(mut client: TcpStream, list: &AllowList) -> io::Result<()> {
    let Ok(read) = timeout(PATIENCE, read_head(&mut client)).await else {
        return refuse(&mut client, "408 Request Timeout", "the request did not come in time").await;
    };
    let (bytes, length) = read?;
    let (head, rest) = bytes.split_at_checked(length).unwrap_or((&bytes, &[]));
    let Some(head) = Head::parse(head) else {
        return refuse(&mut client, "400 Bad Request", "this is no request to a proxy").await;
    };
    if !list.allows(&head.host) {
        let why = format!("{} is not on the list of hosts that may be reached", head.host);
        return refuse(&mut client, "403 Forbidden", &why).await;
    }
    let mut server = match timeout(PATIENCE, connect(&head.host, head.port)).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            let why = format!("{} is an address of this machine or its network link", head.host);
            return refuse(&mut client, "403 Forbidden", &why).await;
        }
        Ok(Err(error)) => return refuse(&mut client, "502 Bad Gateway", &error.to_string()).await,
        Err(_) => return refuse(&mut client, "504 Gateway Timeout", "the host does not answer").await,
    };
    match &head.forwarded {
        None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?,
        Some(head) => server.write_all(head.as_bytes()).await?,
    }
    server.write_all(rest).await?;
    tunnel::carry(&mut client, &mut server).await
}

/// What came, and how much of it is the head.
async fn read_head(client: &mut TcpStream) -> io::Result<(Vec<u8>, usize)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            return Ok((bytes, end + 4));
        }
        if bytes.len() >= MAX_HEAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Looks a name up once and connects to what came out, so that nobody can change it in between.
async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for address in addresses {
        outcome = if is_allowed(host, address.ip()) {
            TcpStream::connect(address).await
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        };
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

async fn refuse(client: &mut TcpStream, status: &str, why: &str) -> io::Result<()> {
    let length = why.len() + 1;
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}\n"
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}

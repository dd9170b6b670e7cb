//! Upgrade in place: a server gives its listening socket to the process that follows it.
//!
//! ```text
//!  old server                            avm serve --upgrade
//!      │ ◀──────── connects to DATA/avm.sock ─────────│
//!      │ ───────── the listening socket ─────────────▶│
//!      │ ◀──────── "take": it is going to serve ──────│
//!  takes no more connections: they wait in the socket │
//!  ends its turns, tells its clients, ends            │
//!      └ the lock of the data directory ─────────────▶│ serves
//! ```
//!
//! The socket is open all the time, in one process or both: no connection is refused. Until "take", the old server goes
//! on as if nobody had asked.

mod successor;
mod wire;

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use sd_notify::NotifyState;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::UnixStream,
    time::{self, Instant},
};

pub(crate) use self::successor::follow_hangups;
use self::wire::TAKE;
use crate::{Failure, data::Lock};

/// Where the next process asks, in the data directory.
const DOOR: &str = "avm.sock";

/// How long either side waits for the other's next word.
const ANSWER: Duration = Duration::from_secs(5);

/// How often it is tried whether the old server is gone.
const LOOK: Duration = Duration::from_millis(20);

/// Where a server is asked for its socket.
pub(crate) struct Door(tokio::net::UnixListener);

impl Door {
    /// Opens it. Only whoever has the directory's lock may.
    pub(crate) fn open(data: &Path, _lock: &Lock) -> Result<Self, Failure> {
        let failed = |error: io::Error| format!("{}: {error}", data.join(DOOR).display());
        match fs::remove_file(data.join(DOOR)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error).into()),
            _ => {}
        }
        let (_directory, short) = short(data).map_err(failed)?;
        let listener = UnixListener::bind(short).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self(tokio::net::UnixListener::from_std(listener).map_err(failed)?))
    }

    /// Passes when another process has the socket and says that it serves from now on.
    pub(crate) async fn taken(&self, socket: BorrowedFd<'_>) {
        loop {
            let asked = match self.0.accept().await {
                Ok((stream, _)) => time::timeout(ANSWER, offer(stream, socket)).await,
                Err(error) => Ok(Err(error)),
            };
            match asked {
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::warn!(%error, "the listening socket was asked for, and not taken"),
                Err(_) => tracing::warn!("the listening socket was asked for, and not taken in time"),
            }
            // Where nothing can be accepted, it is tried again, but not all the time.
            time::sleep(LOOK).await;
        }
    }
}

/// The door's path, short enough for a socket's address whatever the directory is; good while the file is open.
fn short(data: &Path) -> io::Result<(File, PathBuf)> {
    let directory = File::open(data)?;
    let path = format!("/proc/self/fd/{}/{DOOR}", directory.as_raw_fd());
    Ok((directory, path.into()))
}

async fn offer(mut stream: UnixStream, socket: BorrowedFd<'_>) -> io::Result<()> {
    stream.async_io(Interest::WRITABLE, || wire::send(&stream, socket)).await?;
    match stream.read_u8().await? {
        TAKE => Ok(()),
        _ => Err(io::Error::new(ErrorKind::InvalidData, "it answered something else")),
    }
}

/// Tells systemd, where it is systemd that wants to know.
pub(crate) fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd can't be told");
    }
}

/// What a server begins with.
pub(crate) struct Place {
    pub(crate) lock: Lock,
    /// The socket of the server that was here before; none where there was none.
    pub(crate) listener: Option<TcpListener>,
}

/// Takes the data directory, from the server that has it where one has. That one is asked only when `admit` agrees to its
/// address, and has so long to end.
pub(crate) async fn take_over(
    data: &Path,
    within: Duration,
    admit: impl Fn(SocketAddr) -> Result<(), Failure>,
) -> Result<Place, Failure> {
    let deadline = Instant::now() + within;
    let mut listener = None;
    loop {
        if let Some(lock) = Lock::try_take(data)? {
            return Ok(Place { lock, listener });
        }
        if listener.is_none()
            && let Some(socket) = ask(data, &admit).await?
        {
            tracing::info!(address = %socket.local_addr()?, "takes the place of the server before it");
            listener = Some(socket);
        }
        if Instant::now() > deadline {
            return Err(format!("{}, which did not end in time", Lock::is_taken(data)).into());
        }
        time::sleep(LOOK).await;
    }
}

/// Asks the server of this directory for its socket; none where it does not answer: it may be starting, or ending.
async fn ask(
    data: &Path,
    admit: &impl Fn(SocketAddr) -> Result<(), Failure>,
) -> Result<Option<TcpListener>, Failure> {
    let (_directory, short) = short(data)?;
    let Ok(mut stream) = UnixStream::connect(short).await else { return Ok(None) };
    let socket =
        match time::timeout(ANSWER, stream.async_io(Interest::READABLE, || wire::receive(&stream))).await {
            Ok(Ok(socket)) => TcpListener::from(socket),
            Ok(Err(error)) if error.kind() == ErrorKind::InvalidData => {
                return Err(format!("{}: {error}", data.join(DOOR).display()).into());
            }
            // It ended meanwhile, or another process was quicker.
            _ => return Ok(None),
        };
    admit(socket.local_addr()?)?;
    socket.set_nonblocking(true)?;
    // Before the old one can end: systemd would take the service's main process for gone.
    notify(&[NotifyState::MainPid(std::process::id())]);
    let told = stream.write_u8(TAKE).await;
    Ok(told.is_ok().then_some(socket))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[tokio::test]
    async fn a_socket_goes_to_whoever_says_that_it_serves_and_to_nobody_else() {
        let place = tempfile::tempdir().unwrap();
        // Longer than a socket's address may be.
        let data = place.path().join("d".repeat(120));
        fs::create_dir(&data).unwrap();
        let lock = Lock::try_take(&data).unwrap().unwrap();
        let door = Door::open(&data, &lock).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let old = async {
            door.taken(socket.as_fd()).await;
            drop(lock);
        };
        let new = async {
            let refused = |_| Err("not this one".into());
            let told = take_over(&data, ANSWER, refused).await.err().unwrap();
            assert_eq!(told.to_string(), "not this one");
            assert!(Lock::try_take(&data).unwrap().is_none());
            let placed = take_over(&data, ANSWER * 4, |_| Ok(())).await.unwrap();
            assert_eq!(placed.listener.unwrap().local_addr().unwrap(), address);
            placed.lock
        };
        let ((), lock) = tokio::join!(old, new);
        drop((door, lock));
        // Nobody has it: there is nothing to take over.
        assert!(take_over(&data, ANSWER, |_| Ok(())).await.unwrap().listener.is_none());
    }
}

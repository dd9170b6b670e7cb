use std::{
    io,
    pin::pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use futures::future::{Either, select, try_join};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::sleep,
};

/// How long nothing may pass through a tunnel, and how long when one side has said all.
pub(super) const IDLE: Duration = Duration::from_mins(10);
pub(super) const HALF_CLOSED: Duration = Duration::from_mins(1);
const BUFFER: usize = 16 << 10;

/// What has passed through a tunnel.
#[derive(Debug, Default)]
struct Traffic {
    bytes: AtomicU64,
    is_half_closed: AtomicBool,
}

/// Carries bytes both ways until both sides have said all.
///
/// # Errors
/// Those of either side; `TimedOut` when nothing has passed for too long.
pub(super) async fn carry(
    client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    server: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let traffic = Traffic::default();
    let both = pin!(try_join(
        one_way(&mut from_client, &mut to_server, &traffic),
        one_way(&mut from_server, &mut to_client, &traffic),
    ));
    match select(both, pin!(silence(&traffic))).await {
        Either::Left((carried, _)) => carried.map(drop),
        Either::Right(((), _)) => Err(io::ErrorKind::TimedOut.into()),
    }
}

async fn one_way(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    traffic: &Traffic,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            traffic.is_half_closed.store(true, Ordering::Relaxed);
            return to.shutdown().await;
        }
        to.write_all(buffer.get(..count).unwrap_or_default()).await?;
        traffic.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Completes when nothing has passed for as long as may be.
async fn silence(traffic: &Traffic) {
    loop {
        let look = || (traffic.bytes.load(Ordering::Relaxed), traffic.is_half_closed.load(Ordering::Relaxed));
        let before = look();
        // What is half closed meanwhile has its own time from the next look on, which comes soon enough.
        let mut left = if before.1 { HALF_CLOSED } else { IDLE };
        while !left.is_zero() {
            let step = left.min(HALF_CLOSED);
            sleep(step).await;
            left -= step;
            if look() != before {
                break;
            }
        }
        if look() == before {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::duplex, time::Instant};

    use super::*;

    // Time stands still unless all wait for it.
    #[tokio::test(start_paused = true)]
    async fn a_tunnel_ends_when_nothing_passes() {
        for (is_half_closed, limit) in [(false, IDLE), (true, HALF_CLOSED)] {
            let (mut client, mut near) = duplex(64);
            let (mut far, mut server) = duplex(64);
            let since = Instant::now();
            let tunnel = tokio::spawn(async move { carry(&mut near, &mut far).await });
            client.write_all(b"hello").await.unwrap();
            let mut said = [0; 5];
            server.read_exact(&mut said).await.unwrap();
            assert_eq!(&said, b"hello");
            if is_half_closed {
                client.shutdown().await.unwrap();
                assert_eq!(server.read(&mut said).await.unwrap(), 0);
            }
            assert_eq!(tunnel.await.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert!(
                since.elapsed() >= limit && since.elapsed() <= limit + 2 * HALF_CLOSED,
                "{:?}",
                since.elapsed()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_through_which_something_passes_stays() {
        let (mut client, mut near) = duplex(64);
        let (mut far, mut server) = duplex(64);
        let tunnel = tokio::spawn(async move { carry(&mut near, &mut far).await });
        for _ in 0..5 {
            sleep(IDLE / 2 + HALF_CLOSED).await;
            server.write_all(b"x").await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
        }
        drop((client, server));
        tunnel.await.unwrap().unwrap();
    }
}

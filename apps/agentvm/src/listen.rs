//! Connections: how many, and how long each may take to say what it wants.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore, watch},
    time,
};

use crate::limits;

/// How long the headers of a request may take to come.
const HEADERS: Duration = Duration::from_secs(5);

/// How long a connection that has said nothing is listened to when the server stops.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// How long requests and sockets that are open may take to end when the server stops.
pub(crate) const END: Duration = Duration::from_secs(5);

/// How long it waits when the system has no more to give, such as files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, and then what is under way; from `leave` on, it takes no more connections. Gives what `stop` gave.
pub(crate) async fn serve<T>(
    listener: &TcpListener,
    routes: Router,
    leave: impl Future<Output = ()>,
    stop: impl Future<Output = T>,
) -> T {
    // More wait until one ends.
    let places = Arc::new(Semaphore::new(limits::connections().0));
    let ending = watch::Sender::new(());
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let accept = async {
        loop {
            // Never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be taken");
                    time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Events are small, and each is awaited.
            drop(stream.set_nodelay(true));
            let mut told = ending.subscribe();
            let heard = Arc::new(Notify::new());
            let stream = Counted { stream, heard: heard.clone(), _open: told.clone() };
            let routes = TowerToHyperService::new(routes.clone());
            let service = service_fn(move |mut request: Request<Incoming>| {
                // Some routes are for this machine alone.
                request.extensions_mut().insert(ConnectInfo(peer));
                routes.call(request)
            });
            let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
            drop(tokio::spawn(async move {
                let mut connection = pin!(connection);
                let ended = tokio::select! {
                    ended = &mut connection => ended,
                    _ = told.changed() => {
                        // Its first request may be on its way: hyper would close it unheard.
                        tokio::select! {
                            ended = &mut connection => ended,
                            _ = time::timeout(FIRST_WORD, heard.notified()) => {
                                connection.as_mut().graceful_shutdown();
                                connection.await
                            }
                        }
                    }
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection failed");
                }
                drop(place);
            }));
        }
    };
    let mut stop = pin!(stop);
    let stopped = tokio::select! {
        stopped = &mut stop => stopped,
        () = leave => stop.await,
        () = accept => stop.await,
    };
    ending.send_replace(());
    if time::timeout(END, ending.closed()).await.is_err() {
        tracing::warn!("connections were still open");
    }
    stopped
}

/// A connection that is open for as long as anybody has it, also as a WebSocket.
struct Counted {
    stream: TcpStream,
    /// Has a permit once anything was heard.
    heard: Arc<Notify>,
    _open: watch::Receiver<()>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        if into.filled().len() > before {
            self.heard.notify_one();
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

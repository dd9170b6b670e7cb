//! Connections: how many, and how long each may take to say what it wants.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time,
};

/// How many connections are open at once, but for sockets. More wait until one ends.
const CONNECTIONS: usize = 8_192;

/// How long the headers of a request may take to come.
const HEADERS: Duration = Duration::from_secs(5);

/// How long requests that are under way may take to end when the server stops.
const END: Duration = Duration::from_secs(5);

/// How long it waits when the system has no more to give, such as files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, and then what is under way. Gives what `stop` gave.
pub(crate) async fn serve<T>(listener: TcpListener, routes: Router, stop: impl Future<Output = T>) -> T {
    let (places, ending) = (Arc::new(Semaphore::new(CONNECTIONS)), watch::Sender::new(()));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS);
    let accept = async {
        loop {
            // Never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection can't be taken");
                    time::sleep(PAUSE).await;
                    continue;
                }
            };
            // Events are small, and each is awaited.
            drop(stream.set_nodelay(true));
            let service = TowerToHyperService::new(routes.clone());
            let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
            let mut told = ending.subscribe();
            drop(tokio::spawn(async move {
                let mut connection = pin!(connection);
                let ended = tokio::select! {
                    ended = &mut connection => ended,
                    _ = told.changed() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
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
        () = accept => stop.await,
    };
    drop(listener);
    ending.send_replace(());
    if time::timeout(END, ending.closed()).await.is_err() {
        tracing::warn!("connections were still open");
    }
    stopped
}

//! Many conversations at the same time, each told piece by piece to a socket of its own.

use std::time::Duration;

use tokio::{task::JoinSet, time};

use super::{
    PACE,
    client::{Client, END, now, piece},
    process::Server,
    report::{Latencies, Streamed},
};
use crate::Result;

/// What one socket heard.
#[derive(Default)]
struct Heard {
    latencies: Vec<u64>,
    error: Option<String>,
}

/// `count` conversations with agents, each on a socket of its own.
pub(super) async fn conversations(
    name: &'static str,
    server: &Server,
    count: u32,
    pieces: u32,
) -> Result<Streamed> {
    let mut clients = Vec::new();
    for number in 0..count {
        let mut client = Client::apart(server.address).await?;
        let made = client.create(&format!("c{number}")).await?;
        client.listen(&made.session).await?;
        clients.push((client, made.image));
    }
    all(name, server, clients, pieces, move |client, image: String| {
        Box::pin(async move { client.send(&image, pieces, PACE).await })
    })
    .await
}

/// As many clients of the peer.
pub(super) async fn peer(name: &'static str, server: &Server, count: u32, pieces: u32) -> Result<Streamed> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push((Client::connect(server.address).await?, ()));
    }
    all(name, server, clients, pieces, move |client, ()| {
        Box::pin(async move { client.say(format!("{pieces} {PACE}")).await })
    })
    .await
}

type Begun<'a> = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Begins all within one second, as users do, and listens until each has its last piece.
async fn all<T: Send + 'static>(
    name: &'static str,
    server: &Server,
    clients: Vec<(Client, T)>,
    pieces: u32,
    begin: impl for<'a> Fn(&'a mut Client, T) -> Begun<'a> + Clone + Send + Sync + 'static,
) -> Result<Streamed> {
    let count = u32::try_from(clients.len())?;
    let step = Duration::from_secs(1) / count.max(1);
    let (before, started) = (server.processor_time()?, time::Instant::now());
    let mut tasks = JoinSet::new();
    for ((mut client, what), number) in clients.into_iter().zip(0..) {
        let begin = begin.clone();
        tasks.spawn(async move {
            time::sleep(step * number).await;
            let mut heard = Heard::default();
            let told = async {
                begin(&mut client, what).await?;
                listen(&mut client, &mut heard.latencies).await
            };
            heard.error = told.await.err().map(|error| error.to_string());
            heard
        });
    }
    let (mut latencies, mut errors) = (Vec::new(), Vec::new());
    for heard in tasks.join_all().await {
        if heard.latencies.len() != pieces as usize {
            errors.push(format!("{} of {pieces} pieces", heard.latencies.len()));
        }
        errors.extend(heard.error);
        latencies.extend(heard.latencies);
    }
    let cpu = server.processor_time()?.saturating_sub(before);
    Ok(Streamed::new(name, count, started.elapsed(), cpu, errors, Latencies::of(latencies)))
}

async fn listen(client: &mut Client, latencies: &mut Vec<u64>) -> Result<()> {
    loop {
        let frame = client.next().await?;
        if let Some((number, made)) = piece(&frame) {
            latencies.push(now().saturating_sub(made));
            // The first that is missing or comes twice ends the run: it would be told as an error, whatever comes behind it.
            in_order(number, latencies.len())?;
        } else if frame.contains(END) {
            return Ok(());
        }
    }
}

/// Whether the piece of this number is the one that comes as the `count`th.
pub(super) fn in_order(number: u32, count: usize) -> Result<()> {
    if number as usize + 1 == count {
        return Ok(());
    }
    Err(format!("piece {number} came as the {count}th: one is lost, or came twice").into())
}

//! Conversations that are told piece by piece: many at the same time, and one to many.

use std::time::Duration;

use tokio::{task::JoinSet, time};

use super::{
    PACE,
    client::{Client, END, made, now},
    process::Server,
    report::{Latencies, Streamed, Told},
};
use crate::Result;

/// How many pieces there are where all come at once.
pub(super) const BURST: u32 = 200;

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
    let before = server.processor_time()?;
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
    Ok(Streamed::new(name, count, cpu, errors, Latencies::of(latencies)))
}

async fn listen(client: &mut Client, latencies: &mut Vec<u64>) -> Result<()> {
    loop {
        let frame = client.next().await?;
        if let Some(made) = made(&frame) {
            latencies.push(now().saturating_sub(made));
        } else if frame.contains(END) {
            return Ok(());
        }
    }
}

/// One conversation, told to many sockets.
pub(super) async fn fan_out(server: &Server, sockets: u32, pieces: u32, pace: u32) -> Result<Told> {
    let mut sender = Client::apart(server.address).await?;
    let made = sender.create("fan-out").await?;
    let mut clients = Vec::new();
    for _ in 0..sockets {
        let mut client = Client::apart(server.address).await?;
        client.listen(&made.session).await?;
        clients.push(client);
    }
    let begin = async { sender.send(&made.image, pieces, pace).await };
    told(server, clients, pieces, begin).await
}

/// The same from the loop that writes frames.
pub(super) async fn written(server: &Server, sockets: u32, pieces: u32, pace: u32) -> Result<Told> {
    let mut sender = Client::connect(server.address).await?;
    let mut clients = Vec::new();
    for _ in 0..sockets {
        let mut client = Client::connect(server.address).await?;
        client.say("listen".to_owned()).await?;
        client.next().await?;
        clients.push(client);
    }
    let begin = async { sender.say(format!("{pieces} {pace}")).await };
    told(server, clients, pieces, begin).await
}

async fn told(
    server: &Server,
    clients: Vec<Client>,
    pieces: u32,
    begin: impl Future<Output = Result<()>>,
) -> Result<Told> {
    let before = server.processor_time()?;
    begin.await?;
    let mut tasks = JoinSet::new();
    for mut client in clients {
        tasks.spawn(async move {
            let (mut frames, mut bytes, mut said) = (0_u64, 0, 0);
            loop {
                let frame = client.next().await?;
                (frames, bytes) = (frames + 1, bytes + frame.len());
                said += u32::from(frame.contains("text_delta"));
                if frame.contains(END) {
                    if said != pieces {
                        return Err(format!("a socket was told {said} of {pieces} pieces").into());
                    }
                    // The socket stays open until all have heard all.
                    return Ok::<_, crate::Error>((frames, bytes, client));
                }
            }
        });
    }
    let (mut frames, mut bytes, mut open) = (0, 0, Vec::new());
    for told in tasks.join_all().await {
        let (count, size, client) = told?;
        (frames, bytes) = (frames + count, bytes + size);
        open.push(client);
    }
    let cpu = server.processor_time()?.saturating_sub(before);
    let frame = bytes.checked_div(usize::try_from(frames)?).unwrap_or_default();
    Ok(Told { deliveries: frames, cpu, frame })
}

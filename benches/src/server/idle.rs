//! What stands still and costs memory all the same: clients that are connected, containers with agents at rest.

use std::time::Duration;

use serde_json::json;
use tokio::{task::JoinSet, time};

use super::{
    client::{Client, now},
    process::Server,
    report::{Containers, Idle, Latencies},
};
use crate::Result;

/// How many are there before it is measured what each more takes: the first ones find room that was made for the start.
const FIRST: u32 = 100;

/// How long memory is given to settle.
const SETTLE: Duration = Duration::from_millis(500);

/// Connections over which containers are made.
const WORKERS: u32 = 16;

/// How long containers are made.
const MAKING: Duration = Duration::from_mins(1);

/// Clients that have asked for something once.
pub(super) async fn clients(server: &Server, count: u32) -> Result<Idle> {
    let mut clients = connected(server, FIRST).await?;
    time::sleep(SETTLE).await;
    let before = server.memory()?;
    clients.extend(connected(server, count).await?);
    time::sleep(SETTLE).await;
    let bytes = server.memory()?.saturating_sub(before);
    Ok(Idle { count, bytes_each: bytes / u64::from(count.max(1)) })
}

async fn connected(server: &Server, count: u32) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Client::connect(server.address).await?;
        client.call("container.get", json!({"containerId": "none"})).await?;
        clients.push(client);
    }
    Ok(clients)
}

/// Containers with one conversation each, whose agent runs and rests. Stops after a minute with what there is then.
pub(super) async fn containers(server: &Server, count: u32) -> Result<Containers> {
    make(server, "first", FIRST).await?;
    time::sleep(SETTLE).await;
    let before = server.memory()?;
    let starts = make(server, "more", count).await?;
    time::sleep(SETTLE).await;
    let bytes = server.memory()?.saturating_sub(before);
    let made = u32::try_from(starts.len())?;
    Ok(Containers { count: made, bytes_each: bytes / u64::from(made.max(1)), start: Latencies::of(starts) })
}

/// How long each agent took to run, in nanoseconds.
async fn make(server: &Server, name: &'static str, count: u32) -> Result<Vec<u64>> {
    let until = time::Instant::now() + MAKING;
    let mut tasks = JoinSet::new();
    for worker in 0..WORKERS {
        let mut client = Client::apart(server.address).await?;
        tasks.spawn(async move {
            let mut starts = Vec::new();
            for number in (worker..count).step_by(WORKERS as usize) {
                if time::Instant::now() > until {
                    break;
                }
                let made = client.create(&format!("{name}-{number}")).await?;
                let begun = now();
                client.call("image.run", json!({"imageId": made.image})).await?;
                starts.push(now().saturating_sub(begun));
            }
            Ok::<_, crate::Error>(starts)
        });
    }
    let starts: Result<Vec<Vec<u64>>> = tasks.join_all().await.into_iter().collect();
    Ok(starts?.concat())
}

//! One conversation, told to many sockets.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{
    client::{Client, END, piece},
    process::Server,
    report::Told,
    stream::in_order,
};
use crate::Result;

/// Sockets that are told the same, and the one that has them told.
pub(super) struct Audience {
    server: Server,
    sender: Client,
    /// The conversation's image; none where the server has but one.
    image: Option<String>,
    clients: Vec<Client>,
}

impl Audience {
    /// Of a conversation with an agent.
    pub(super) async fn of_agent(server: Server, sockets: u32) -> Result<Self> {
        let mut sender = Client::apart(server.address).await?;
        let made = sender.create("fan-out").await?;
        let mut clients = Vec::new();
        for _ in 0..sockets {
            let mut client = Client::apart(server.address).await?;
            client.listen(&made.session).await?;
            clients.push(client);
        }
        Ok(Self { server, sender, image: Some(made.image), clients })
    }

    /// Of a server that only says pieces.
    pub(super) async fn of_writer(server: Server, sockets: u32) -> Result<Self> {
        let sender = Client::connect(server.address).await?;
        let mut clients = Vec::new();
        for _ in 0..sockets {
            let mut client = Client::connect(server.address).await?;
            client.say("listen".to_owned()).await?;
            client.next().await?;
            clients.push(client);
        }
        Ok(Self { server, sender, image: None, clients })
    }

    /// Has all of them told so many pieces, so many in a second; all at once where that is 0.
    pub(super) async fn tell(&mut self, pieces: u32, pace: u32) -> Result<Told> {
        let before = self.server.processor_time()?;
        match &self.image {
            Some(image) => self.sender.send(image, pieces, pace).await?,
            None => self.sender.say(format!("{pieces} {pace}")).await?,
        }
        let mut tasks = JoinSet::new();
        for client in self.clients.drain(..) {
            tasks.spawn(hear(client, pieces));
        }
        let (mut frames, mut bytes) = (0, 0);
        for heard in tasks.join_all().await {
            let (client, count, size) = heard?;
            (frames, bytes) = (frames + count, bytes + size);
            self.clients.push(client);
        }
        let cpu = self.server.processor_time()?.saturating_sub(before);
        Ok(Told { deliveries: frames, cpu: Duration::max(cpu, Duration::from_nanos(1)), bytes })
    }
}

/// Listens up to the end of a turn: how many frames came, and how many bytes. Each piece must have come, once.
async fn hear(mut client: Client, pieces: u32) -> Result<(Client, u64, u64)> {
    let (mut frames, mut bytes, mut said) = (0, 0, 0);
    loop {
        let frame = client.next().await?;
        (frames, bytes) = (frames + 1, bytes + frame.len() as u64);
        if let Some((number, _)) = piece(&frame) {
            said += 1;
            in_order(number, said)?;
        } else if frame.contains(END) {
            if said != pieces as usize {
                return Err(format!("a socket was told {said} of {pieces} pieces").into());
            }
            return Ok((client, frames, bytes));
        }
    }
}

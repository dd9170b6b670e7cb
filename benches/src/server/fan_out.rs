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

/// How many pieces of a paced stream are not measured, at its beginning and at its end: what else a turn tells comes with
/// them, some of it in one write.
const EDGE: u32 = 5;

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

    /// Of a server that only says pieces, to whom says this word.
    pub(super) async fn of_writer(server: Server, sockets: u32, listen: &str) -> Result<Self> {
        let sender = Client::connect(server.address).await?;
        let mut clients = Vec::new();
        for _ in 0..sockets {
            let mut client = Client::connect(server.address).await?;
            client.say(listen.to_owned()).await?;
            client.next().await?;
            clients.push(client);
        }
        Ok(Self { server, sender, image: None, clients })
    }

    /// Has all of them told so many pieces, so many in a second, and measures but the middle of it, where a piece is a
    /// frame and each frame a write. All at once where the pace is 0, and then all of it is measured.
    pub(super) async fn tell(&mut self, pieces: u32, pace: u32) -> Result<Told> {
        let edge = if pace == 0 { 0 } else { EDGE };
        let begun = self.server.processor_time()?;
        match &self.image {
            Some(image) => self.sender.send(image, pieces, pace).await?,
            None => self.sender.say(format!("{pieces} {pace}")).await?,
        }
        if edge == 0 {
            let heard = self.hear(0, pieces, true).await?;
            return Ok(heard.told(self.server.processor_time()?.saturating_sub(begun)));
        }
        self.hear(0, edge, false).await?;
        let before = self.server.processor_time()?;
        let heard = self.hear(edge, pieces - edge, false).await?;
        let cpu = self.server.processor_time()?.saturating_sub(before);
        self.hear(pieces - edge, pieces, true).await?;
        Ok(heard.told(cpu))
    }

    /// Has all of them hear the pieces from one number up to another, and the end behind them.
    async fn hear(&mut self, from: u32, until: u32, end: bool) -> Result<Heard> {
        let mut tasks = JoinSet::new();
        for client in self.clients.drain(..) {
            tasks.spawn(hear(client, from, until, end));
        }
        let mut all = Heard::default();
        for heard in tasks.join_all().await {
            let (client, heard) = heard?;
            all = Heard { frames: all.frames + heard.frames, bytes: all.bytes + heard.bytes };
            self.clients.push(client);
        }
        Ok(all)
    }
}

/// Frames that came, and their bytes.
#[derive(Default)]
struct Heard {
    frames: u64,
    bytes: u64,
}

impl Heard {
    fn told(self, cpu: Duration) -> Told {
        Told { deliveries: self.frames, cpu: Duration::max(cpu, Duration::from_nanos(1)), bytes: self.bytes }
    }
}

/// Listens to the pieces from one number up to another, and up to the end of the turn behind them where that is asked
/// for. Each piece must come, once.
async fn hear(mut client: Client, from: u32, until: u32, end: bool) -> Result<(Client, Heard)> {
    let (mut heard, mut next) = (Heard::default(), from);
    while next < until || end {
        let frame = client.next().await?;
        heard = Heard { frames: heard.frames + 1, bytes: heard.bytes + frame.len() as u64 };
        if let Some((number, _)) = piece(&frame) {
            next += 1;
            in_order(number, next as usize)?;
        } else if frame.contains(END) {
            if next == until && end {
                break;
            }
            return Err(format!("a socket was told {next} pieces, and not {until}").into());
        }
    }
    Ok((client, heard))
}

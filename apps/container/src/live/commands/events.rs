use std::time::Duration;

use agentx_provider_cloudflare::container_wire::{Event, Numbered};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{Stream, stream};
use tokio::time::{Instant, sleep_until};

use super::registry::Attached;
use crate::settings::Limits;

/// How much is put together into one piece of the body, where there is more, in bytes.
const PIECE: usize = 64 << 10;

/// A command's events as server-sent ones, as they come.
///
/// It ends after the last event; or with [`Event::More`], when the log is full of what was told here and the caller must
/// say that he has it, or when this has gone on for long enough; or without a word, when another listener has come.
pub(super) fn stream(
    attached: Attached,
    limits: Limits,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send {
    let telling =
        Telling { told: attached.after, until: Instant::now() + limits.stream, attached, over: false };
    stream::unfold(telling, move |mut telling| async move {
        let piece = telling.next(limits.heartbeat).await?;
        Some((Ok(piece), telling))
    })
}

struct Telling {
    attached: Attached,
    /// The number of the last event that was told.
    told: u64,
    until: Instant,
    over: bool,
}

impl Telling {
    async fn next(&mut self, heartbeat: Duration) -> Option<Bytes> {
        if self.over {
            return None;
        }
        let beat = Instant::now() + heartbeat;
        let entry = std::sync::Arc::clone(&self.attached.entry);
        loop {
            let mut news = std::pin::pin!(entry.news.notified());
            // From here on it misses nothing.
            news.as_mut().enable();
            if entry.is_ended() || super::entry::lock(&entry.listeners).came != self.attached.number {
                return None;
            }
            if let Some(piece) = self.new_events() {
                return Some(piece);
            }
            tokio::select! {
                () = news => {}
                () = sleep_until(self.until) => return Some(self.more()),
                () = sleep_until(beat) => return Some(Bytes::from_static(b": still here\n\n")),
            }
        }
    }

    /// What was not told yet, up to a bound.
    fn new_events(&mut self) -> Option<Bytes> {
        let mut piece = BytesMut::new();
        let entry = std::sync::Arc::clone(&self.attached.entry);
        let log = entry.log();
        while let Some(event) = log.after(self.told).filter(|_| piece.len() < PIECE) {
            self.told = event.number;
            self.over |= event.event == Event::End;
            encode(&mut piece, event);
        }
        if log.is_full() && log.after(self.told).is_none() && !log.is_ended() {
            drop(log);
            piece.extend_from_slice(&self.more());
        }
        (!piece.is_empty()).then(|| piece.freeze())
    }

    fn more(&mut self) -> Bytes {
        self.over = true;
        let mut piece = BytesMut::new();
        encode(&mut piece, &Numbered { number: self.told, event: Event::More });
        piece.freeze()
    }
}

fn encode(piece: &mut BytesMut, event: &Numbered) {
    piece.extend_from_slice(b"data: ");
    // An event has no map but with text for keys, and a buffer takes what it is given.
    let _ = serde_json::to_writer((&mut *piece).writer(), event);
    piece.extend_from_slice(b"\n\n");
}

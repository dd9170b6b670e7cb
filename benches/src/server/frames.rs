//! The least that telling many the same can cost: a loop that writes a frame, encoded once, to one socket after another;
//! and the least that it can cost where each socket has a task of its own, which is handed that frame and writes it.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{Mutex, broadcast},
    time,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use super::client::END;
use crate::Result;

/// The argument that makes a bench program such a server.
pub(crate) const SERVE: &str = "serve-frames";

/// What a client says to be written to by the loop, or by a task of its own.
pub(super) const LISTEN: &str = "listen";
pub(super) const LISTEN_APART: &str = "listen apart";

/// Frames that a task may have before it: all of a burst.
const HANDED: usize = 128;

/// Sockets that only listen.
#[derive(Clone)]
struct Listening {
    sockets: Arc<Mutex<Vec<TcpStream>>>,
    tasks: broadcast::Sender<Arc<[u8]>>,
}

/// Serves frames of `length` bytes until its input ends.
///
/// # Errors
/// What the host says.
pub(crate) fn serve(length: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let serving = runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        writeln!(io::stdout(), "{}", listener.local_addr()?)?;
        Ok::<_, crate::Error>(tokio::spawn(async move {
            let listening = Listening { sockets: Arc::default(), tasks: broadcast::Sender::new(HANDED) };
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(take(socket, listening.clone(), length));
            }
        }))
    })?;
    // The end of the input is the end of whoever started this.
    io::stdin().read_to_end(&mut Vec::new())?;
    serving.abort();
    runtime.shutdown_background();
    Ok(())
}

/// A client says that it listens, or how many frames all others are to be written, and how many in a second.
async fn take(socket: TcpStream, listening: Listening, length: usize) {
    let Ok(()) = socket.set_nodelay(true) else { return };
    let Ok(mut socket): Result<WebSocketStream<TcpStream>, _> = accept_async(socket).await else { return };
    while let Some(Ok(Message::Text(asked))) = socket.next().await {
        match asked.as_str() {
            LISTEN => {
                // Whoever has the answer is written to: nobody is, while this has the list.
                let mut all = listening.sockets.lock().await;
                if socket.send(Message::text("listening")).await.is_ok() {
                    all.push(socket.into_inner());
                }
                return;
            }
            LISTEN_APART => {
                let frames = listening.tasks.subscribe();
                if socket.send(Message::text("listening")).await.is_ok() {
                    write_apart(socket.into_inner(), frames).await;
                }
                return;
            }
            _ => tell(&asked, &listening, length).await,
        }
    }
}

/// Writes what it is handed. Whoever is gone, or was handed more than it may have before it, is missed at the other end.
async fn write_apart(mut socket: TcpStream, mut frames: broadcast::Receiver<Arc<[u8]>>) {
    while let Ok(frame) = frames.recv().await {
        if socket.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn tell(asked: &str, listening: &Listening, length: usize) {
    let mut numbers = asked.split(' ').map(|number| number.parse::<u32>().unwrap_or_default());
    let (count, pace) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut ticks = Duration::from_secs(1).checked_div(pace).map(time::interval);
    let piece = |number| format!(r#"{{"type":"text_delta","text":"{number} 0 "}}"#);
    let frames = (0..count).map(|number| encoded(&piece(number), length));
    let frames: Vec<_> = frames.chain([encoded(END, length)]).collect();
    let mut sockets = listening.sockets.lock().await;
    for frame in frames {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        for socket in sockets.iter_mut() {
            // Whoever is gone is missed at the other end.
            drop(socket.write_all(&frame).await);
        }
        // Where nobody listens apart, there is nobody to hand it to.
        drop(listening.tasks.send(frame));
    }
}

/// A text frame of this payload, filled up with spaces.
fn encoded(payload: &str, length: usize) -> Arc<[u8]> {
    let mut frame = vec![0x81];
    match u8::try_from(length) {
        Ok(length) if length < 126 => frame.push(length),
        _ => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend(format!("{payload:<length$}").into_bytes());
    frame.into()
}

//! The least that telling many the same can cost: a loop that writes a frame, encoded once, to one socket after another.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Mutex,
    time,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use super::client::END;
use crate::Result;

/// The argument that makes a bench program such a server.
pub(crate) const SERVE: &str = "serve-frames";

/// Sockets that only listen.
type Listening = Arc<Mutex<Vec<TcpStream>>>;

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
            let listening = Listening::default();
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

/// A client says `listen`, or how many frames all others are to be written, and how many in a second.
async fn take(socket: TcpStream, listening: Listening, length: usize) {
    let Ok(()) = socket.set_nodelay(true) else { return };
    let Ok(mut socket): Result<WebSocketStream<TcpStream>, _> = accept_async(socket).await else { return };
    while let Some(Ok(Message::Text(asked))) = socket.next().await {
        if asked.as_str() == "listen" {
            // Whoever has the answer is written to: nobody is, while this has the list.
            let mut all = listening.lock().await;
            if socket.send(Message::text("listening")).await.is_ok() {
                all.push(socket.into_inner());
            }
            return;
        }
        tell(&asked, &listening, length).await;
    }
}

async fn tell(asked: &str, listening: &Listening, length: usize) {
    let mut numbers = asked.split(' ').map(|number| number.parse::<u32>().unwrap_or_default());
    let (count, pace) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let mut ticks = Duration::from_secs(1).checked_div(pace).map(time::interval);
    let piece = |number| format!(r#"{{"type":"text_delta","text":"{number} 0 "}}"#);
    let frames = (0..count).map(|number| encoded(&piece(number), length));
    let frames: Vec<_> = frames.chain([encoded(END, length)]).collect();
    let mut sockets = listening.lock().await;
    for frame in frames {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        for socket in sockets.iter_mut() {
            // Whoever is gone is missed at the other end.
            drop(socket.write_all(&frame).await);
        }
    }
}

/// A text frame of this payload, filled up with spaces.
fn encoded(payload: &str, length: usize) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(length) {
        Ok(length) if length < 126 => frame.push(length),
        _ => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend(format!("{payload:<length$}").into_bytes());
    frame
}

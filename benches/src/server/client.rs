//! A client on a socket, as small as can be: what it adds to a measurement is the same for all servers.

use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use memchr::memmem;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig},
};

use crate::Result;

/// What the last event of a turn has in it.
pub(super) const END: &str = r#""type":"turn_response""#;

/// Nanoseconds by the clock that all processes of this machine share.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(now.tv_nsec).unwrap_or_default()
}

pub(super) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    asked: u64,
}

/// A conversation of its own.
pub(super) struct Conversation {
    pub(super) image: String,
    pub(super) session: String,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr) -> Result<Self> {
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096);
        let (socket, _) = connect_async_with_config(format!("ws://{address}/ws"), Some(config), true).await?;
        Ok(Self { socket, asked: 0 })
    }

    /// A client that hears of nothing but what it asks for.
    pub(super) async fn apart(address: SocketAddr) -> Result<Self> {
        let mut client = Self::connect(address).await?;
        client.call("unsubscribe", json!({"topic": "global"})).await?;
        Ok(client)
    }

    pub(super) async fn say(&mut self, text: String) -> Result<()> {
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// The next text.
    pub(super) async fn next(&mut self) -> Result<Utf8Bytes> {
        loop {
            match self.socket.next().await.ok_or("the server hung up")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(_) => return Err("the server hung up".into()),
                _ => {}
            }
        }
    }

    /// Asks, and waits for the answer.
    pub(super) async fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.asked += 1;
        let asked = json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        self.say(asked.to_string()).await?;
        loop {
            let mut answer: Value = serde_json::from_str(&self.next().await?)?;
            if answer.get("id") != Some(&json!(self.asked)) {
                continue;
            }
            if let Some(error) = answer.get("error") {
                return Err(format!("{method}: {error}").into());
            }
            return Ok(answer.get_mut("result").map(Value::take).unwrap_or_default());
        }
    }

    /// Makes a container and a conversation in it.
    pub(super) async fn create(&mut self, container: &str) -> Result<Conversation> {
        self.call("container.create", json!({"containerId": container})).await?;
        let image = self.call("image.create", json!({"containerId": container})).await?;
        let text = |pointer: &str| image.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let missing = || format!("no record: {image}");
        Ok(Conversation {
            image: text("/record/imageId").ok_or_else(missing)?,
            session: text("/record/sessionId").ok_or_else(missing)?,
        })
    }

    pub(super) async fn listen(&mut self, session: &str) -> Result<()> {
        self.call("subscribe", json!({"topic": session})).await.map(drop)
    }

    /// Has the agent say so many pieces of text.
    pub(super) async fn send(&mut self, image: &str, pieces: u32, pace: u32) -> Result<()> {
        let content = format!("{pieces} {pace}");
        // Without an id: its answer is of no interest.
        let params = json!({"imageId": image, "content": content, "wait": false});
        self.say(json!({"jsonrpc": "2.0", "method": "message.send", "params": params}).to_string()).await
    }
}

/// The number of a piece of text, and when it was made; none where this is something else.
pub(super) fn piece(frame: &str) -> Option<(u32, u64)> {
    memmem::find(frame.as_bytes(), br#""type":"text_delta""#)?;
    let text = br#""text":""#;
    let start = memmem::find(frame.as_bytes(), text)? + text.len();
    let mut words = frame.get(start..)?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

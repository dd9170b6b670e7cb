//! A client of a running server, as any other is: the AgentX protocol over a socket.

use std::collections::VecDeque;

use clap::Args;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::Failure;

/// Which server, and who asks it.
#[derive(Args)]
pub(crate) struct Remote {
    /// The server's socket.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws", env = "AVM_URL", global = true)]
    url: String,
    /// The key, where the server asks for one.
    #[arg(long, env = "AVM_KEY", hide_env_values = true, global = true)]
    key: Option<String>,
}

/// A connection.
pub(crate) struct Rpc {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Events that came while an answer was waited for.
    waiting: VecDeque<Value>,
    asked: u64,
}

impl Rpc {
    pub(crate) async fn connect(remote: &Remote) -> Result<Self, Failure> {
        let mut request = remote.url.as_str().into_client_request()?;
        if let Some(key) = &remote.key {
            request.headers_mut().insert("authorization", format!("Bearer {key}").parse()?);
        }
        let connected = connect_async(request).await.map_err(|error| format!("{}: {error}", remote.url));
        Ok(Self { socket: connected?.0, waiting: VecDeque::new(), asked: 0 })
    }

    /// Asks, and gives the answer.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let id = json!(self.send(method, params).await?);
        loop {
            let mut frame = self.read().await?;
            if frame.get("id") != Some(&id) {
                self.waiting.push_back(frame);
                continue;
            }
            if let Some(error) = frame.pointer("/error/message") {
                let hint = match frame.pointer("/error/code").and_then(Value::as_i64) {
                    Some(401) => " (give a key with --key or AVM_KEY)",
                    _ => "",
                };
                return Err(format!("{method}: {}{hint}", error.as_str().unwrap_or("refused")).into());
            }
            return Ok(frame.get_mut("result").map(Value::take).unwrap_or_default());
        }
    }

    /// Asks, and gives the number that the answer will have.
    pub(crate) async fn send(&mut self, method: &str, params: Value) -> Result<u64, Failure> {
        self.asked += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        self.socket.send(Message::text(request.to_string())).await?;
        Ok(self.asked)
    }

    /// The next frame, of whatever kind. May be dropped at any time.
    pub(crate) async fn next(&mut self) -> Result<Value, Failure> {
        match self.waiting.pop_front() {
            Some(frame) => Ok(frame),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<Value, Failure> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text)?),
                Some(Ok(Message::Close(_))) | None => return Err("the server ended the connection".into()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}

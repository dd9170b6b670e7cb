//! `avm chat`: a conversation in a terminal, over the same protocol as any other client.

use std::{collections::VecDeque, io::Write, process::ExitCode};

use clap::Args;
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::Failure;

#[derive(Args)]
pub(crate) struct Options {
    /// The server's socket.
    #[arg(long, default_value = "ws://127.0.0.1:8080/ws", env = "AVM_URL")]
    url: String,
    /// The key, where the server asks for one.
    #[arg(long, env = "AVM_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The container to talk in.
    #[arg(long, default_value = "chat")]
    container: String,
    /// An image to go on with; a new one by default.
    #[arg(long)]
    image: Option<String>,
    /// What to say; without it, lines are read from standard input.
    message: Option<String>,
}

pub(crate) async fn run(options: Options) -> Result<ExitCode, Failure> {
    let mut request = options.url.as_str().into_client_request()?;
    if let Some(key) = &options.key {
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse()?);
    }
    let (socket, _) = connect_async(request).await.map_err(|error| format!("{}: {error}", options.url))?;
    let mut chat = Chat { socket, waiting: VecDeque::new(), asked: 0 };
    let image = match options.image {
        Some(image) => image,
        None => chat.create(&options.container).await?,
    };
    eprintln!("image {image}");
    if let Some(message) = &options.message {
        chat.say(&image, message).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        eprint!("> ");
        let Some(line) = lines.next_line().await? else { return Ok(ExitCode::SUCCESS) };
        if !line.trim().is_empty() {
            // A turn that failed ends nothing: the next may not.
            if let Err(failure) = chat.say(&image, &line).await {
                eprintln!("[error: {failure}]");
            }
        }
    }
}

struct Chat {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Events that came while an answer was waited for.
    waiting: VecDeque<Value>,
    asked: u64,
}

impl Chat {
    async fn create(&mut self, container: &str) -> Result<String, Failure> {
        self.call("container.create", json!({"containerId": container})).await?;
        let created = self.call("image.create", json!({"containerId": container})).await?;
        let image = created.pointer("/record/imageId").and_then(Value::as_str);
        Ok(image.ok_or("the server made no image")?.to_owned())
    }

    /// Says something, and shows what comes until the turn is over.
    async fn say(&mut self, image: &str, message: &str) -> Result<(), Failure> {
        let id = self.send("message.send", json!({"imageId": image, "content": message})).await?;
        let (mut over, mut answered, mut failed) = (false, false, None);
        while !(over && answered) {
            let frame = self.next().await?;
            if frame.get("id") == Some(&json!(id)) {
                if let Some(error) = frame.pointer("/error/message") {
                    return Err(error.as_str().unwrap_or("the server refused").to_owned().into());
                }
                answered = true;
            } else if let Some(event) = frame.pointer("/params/event")
                && event.pointer("/context/imageId").and_then(Value::as_str) == Some(image)
            {
                over |= show(event)?;
                if event.get("type").and_then(Value::as_str) == Some("error_occurred") {
                    failed = event.pointer("/data/message").and_then(Value::as_str).map(str::to_owned);
                }
            }
        }
        println!();
        failed.map_or(Ok(()), |message| Err(message.into()))
    }

    async fn call(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
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

    async fn send(&mut self, method: &str, params: Value) -> Result<u64, Failure> {
        self.asked += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        self.socket.send(Message::text(request.to_string())).await?;
        Ok(self.asked)
    }

    async fn next(&mut self) -> Result<Value, Failure> {
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

/// Shows an event; whether it was the turn's last.
fn show(event: &Value) -> Result<bool, Failure> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match text("/type") {
        "text_delta" => print!("{}", text("/data/text")),
        "tool_executing" => {
            let input = event.pointer("/data/input").cloned().unwrap_or_default();
            eprintln!("\n[{} {input}]", text("/data/toolName"));
        }
        "tool_failed" => eprintln!("[{} failed: {}]", text("/data/toolName"), text("/data/error")),
        "approval_requested" => {
            let input = event.pointer("/data/input").cloned().unwrap_or_default();
            eprintln!(
                "\n[{} {input} waits for an approval, {}: {}]",
                text("/data/toolName"),
                text("/data/approvalId"),
                text("/data/reason")
            );
            eprintln!("[answer it on the server's page, or over its API]");
        }
        "turn_response" => return Ok(true),
        _ => {}
    }
    std::io::stdout().flush()?;
    Ok(false)
}

//! `avm chat`: a conversation in a terminal.

use std::{
    collections::VecDeque,
    io::{IsTerminal, Write},
    process::ExitCode,
};

use clap::Args;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use crate::{
    Failure,
    rpc::{Remote, Rpc},
};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    remote: Remote,
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
    let mut rpc = Rpc::connect(&options.remote).await?;
    let image = match options.image {
        Some(image) => image,
        None => create(&mut rpc, &options.container).await?,
    };
    eprintln!("image {image}");
    let lines = BufReader::new(tokio::io::stdin()).lines();
    let mut chat = Chat { rpc, image, lines, asked: VecDeque::new() };
    if let Some(message) = &options.message {
        chat.say(message).await?;
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        eprint!("> ");
        let Some(line) = chat.lines.next_line().await? else { return Ok(ExitCode::SUCCESS) };
        if !line.trim().is_empty() {
            // A turn that failed ends nothing: the next may not.
            if let Err(failure) = chat.say(&line).await {
                eprintln!("[error: {failure}]");
            }
        }
    }
}

async fn create(rpc: &mut Rpc, container: &str) -> Result<String, Failure> {
    rpc.call("container.create", json!({"containerId": container})).await?;
    let created = rpc.call("image.create", json!({"containerId": container})).await?;
    let image = created.pointer("/record/imageId").and_then(Value::as_str);
    Ok(image.ok_or("the server made no image")?.to_owned())
}

struct Chat {
    rpc: Rpc,
    image: String,
    lines: Lines<BufReader<Stdin>>,
    /// Approvals that wait for this person.
    asked: VecDeque<String>,
}

impl Chat {
    /// Says something, and shows what comes until the turn is over.
    async fn say(&mut self, message: &str) -> Result<(), Failure> {
        let params = json!({"imageId": self.image, "content": message});
        let id = json!(self.rpc.send("message.send", params).await?);
        let (mut over, mut answered, mut failed) = (false, false, None);
        // Whether lines can still come.
        let mut hears = true;
        while !(over && answered) {
            let frame = tokio::select! {
                frame = self.rpc.next() => frame?,
                line = self.lines.next_line(), if hears && !self.asked.is_empty() => {
                    match line? {
                        Some(line) => self.answer(&line).await?,
                        None => {
                            hears = false;
                            eprintln!("[answer it on the server's page, or over its API]");
                        }
                    }
                    continue;
                }
            };
            if frame.get("id") == Some(&id) {
                if let Some(error) = frame.pointer("/error/message") {
                    return Err(error.as_str().unwrap_or("the server refused").to_owned().into());
                }
                answered = true;
            } else if let Some(event) = frame.pointer("/params/event")
                && event.pointer("/context/imageId").and_then(Value::as_str) == Some(self.image.as_str())
            {
                over |= self.show(event)?;
                if event.get("type").and_then(Value::as_str) == Some("error_occurred") {
                    failed = event.pointer("/data/message").and_then(Value::as_str).map(str::to_owned);
                }
            }
        }
        self.asked.clear();
        println!();
        failed.map_or(Ok(()), |message| Err(message.into()))
    }

    /// Answers what was asked first: a `y` allows it, an `n` denies it, and so does anything else, which is the reason.
    async fn answer(&mut self, line: &str) -> Result<(), Failure> {
        let line = line.trim();
        if line.is_empty() {
            return prompt();
        }
        let Some(approval) = self.asked.pop_front() else { return Ok(()) };
        let (decision, value) = match line.to_lowercase().as_str() {
            "y" | "yes" => ("allow", None),
            "n" | "no" => ("deny", None),
            _ => ("deny", Some(line)),
        };
        let params =
            json!({"imageId": self.image, "approvalId": approval, "decision": decision, "value": value});
        // Somebody else may have answered first: the turn tells.
        if let Err(failure) = self.rpc.call("approval.answer", params).await {
            eprintln!("[{failure}]");
        }
        if self.asked.is_empty() { Ok(()) } else { prompt() }
    }

    /// Shows an event; whether it was the turn's last.
    fn show(&mut self, event: &Value) -> Result<bool, Failure> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let input = || event.pointer("/data/input").cloned().unwrap_or_default();
        match text("/type") {
            "text_delta" => print!("{}", text("/data/text")),
            "tool_executing" => eprintln!("\n[{} {}]", text("/data/toolName"), input()),
            "tool_failed" => eprintln!("[{} failed: {}]", text("/data/toolName"), text("/data/error")),
            "approval_requested" => {
                let (tool, why) = (text("/data/toolName"), text("/data/reason"));
                eprintln!("\n[{tool} {} asks for a permission: {why}]", input());
                self.asked.push_back(text("/data/approvalId").to_owned());
                if self.asked.len() == 1 {
                    prompt()?;
                }
            }
            "approval_answered" => self.asked.retain(|asked| asked != text("/data/approvalId")),
            "turn_response" => return Ok(true),
            _ => {}
        }
        std::io::stdout().flush()?;
        Ok(false)
    }
}

fn prompt() -> Result<(), Failure> {
    let mut stderr = std::io::stderr();
    let told = if std::io::stdin().is_terminal() { "[allow it? y, n, or why not] " } else { "" };
    stderr.write_all(told.as_bytes())?;
    Ok(stderr.flush()?)
}

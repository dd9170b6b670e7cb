//! `avm chat`: a conversation in a terminal.

use std::{
    collections::VecDeque,
    io::{IsTerminal, Write, stdout},
    process::ExitCode,
    sync::Arc,
};

use agentx::{
    ApprovalId, ContainerId, Decision, ErrorKind, Event, EventData, ImageId, ImageSpec,
    client::{Conversation, ConversationExt, RemoteAgent, RemoteRuntime},
    core::OutcomeKind,
};
use clap::Args;
use futures::{Stream, StreamExt};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines, Stdin},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{Failure, remote::Remote, terminal::plain};

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
    let runtime = options.remote.connect().await?;
    let image = match options.image {
        Some(image) => ImageId::new(image)?,
        None => create(&runtime, options.container).await?,
    };
    eprintln!("image {image}");
    let agent = runtime.run(&image).await?;
    let lines = BufReader::new(tokio::io::stdin()).lines();
    let interrupts = signal(SignalKind::interrupt())?;
    let mut chat = Chat { agent, lines, hears: true, asked: VecDeque::new(), interrupts };
    chat.go_on().await?;
    if let Some(message) = &options.message {
        chat.say(message).await?;
        return Ok(ExitCode::SUCCESS);
    }
    loop {
        eprint!("> ");
        let line = tokio::select! {
            line = chat.lines.next_line() => line?,
            _ = chat.interrupts.recv() => None,
        };
        let Some(line) = line else { return Ok(ExitCode::SUCCESS) };
        if !line.trim().is_empty() {
            // A turn that failed ends nothing: the next may not.
            if let Err(failure) = chat.say(&line).await {
                eprintln!("[error: {}]", crate::told(&*failure));
            }
        }
    }
}

async fn create(runtime: &RemoteRuntime, container: String) -> Result<ImageId, Failure> {
    let container = ContainerId::new(container)?;
    runtime.create_container(&container).await?;
    Ok(runtime.create_image(&container, ImageSpec::default()).await?.image_id)
}

struct Chat {
    agent: RemoteAgent,
    lines: Lines<BufReader<Stdin>>,
    /// Whether lines can still come.
    hears: bool,
    /// Approvals that wait for this person.
    asked: VecDeque<ApprovalId>,
    interrupts: Signal,
}

impl Chat {
    /// Follows a turn that waits for a permission since before this came.
    async fn go_on(&mut self) -> Result<(), Failure> {
        // First the events: what is answered meanwhile is told by them.
        let events = self.agent.events(None).await?;
        let waiting = self.agent.approvals().await?;
        if waiting.is_empty() {
            return Ok(());
        }
        for waiting in waiting {
            self.ask(waiting.approval_id, &waiting.call.name, &waiting.call.input, &waiting.reason)?;
        }
        self.follow(events).await
    }

    /// Says something, and shows what comes until the turn is over.
    async fn say(&mut self, message: &str) -> Result<(), Failure> {
        let mut turn = tokio::select! {
            sent = self.agent.send(message) => sent?,
            _ = self.interrupts.recv() => return Err("given up: it may have been sent".into()),
        };
        self.follow(&mut turn).await?;
        turn.finish().await?;
        Ok(())
    }

    /// Shows events up to the end of a turn.
    async fn follow(&mut self, mut events: impl Stream<Item = Arc<Event>> + Unpin) -> Result<(), Failure> {
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(event) => {
                        self.show(&event.data)?;
                        if let EventData::TurnResponse { .. } = event.data {
                            break;
                        }
                    }
                    None => break,
                },
                line = self.lines.next_line(), if self.hears && !self.asked.is_empty() => match line? {
                    Some(line) => self.answer(&line).await?,
                    None => {
                        self.hears = false;
                        eprintln!("[answer it on the server's page, or over its API]");
                    }
                },
                // The first ends the turn; another one, which comes before that has an answer, ends this program.
                _ = self.interrupts.recv() => tokio::select! {
                    done = self.agent.interrupt() => done?,
                    _ = self.interrupts.recv() => return Err("given up: the turn may go on".into()),
                },
            }
        }
        self.asked.clear();
        writeln!(stdout())?;
        Ok(())
    }

    /// Shows an event.
    fn show(&mut self, event: &EventData) -> Result<(), Failure> {
        match event {
            EventData::TextDelta { text } => write!(stdout(), "{}", plain(text))?,
            EventData::ToolExecuting { tool_name, input, .. } => {
                eprintln!("\n[{}]", plain(&format!("{tool_name} {input}")));
            }
            EventData::ToolFailed { tool_name, error, .. } => {
                eprintln!("[{}]", plain(&format!("{tool_name} failed: {error}")));
            }
            EventData::ApprovalRequested { approval_id, tool_name, input, reason, .. } => {
                self.ask(approval_id.clone(), tool_name, input, reason)?;
            }
            EventData::ApprovalAnswered { approval_id, .. } => {
                self.asked.retain(|asked| asked != approval_id);
            }
            EventData::Lagged { missed, .. } => eprintln!("\n[{missed} pieces are missing here]"),
            EventData::TurnResponse { outcome, .. } if *outcome != OutcomeKind::Completed => {
                eprintln!("\n[{}]", outcome.as_str());
            }
            _ => {}
        }
        Ok(stdout().flush()?)
    }

    fn ask(&mut self, approval: ApprovalId, tool: &str, input: &Value, why: &str) -> Result<(), Failure> {
        eprintln!("\n[{}]", plain(&format!("{tool} {input} asks for a permission: {why}")));
        self.asked.push_back(approval);
        if self.asked.len() == 1 { prompt() } else { Ok(()) }
    }

    /// Answers what was asked first: a `y` allows it, an `n` denies it, and so does anything else, which is the reason.
    async fn answer(&mut self, line: &str) -> Result<(), Failure> {
        let line = line.trim();
        if line.is_empty() {
            return prompt();
        }
        let Some(approval) = self.asked.pop_front() else { return Ok(()) };
        let decision = match line.to_lowercase().as_str() {
            "y" | "yes" => Decision::Allow,
            "n" | "no" => Decision::Deny("The user denied it.".to_owned()),
            _ => Decision::Deny(line.to_owned()),
        };
        loop {
            match self.agent.answer(&approval, decision.clone()).await {
                // It may have arrived: then this one changes nothing.
                Err(error) if error.kind() == ErrorKind::Lost => {}
                // Somebody else may have answered first: the turn tells.
                Err(error) => break eprintln!("[{error}]"),
                Ok(()) => break,
            }
        }
        if self.asked.is_empty() { Ok(()) } else { prompt() }
    }
}

fn prompt() -> Result<(), Failure> {
    let mut stderr = std::io::stderr();
    let told = if std::io::stdin().is_terminal() { "[allow it? y, n, or why not] " } else { "" };
    stderr.write_all(told.as_bytes())?;
    Ok(stderr.flush()?)
}

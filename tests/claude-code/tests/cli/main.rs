//! What only the claude CLI has: its process, its protocol, its own tools. On both versions, but where it says otherwise.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a host that is killed tells its parent what it has started")]

mod builtin;
mod control;
mod hygiene;
mod kept;
mod large;
mod start;
mod versions;

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use agentx::SystemClock;
use agentx_core::{
    AssistantMessage, AssistantPart, DriverEvent, DriverStream, Message, MessageAssembler, MessageBody,
    MessageId, ModelEvent, Timestamp, Turn, TurnEnd,
};
use agentx_driver_claude::code::ClaudeCode;
use futures::StreamExt;
use serde_json::Value;

/// A turn whose history is what the user and the model said in turns.
fn turn(said: &[&str]) -> Turn {
    let message = |(index, text): (usize, &&str)| {
        let body = if index % 2 == 0 {
            MessageBody::user(*text)
        } else {
            MessageBody::Assistant(AssistantMessage::new(vec![AssistantPart::text(*text)]))
        };
        Message::new(MessageId::new(format!("m{index}")).unwrap(), Timestamp::from_millis(0), body)
    };
    Turn::new(said.iter().enumerate().map(message).collect(), Arc::new(SystemClock))
}

/// What was told of a turn: the messages that are stored, and the end.
async fn told(mut stream: DriverStream) -> (Vec<MessageBody>, TurnEnd) {
    let (mut messages, mut open) = (Vec::new(), MessageAssembler::new());
    while let Some(event) = stream.next().await {
        match event {
            DriverEvent::Model(event) => {
                open.push(&event);
                if let ModelEvent::Stop(_) = event {
                    messages.push(MessageBody::Assistant(std::mem::take(&mut open).finish()));
                }
            }
            DriverEvent::ToolEnd(result) => messages.push(MessageBody::Tool(result)),
            DriverEvent::End(end) => return (messages, end),
            _ => {}
        }
    }
    panic!("a turn without an end: {messages:?}");
}

/// The history of the next turn, in which the user says this.
fn then(mut turn: Turn, told: Vec<MessageBody>, text: &str) -> Turn {
    for body in told.into_iter().chain([MessageBody::user(text)]) {
        let id = MessageId::new(format!("m{}", turn.history.len())).unwrap();
        turn.history.push(Message::new(id, Timestamp::from_millis(0), body));
    }
    turn
}

/// The processes of the CLI that a driver has started.
#[derive(Clone, Default)]
struct Pids(Arc<Mutex<BTreeSet<u64>>>);

impl Pids {
    /// A driver whose processes are noted.
    fn watch(&self, driver: ClaudeCode) -> ClaudeCode {
        let seen = self.0.clone();
        driver.with_observer(move |line| {
            let frame: Value = serde_json::from_slice(line).unwrap_or_default();
            seen.lock().unwrap().extend(frame["response"]["response"]["pid"].as_u64());
        })
    }

    fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap().iter().copied().collect()
    }

    fn count(&self) -> usize {
        self.all().len()
    }

    /// Waits until none of them is there any more.
    async fn are_gone(&self) {
        for pid in self.all() {
            is_gone(pid).await;
        }
    }
}

/// Waits until a process is gone. The kernel tells nobody but its parent.
async fn is_gone(pid: u64) {
    for _ in 0..500 {
        if !Path::new(&format!("/proc/{pid}")).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("process {pid} is left");
}

fn text(messages: &[MessageBody]) -> String {
    messages.iter().map(MessageBody::text).collect()
}

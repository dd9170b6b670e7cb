//! The full Claude driver and a CLI that goes wrong as the real one can't be made to. What runs here stands in for it: a
//! shell script that speaks a few frames. The suite `claude-code` has the real one.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod frames;
mod process;

use std::{sync::Arc, time::Duration};

use agentx::{
    SystemClock,
    claude::code::{ClaudeCode, ClaudeCodeSettings},
    local::LocalProcess,
};
use agentx_core::{
    Driver, DriverEvent, Error, Message, MessageBody, MessageId, Outcome, Timestamp, Turn, TurnEnd,
};
use futures::StreamExt;

/// The answer to `initialize`.
const HELLO: &str = r#"read line
echo '{"type":"control_response","response":{"subtype":"success","request_id":"req_1","response":{"pid":1}}}'
"#;

/// Reads the user's message.
const READ: &str = "read line\n";

/// An answer of the model's, in one piece.
const ANSWER: &str = r#"echo '{"type":"assistant","message":{"id":"1","model":"m","content":[{"type":"text","text":"Hi."}],"stop_reason":"end_turn"}}'
"#;

const RESULT: &str = r#"echo '{"is_error":false,"terminal_reason":"completed","type":"result","subtype":"success"}'
"#;

/// A driver over a script that stands in for the CLI.
fn driver(script: &str, change: impl FnOnce(ClaudeCodeSettings) -> ClaudeCodeSettings) -> ClaudeCode {
    let settings = ClaudeCodeSettings::new("/nonexistent")
        .with_program("sh")
        .with_program_args(["-c", script, "claude"])
        .with_idle_timeout(Duration::from_mins(1));
    let process = LocalProcess::new("/").unwrap();
    ClaudeCode::new(Arc::new(process), change(settings), Arc::new(SystemClock))
}

fn turn(text: &str) -> Turn {
    let id = MessageId::new("m").unwrap();
    let user = Message::new(id, Timestamp::from_millis(0), MessageBody::user(text));
    Turn::new(vec![user], Arc::new(SystemClock))
}

/// Runs a turn to its end.
async fn run(driver: &ClaudeCode, text: &str) -> (Vec<DriverEvent>, TurnEnd) {
    let mut events: Vec<_> = driver.start(turn(text)).collect().await;
    match events.pop() {
        Some(DriverEvent::End(end)) => (events, end),
        other => panic!("no end: {other:?}"),
    }
}

fn failed(end: TurnEnd) -> Error {
    match end.outcome {
        Outcome::Failed(error) => error,
        other => panic!("not failed: {other:?}"),
    }
}

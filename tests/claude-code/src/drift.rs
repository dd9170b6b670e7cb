//! Looks at what a CLI says that the driver has not seen.

use std::sync::{Arc, Mutex, PoisonError};

use agentx::SystemClock;
use agentx_core::{
    Driver, Error, ErrorKind, Message, MessageBody, MessageId, ModelRequest, Reply, Result, ScriptedModel,
    Timestamp, ToolSet, Turn, tool_fn,
};
use agentx_driver_claude::code::{BuiltinTools, ClaudeCodeSettings, Drift, Frame};
use agentx_tests::messages_server::{Fault, MessagesServer};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::{
    Place,
    engine::{said, tool},
};

/// What each turn asks for, and what the server does to it.
const TURNS: [(&str, &[Fault]); 5] =
    [("text", &[]), ("tool", &[]), ("own tool", &[]), ("fail", &[]), ("retry", &[Fault::Overloaded])];

/// Runs turns of each kind on this program, and gives what it said.
///
/// # Errors
/// Where it can't be started, or does not do as it is told.
pub async fn look(program: &str) -> Result<Drift> {
    let drift = Arc::new(Mutex::new(Drift::default()));
    let server = MessagesServer::start(ScriptedModel::new("claude-opus-4-6", answer));
    for (words, faults) in TURNS {
        for fault in faults {
            server.inject(fault.clone());
        }
        turn_of(program, words, &server, &drift).await?;
    }
    server.inject(Fault::ErrorEvent { events: 4, kind: "overloaded_error".to_owned() });
    turn_of(program, "breaks off", &server, &drift).await?;
    control(program, &server, &drift).await?;
    let drift = drift.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(drift.clone())
}

fn answer(request: &ModelRequest) -> Result<Reply> {
    let done = request.tool_results().next().is_some();
    Ok(match said(request).as_str() {
        "fail" => return Err(Error::new(ErrorKind::InvalidInput, "answer")),
        "tool" if !done => Reply::thinking("Hm.").call("c", tool(request, "count"), json!({})),
        "own tool" if !done => Reply::text("I look.").call("c", "Bash", json!({"command": "echo hi"})),
        _ => Reply::text("one two three"),
    })
}

fn driver(
    program: &str,
    place: &Place,
    server: &MessagesServer,
    drift: &Arc<Mutex<Drift>>,
) -> agentx_driver_claude::code::ClaudeCode {
    let home = place.home().display().to_string();
    let tools = BuiltinTools::Only(vec!["Bash".to_owned()]);
    let settings = ClaudeCodeSettings::new(home).with_program(program).with_builtin_tools(tools);
    let drift = drift.clone();
    place
        .driver(settings, server)
        .with_observer(move |line| drift.lock().unwrap_or_else(PoisonError::into_inner).push(line))
}

async fn turn_of(
    program: &str,
    words: &str,
    server: &MessagesServer,
    drift: &Arc<Mutex<Drift>>,
) -> Result<()> {
    let place = Place::new();
    let driver = driver(program, &place, server, drift);
    let _: Vec<_> = driver.start(turn(words)?).collect().await;
    Ok(())
}

/// The requests of the control protocol, and a turn that is interrupted while it waits for a permission.
async fn control(program: &str, server: &MessagesServer, drift: &Arc<Mutex<Drift>>) -> Result<()> {
    let place = Place::new();
    let mut turn = turn("tool")?;
    turn.history.clear();
    let mut cli = driver(program, &place, server, drift).connect(&turn).await?;
    cli.set_permission_mode("acceptEdits").await?;
    cli.set_model("claude-haiku-4-5").await?;
    cli.send_user(&json!("tool"));
    while let Some(frame) = cli.next_frame().await? {
        match frame {
            Frame::Request { .. } => cli.interrupt().await?,
            Frame::Result(_) => break,
            _ => {}
        }
    }
    Ok(())
}

fn turn(words: &str) -> Result<Turn> {
    let id = MessageId::new("m")?;
    let user = Message::new(id, Timestamp::from_millis(0), MessageBody::user(words));
    let count = tool_fn("count", "Counts.", json!({"type": "object"}), async |_: Value| Ok("42"));
    Ok(Turn::new(vec![user], Arc::new(SystemClock)).with_tools(ToolSet::of([Arc::new(count) as _])?))
}

//! `cargo run --release -p agentx-tests-claude-code --bin claude-overhead -- PATH [ROUNDS]`: what the driver adds to the time
//! of the claude CLI at this path, and to the memory of its host. The other side is a script that does no more than it must:
//! it writes the same frames to the same CLI and reads its lines. Both take turns, on processes that are warm.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement without its parts is none"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use agentx::SystemClock;
use agentx_core::{
    Driver, DriverEvent, Message, MessageAssembler, MessageBody, MessageId, Reply, ScriptedModel, Timestamp,
    Turn,
};
use agentx_driver_claude::code::{ClaudeCode, ClaudeCodeSettings};
use agentx_tests::messages_server::MessagesServer;
use agentx_tests_claude_code::{KEY, Place};
use futures::StreamExt;
use serde_json::{Value, json};

/// How many processes the memory is measured over.
const PROCESSES: u32 = 4;

/// From the message to the first event of the answer, and from its last event to the end.
#[derive(Clone, Copy)]
struct Times {
    first: Duration,
    last: Duration,
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(program) = args.next() else {
        eprintln!("usage: claude-overhead PATH [ROUNDS]");
        return ExitCode::from(2);
    };
    let rounds = args.next().and_then(|rounds| rounds.parse().ok()).unwrap_or(40);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let server = runtime.block_on(async {
        MessagesServer::start(ScriptedModel::new("m", |_| Ok(Reply::text("one two three four five"))))
    });
    let place = Place::new();
    let driver = {
        let settings = ClaudeCodeSettings::new(place.home().to_str().unwrap()).with_program(&program);
        place.driver(settings, &server)
    };
    let mut script = Script::start(&program, &place, &server.base_url());
    let mut turn = turn("Hello.");
    let (mut scripts, mut drivers) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let mut both = [Times { first: Duration::ZERO, last: Duration::ZERO }; 2];
        // Who is first takes turns too.
        for side in [round % 2, 1 - round % 2] {
            if side == 0 {
                both[0] = script.turn();
                continue;
            }
            let work = driven(driver.clone(), turn.clone());
            let (times, said) = runtime.block_on(async { tokio::spawn(work).await.unwrap() });
            both[1] = times;
            turn = next(turn, said);
        }
        // The first round starts the driver's process.
        if round > 0 {
            scripts.push(both[0]);
            drivers.push(both[1]);
        }
    }
    println!("{rounds} turns of {program}, medians (quartiles) in ms");
    for (name, of) in [
        ("message to first event", (|times| times.first) as fn(&Times) -> Duration),
        ("last event to end", |times| times.last),
    ] {
        let (script, driver) = (spread(scripts.iter().map(of)), spread(drivers.iter().map(of)));
        println!("  {name:<24} script {script:<24} driver {driver}");
        let beyond =
            drivers.iter().zip(&scripts).map(|(driver, script)| millis(of(driver)) - millis(of(script)));
        println!("  {:<24} {}", "  beyond, in pairs", quartiles(beyond.collect()));
    }
    assert_eq!(driver.idle(), 1, "the driver kept its process");
    println!("  memory of the host for each process: {} KiB", memory(&runtime, &driver));
    ExitCode::SUCCESS
}

/// A conversation of one message.
fn turn(text: &str) -> Turn {
    Turn::new(vec![message(0, MessageBody::user(text))], Arc::new(SystemClock))
}

fn message(index: usize, body: MessageBody) -> Message {
    Message::new(MessageId::new(format!("m{index}")).unwrap(), Timestamp::from_millis(0), body)
}

/// The next turn of the conversation, in which the model has said this.
fn next(mut turn: Turn, said: MessageBody) -> Turn {
    for body in [said, MessageBody::user("Hello.")] {
        turn.history.push(message(turn.history.len(), body));
    }
    turn
}

async fn driven(driver: ClaudeCode, turn: Turn) -> (Times, MessageBody) {
    let start = Instant::now();
    let mut stream = driver.start(turn);
    let (mut first, mut last) = (None, start);
    let mut said = MessageAssembler::new();
    while let Some(event) = stream.next().await {
        match event {
            DriverEvent::Model(event) => {
                last = Instant::now();
                first.get_or_insert(last - start);
                said.push(&event);
            }
            DriverEvent::End(end) => assert_eq!(end.outcome.as_str(), "completed", "{end:?}"),
            _ => {}
        }
    }
    let times = Times { first: first.unwrap(), last: last.elapsed() };
    (times, MessageBody::Assistant(said.finish()))
}

/// How much the host grows for a process that it keeps.
fn memory(runtime: &tokio::runtime::Runtime, driver: &ClaudeCode) -> u64 {
    let before = resident();
    for index in 0..PROCESSES {
        let mut other = turn("Hello.").with_system(format!("{index}"));
        other.history.clear();
        runtime.block_on(driver.warm(&other)).unwrap();
    }
    resident().saturating_sub(before) / u64::from(PROCESSES)
}

/// The resident memory of this process, in KiB.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The least that can feed the CLI.
struct Script {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Script {
    fn start(program: &str, place: &Place, url: &str) -> Self {
        let home = place.home().with_file_name("script");
        let mut child = Command::new(program)
            .args(["-p", "--input-format=stream-json", "--output-format=stream-json", "--verbose", "--bare"])
            .args([
                "--include-partial-messages",
                "--permission-prompt-tool=stdio",
                "--setting-sources=",
                "--tools=",
            ])
            .args(["--no-session-persistence", "--disable-slash-commands", "--strict-mcp-config"])
            .env_clear()
            .env("HOME", &home)
            .env("CLAUDE_CONFIG_DIR", home.join(".claude"))
            .env("PATH", "/usr/bin:/bin")
            .env("ANTHROPIC_API_KEY", KEY)
            .env("ANTHROPIC_BASE_URL", url)
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1")
            .current_dir(place.work())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut script = Self { child, input, output };
        let request = json!({"subtype": "initialize", "systemPrompt": "", "hooks": {}});
        script.write(&json!({"type": "control_request", "request_id": "1", "request": request}));
        while script.read()["type"] != "control_response" {}
        script
    }

    fn turn(&mut self) -> Times {
        let start = Instant::now();
        let message = json!({"role": "user", "content": [{"type": "text", "text": "Hello."}]});
        self.write(
            &json!({"type": "user", "message": message, "parent_tool_use_id": null, "session_id": ""}),
        );
        let (mut first, mut last) = (None, start);
        loop {
            let frame = self.read();
            if frame["type"] == "stream_event" {
                last = Instant::now();
                first.get_or_insert(last - start);
            }
            if frame["type"] == "result" {
                return Times { first: first.unwrap(), last: last.elapsed() };
            }
        }
    }

    fn write(&mut self, frame: &Value) {
        self.input.write_all(format!("{frame}\n").as_bytes()).unwrap();
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        assert!(self.output.read_line(&mut line).unwrap() > 0, "the CLI has ended");
        serde_json::from_str(&line).unwrap_or_default()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        assert!(ended.is_ok(), "{ended:?}");
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn spread(times: impl Iterator<Item = Duration>) -> String {
    quartiles(times.map(millis).collect())
}

fn quartiles(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let at = |quarter: usize| values[(values.len() - 1) * quarter / 4];
    format!("{:.2} ({:.2} – {:.2})", at(2), at(1), at(3))
}

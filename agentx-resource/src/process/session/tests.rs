//! Over a shell of a few words that is a Rust function: what the session does with the answers, and without them.
//! What real shells make of what it sends stands in agentx-provider-local/tests/process_session.rs.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, executor::block_on, future::join};

use super::*;
use crate::{
    ExecEvent, ExitStatus, OutputLimit,
    memory::{ManualClock, MemoryProcess, ProgramContext},
};

struct World {
    session: ShellSession,
    clock: ManualClock,
    /// How many shells are there.
    alive: Arc<AtomicUsize>,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn world() -> World {
    let (clock, alive) = (ManualClock::default(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&alive);
    let process = MemoryProcess::new(Arc::new(clock.clone())).program("sh", move |context| {
        count.fetch_add(1, Ordering::SeqCst);
        let alive = Alive(Arc::clone(&count));
        async move {
            let code = shell(context).await;
            drop(alive);
            code
        }
    });
    let session = ShellSession::new(Arc::new(process), Arc::new(clock.clone()));
    World { session, clock, alive }
}

/// Reads what a session sends, and does a few things for commands of two words.
async fn shell(mut context: ProgramContext) -> i32 {
    let mut directory = "/".to_owned();
    let mut variables = BTreeMap::new();
    let mut input = String::new();
    while let Some(piece) = context.stdin.read().await {
        input.push_str(str::from_utf8(&piece).unwrap());
        while let Some(end) = end_of_line(&input) {
            let line: String = input.drain(..end).collect();
            if let Some((_, rest)) = line.split_once("\\command cd -- '") {
                directory = rest.split_once('\'').unwrap().0.to_owned();
            } else if let Some((_, rest)) = line.split_once("\\command eval '") {
                let (command, rest) = rest.split_once("' <&2").unwrap();
                let (name, argument) = command.split_once(' ').unwrap_or((command, ""));
                let mut status = 0;
                match name {
                    "out" => context.stdout.write(argument.to_owned()).await,
                    "err" => context.stderr.write(argument.to_owned()).await,
                    "cd" => directory = argument.to_owned(),
                    "set" => drop(variables.insert("x", argument.to_owned())),
                    "get" => context.stdout.write(variables.get("x").cloned().unwrap_or_default()).await,
                    "fail" => status = argument.parse().unwrap(),
                    "exit" => return argument.parse().unwrap(),
                    "line" => context.stdout.write(line.clone()).await,
                    "hang" => {
                        context.stdout.write("begun").await;
                        std::future::pending::<()>().await;
                    }
                    "flood" => loop {
                        context.stdout.write("y\n").await;
                    },
                    "garble" => {
                        let mark = mark(rest);
                        context.stdout.write(format!("{mark}no answer{mark}")).await;
                        context.stderr.write(mark).await;
                        std::future::pending::<()>().await;
                    }
                    other => panic!("{other}"),
                }
                answer(&context, status, &directory, &mark(rest)).await;
            } else if line.starts_with('_') && !line.contains("() {") {
                answer(
                    &context,
                    0,
                    &directory,
                    &mark(&format!("\"$?\"{}", line.split_once(" 0").unwrap().1)),
                )
                .await;
            }
        }
    }
    0
}

/// Where the first line ends: at a newline that is not quoted.
fn end_of_line(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.bytes()
        .position(|byte| {
            quoted ^= byte == b'\'';
            byte == b'\n' && !quoted
        })
        .map(|end| end + 1)
}

fn mark(line: &str) -> String {
    let mut words = line.split_once("\"$?\" ").unwrap().1.split([' ', ';', '|', '\n']);
    format!("\x1e{}{}", words.next().unwrap(), words.next().unwrap())
}

async fn answer(context: &ProgramContext, status: i32, directory: &str, mark: &str) {
    context.stdout.write(format!("{mark}{status} {directory}{mark}")).await;
    context.stderr.write(mark.to_owned()).await;
}

fn plain() -> ShellOptions {
    ShellOptions::default()
}

#[test]
fn state_is_kept_and_the_streams_are_apart() {
    let World { session, alive, .. } = world();
    block_on(async {
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        session.run("set 7", plain()).await.unwrap();
        let got = session.run("get", plain()).await.unwrap();
        assert_eq!((got.output.stdout_text(), got.output.status), ("7".into(), ExitStatus::Code(0)));
        assert!(!got.restarted && !got.ended);
        let failed = session.run("err no", plain()).await.unwrap();
        assert_eq!((failed.output.stdout, failed.output.stderr), (Bytes::new(), "no".into()));
        let moved = session.run("cd /a b", plain()).await.unwrap();
        assert_eq!(moved.cwd.as_deref(), Some("/a b"));
        assert_eq!(alive.load(Ordering::SeqCst), 1);
    });
    drop(session);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn the_status_of_the_command_before_is_handed_on() {
    let World { session, .. } = world();
    block_on(async {
        let line = async || session.run("line", plain()).await.unwrap().output.stdout_text().into_owned();
        assert!(line().await.starts_with("\\command eval"));
        assert_eq!(session.run("fail 7", plain()).await.unwrap().output.status, ExitStatus::Code(7));
        assert!(line().await.starts_with("{ (\\exit 7);}"));
        session.run("fail 1", plain()).await.unwrap();
        assert!(line().await.starts_with("! \\command :;"));
        assert!(line().await.starts_with("\\command eval"));
    });
}

#[test]
fn a_shell_that_ends_is_told_and_replaced() {
    let World { session, .. } = world();
    block_on(async {
        session.run("cd /a", plain()).await.unwrap();
        let ended = session.run("exit 3", plain()).await.unwrap();
        assert_eq!((ended.output.status, ended.ended, ended.restarted), (ExitStatus::Code(3), true, false));
        assert_eq!(ended.cwd.as_deref(), Some("/a"));
        let next = session.run("out x", plain()).await.unwrap();
        assert_eq!((next.ended, next.restarted, next.cwd.as_deref()), (false, true, Some("/a")));
        assert!(!session.run("out x", plain()).await.unwrap().restarted);
        session.restart().await;
        let fresh = session.run("out x", plain()).await.unwrap();
        assert_eq!((fresh.restarted, fresh.cwd.as_deref()), (true, Some("/")));
    });
}

#[test]
fn a_command_that_hangs_ends_with_its_shell_and_keeps_its_output() {
    let World { session, clock, alive } = world();
    let mut run = Box::pin(session.run("hang", plain().with_timeout(Duration::from_secs(5))));
    assert!((&mut run).now_or_never().is_none());
    clock.advance(Duration::from_secs(5));
    let hung = block_on(run).unwrap();
    assert_eq!((hung.output.status, hung.ended), (ExitStatus::TimedOut, true));
    assert_eq!(hung.output.stdout, "begun");
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert!(block_on(session.run("out x", plain())).unwrap().restarted);
}

#[test]
fn silence_is_counted_from_the_last_output() {
    let World { session, clock, .. } = world();
    let mut run = Box::pin(session.run("hang", plain().with_idle_timeout(Duration::from_secs(5))));
    assert!((&mut run).now_or_never().is_none());
    clock.advance(Duration::from_secs(5));
    assert_eq!(block_on(run).unwrap().output.status, ExitStatus::TimedOut);
}

#[test]
fn a_dropped_command_takes_its_shell_with_it() {
    let World { session, alive, .. } = world();
    block_on(session.run("set 7", plain())).unwrap();
    assert!(session.run("hang", plain()).now_or_never().is_none());
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    let next = block_on(session.run("get", plain())).unwrap();
    assert_eq!((next.restarted, next.output.stdout), (true, Bytes::new()));
}

#[test]
fn a_command_waits_for_its_turn_and_may_be_dropped_there() {
    let World { session, .. } = world();
    block_on(async {
        let mut first = session.start("out a", plain()).await.unwrap();
        assert!(session.run("out b", plain()).now_or_never().is_none());
        let read = async {
            while first.next_event().await.unwrap().is_some() {}
            first.ended()
        };
        let (ended, second) = join(read, session.run("out c", plain())).await;
        let second = second.unwrap();
        assert!(!ended && !second.restarted);
        assert_eq!(second.output.stdout, "c");
    });
}

#[test]
fn output_is_cut_in_its_middle_and_the_shell_stays() {
    let World { session, .. } = world();
    let limit = OutputLimit::head_and_tail(3, 2);
    block_on(async {
        let cut = session.run("out abcdefgh", plain().with_output_limit(limit)).await.unwrap();
        assert_eq!((cut.output.stdout_head, cut.output.stdout_dropped), (3, 3));
        assert_eq!((cut.output.stdout, cut.ended), ("abcgh".into(), false));
        let mut command = session.start("out abcd", plain().with_output_limit(limit)).await.unwrap();
        let mut events = Vec::new();
        while let Some(event) = command.next_event().await.unwrap() {
            events.push(event);
        }
        assert_eq!(events[0], ExecEvent::Stdout("abc".into()));
        assert_eq!(events[1..], [ExecEvent::Stdout("d".into()), ExecEvent::Exited(ExitStatus::Code(0))]);
        let kill = OutputLimit::kill(10);
        let killed = session.run("flood", plain().with_output_limit(kill)).await.unwrap();
        assert_eq!((killed.output.status, killed.ended), (ExitStatus::OutputLimit, true));
        assert_eq!(killed.output.stdout, "y\ny\ny\ny\ny\n");
    });
}

#[test]
fn what_is_no_answer_ends_the_shell_and_is_never_a_success() {
    let World { session, alive, .. } = world();
    let garbled = block_on(session.run("garble", plain())).unwrap();
    assert_eq!((garbled.output.status, garbled.ended), (ExitStatus::Lost, true));
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn a_shell_that_does_not_start_is_an_error() {
    let clock = ManualClock::default();
    let process = MemoryProcess::new(Arc::new(clock.clone()))
        .program("mute", |_| std::future::pending())
        .program("broken", |context| async move {
            context.stderr.write("no memory\n").await;
            2
        });
    let process: Arc<dyn Process> = Arc::new(process);
    let session = |program: &str| {
        ShellSession::new(Arc::clone(&process), Arc::new(clock.clone()))
            .with_request(ExecRequest::program(program, [""; 0]))
    };
    let missing = block_on(session("nope").run("out x", plain())).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let broken = block_on(session("broken").run("out x", plain())).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::Unavailable);
    assert!(broken.message().contains("no memory"), "{broken}");
    let mute = session("mute");
    let mut run = Box::pin(mute.run("out x", plain()));
    assert!((&mut run).now_or_never().is_none());
    clock.advance(Duration::from_secs(10));
    assert_eq!(block_on(run).unwrap_err().kind(), ErrorKind::TimedOut);
    let nul = block_on(mute.run("a\0b", plain())).unwrap_err();
    assert_eq!(nul.kind(), ErrorKind::InvalidInput);
}

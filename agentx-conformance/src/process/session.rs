//! The suite for a process under a [`ShellSession`]: that a shell which stays can stand on it.
//!
//! The factory gives a process whose root is an empty directory, and which finds `sh`, a POSIX shell, and the programs
//! `cat env mkdir printf sleep yes`. Without live input, a session must be refused, and that is all that is tried.

use std::{sync::Arc, time::Duration};

use agentx_resource::{
    ErrorKind, ExecEvent, ExecRequest, ExitStatus, OutputLimit, Process, ProcessExt, ResourcePath,
    ShellOptions, ShellOutput, ShellSession,
};
use futures::{FutureExt, future::join_all};

use super::support::{LONG, Subject, ends, has_shell};
use crate::{
    Failure, Outcome,
    clock::TokioClock,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// Makes a module of tests: one for each case of the suite for a process under a shell that stays. See the
/// [crate](crate) for what the arguments are.
#[macro_export]
macro_rules! process_session_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::process_session_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__process_session_cases!(__tests { process_session $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __process_session_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            session_state session_status session_streams session_no_newline session_binary session_long
            session_input session_syntax session_closes_output session_begins session_variables session_turns
            session_streaming session_limit session_limit_kills session_exit session_exec session_signal
            session_directory session_timeout session_idle session_drop session_drop_ends session_restart
        }
    };
}

crate::__process_session_cases!(__table { dyn Process });

/// Long enough for a loaded machine. What takes longer hangs.
fn options() -> ShellOptions {
    ShellOptions::default().with_timeout(Duration::from_secs(30))
}

/// A session, unless there is none without live input.
async fn session(process: &Subject) -> Result<Option<ShellSession>, Failure> {
    let session = ShellSession::new(Arc::clone(process), Arc::new(TokioClock));
    if process.capabilities().live_stdin {
        return Ok(Some(session));
    }
    ensure_kind(session.run(":", options()).await, ErrorKind::Unsupported, "a session without live input")?;
    Ok(None)
}

async fn run(session: &ShellSession, command: &str) -> Result<ShellOutput, Failure> {
    Ok(session.run(command, options()).await?)
}

/// Runs a command that must succeed in the shell of the one before.
async fn told(session: &ShellSession, command: &str) -> Result<String, Failure> {
    let output = run(session, command).await?;
    ensure_eq(output.output.status, ExitStatus::Code(0), command)?;
    ensure(!output.ended && !output.restarted, format!("the shell did not stay: {output:?}"))?;
    Ok(output.output.stdout_text().into_owned())
}

pub(super) async fn session_state(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    told(&session, "x='a  b'; f() { echo \"f $1\"; }; export Y=1").await?;
    ensure_eq(told(&session, "echo \"$x\"; f 2").await?, "a  b\nf 2\n", "what is kept")?;
    let variables = told(&session, "env").await?;
    ensure(variables.lines().any(|line| line == "Y=1"), "an exported variable is lost")
}

pub(super) async fn session_status(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    for code in [3, 1, 255] {
        let output = run(&session, &format!("(exit {code})")).await?;
        ensure_eq(output.output.status, ExitStatus::Code(code), "the status")?;
        ensure(!output.ended, "a command that fails ends the shell")?;
        ensure_eq(told(&session, "echo $?").await?, format!("{code}\n"), "the status before, as `$?`")?;
    }
    ensure_eq(told(&session, "echo $?").await?, "0\n", "the status before, as `$?`")
}

pub(super) async fn session_streams(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    let output = run(&session, "echo out; echo err >&2; echo more").await?;
    ensure_eq(&output.output.stdout, "out\nmore\n", "standard output")?;
    ensure_eq(&output.output.stderr, "err\n", "standard error")?;
    let output = run(&session, "echo err >&2").await?;
    ensure_eq((&*output.output.stdout, &*output.output.stderr), (&b""[..], &b"err\n"[..]), "the streams")
}

pub(super) async fn session_no_newline(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    for _ in 0..3 {
        let output = run(&session, "printf out; printf err >&2").await?;
        ensure_eq(
            (&*output.output.stdout, &*output.output.stderr),
            (&b"out"[..], &b"err"[..]),
            "the streams",
        )?;
        ensure_eq(told(&session, ":").await?, "", "a command that writes nothing")?;
    }
    Ok(())
}

pub(super) async fn session_binary(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    let bytes: Vec<u8> = (0..=255).chain([0x1e]).collect();
    let format = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect::<Vec<_>>().concat();
    let output = run(&session, &format!("printf '{format}'; printf '{format}' >&2")).await?;
    ensure_eq(&output.output.stdout, &bytes[..], "standard output")?;
    ensure_eq(&output.output.stderr, &bytes[..], "standard error")
}

pub(super) async fn session_long(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    let text = "it's long\n".repeat(20_000);
    let command = format!("x='{}'; printf %s \"$x\"", text.replace('\'', "'\\''"));
    for _ in 0..10 {
        ensure(told(&session, &command).await? == text, "a long command, and long output")?;
    }
    Ok(())
}

pub(super) async fn session_input(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    ensure_eq(told(&session, "cat; read x || echo end; cat").await?, "end\n", "commands that read")?;
    ensure_eq(told(&session, "echo more").await?, "more\n", "the command after them")
}

pub(super) async fn session_syntax(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    told(&session, "x=1").await?;
    for command in ["echo 'open", "if true", "fi", "echo \"open", "(", "for"] {
        let output = run(&session, command).await?;
        ensure(matches!(output.output.status, ExitStatus::Code(1..)), format!("{command}: {output:?}"))?;
        ensure(!output.output.stderr.is_empty(), format!("{command}: nothing is said"))?;
        ensure_eq(told(&session, "echo $x").await?, "1\n", format!("the state after {command}"))?;
    }
    ensure_eq(told(&session, "cat <<E\nopen").await?.trim_end(), "open", "an open here-document")?;
    ensure_eq(told(&session, "echo $x").await?, "1\n", "the state after it")
}

pub(super) async fn session_closes_output(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    for command in ["exec >&-", "exec 2>&-", "exec <&- >&- 2>&-", "exec >/dev/null 2>&1", "exec 7>&1 8>&1"] {
        run(&session, command).await?;
        let output = run(&session, "echo out; echo err >&2").await?;
        ensure(!output.restarted, format!("{command} ends the shell"))?;
        ensure_eq(&output.output.stdout, "out\n", format!("standard output after {command}"))?;
        ensure_eq(&output.output.stderr, "err\n", format!("standard error after {command}"))?;
    }
    Ok(())
}

pub(super) async fn session_begins(process: Subject) -> Outcome {
    let Some(at_root) = session(&process).await? else { return Ok(()) };
    let root = process.capabilities().root;
    ensure_eq(told(&at_root, "pwd; mkdir sub").await?, format!("{root}\n"), "where a session begins")?;
    let request = ExecRequest::program("sh", [""; 0]).with_cwd(ResourcePath::new("/sub")?);
    let below = ShellSession::new(process, Arc::new(TokioClock)).with_request(request);
    let expected = format!("{}/sub", root.trim_end_matches('/'));
    let output = run(&below, "pwd").await?;
    ensure_eq(
        output.output.stdout_text(),
        format!("{expected}\n"),
        "where a session begins that is told where",
    )?;
    ensure_eq(output.cwd, Some(expected), "what is told of it")
}

pub(super) async fn session_variables(process: Subject) -> Outcome {
    if session(&process).await?.is_none() {
        return Ok(());
    }
    let request = ExecRequest::program("sh", [""; 0]).with_env("GREETING", "it's").with_env("EMPTY", "");
    let session = ShellSession::new(process, Arc::new(TokioClock)).with_request(request);
    let found = told(&session, "echo \"$GREETING${EMPTY-unset}\"").await?;
    ensure_eq(found, "it's\n", "the variables of the request")
}

pub(super) async fn session_turns(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    told(&session, "n=0").await?;
    let commands = (0..16).map(|number| {
        let session = &session;
        async move {
            let found = told(session, &format!("printf '{number} '; n=$((n + 1)); echo {number}")).await?;
            ensure_eq(found, format!("{number} {number}\n"), "the output of one of many")
        }
    });
    join_all(commands).await.into_iter().collect::<Outcome>()?;
    ensure_eq(told(&session, "echo $n").await?, "16\n", "how many commands ran")
}

pub(super) async fn session_streaming(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    let mut command = session.start(&format!("echo begun; sleep {LONG}"), options()).await?;
    let first = command.next_event().await?;
    ensure_eq(first, Some(ExecEvent::Stdout("begun\n".into())), "what is told before the end")
}

pub(super) async fn session_limit(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    told(&session, "x=1").await?;
    let limit = options().with_output_limit(OutputLimit::head_and_tail(10, 6));
    let flood = "i=0; while [ $i -lt 40000 ]; do echo y23456789012345678901234567890; i=$((i + 1)); done; printf 'the end'";
    let output = session.run(flood, limit).await?;
    ensure_eq(&output.output.stdout, "y234567890he end", "the head and the tail")?;
    let all = 40_000 * 31 + 7;
    ensure_eq(
        (output.output.stdout_head, output.output.stdout_dropped),
        (10, all - 16),
        "what is missing, and where",
    )?;
    ensure_eq(told(&session, "echo $x").await?, "1\n", "the state after it")
}

pub(super) async fn session_limit_kills(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    let limit = options().with_output_limit(OutputLimit::kill(10));
    let output = session.run("yes", limit).await?;
    ensure_eq((output.output.status, output.ended), (ExitStatus::OutputLimit, true), "the end")?;
    ensure_eq(&output.output.stdout, "y\ny\ny\ny\ny\n", "what is kept")?;
    begins_anew(&session).await
}

/// The next command runs in a new shell, and says so.
async fn begins_anew(session: &ShellSession) -> Outcome {
    let output = run(session, "echo \"x=$x\"").await?;
    ensure(output.restarted, "it is not told that the shell is a new one")?;
    ensure_eq(&output.output.stdout, "x=\n", "the state of the new shell")?;
    ensure_eq(told(session, "echo more").await?, "more\n", "the command after that")
}

pub(super) async fn session_exit(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    for (command, code) in [("x=1; echo said; exit 3", 3), ("x=1; set -e; echo said; false; echo on", 1)] {
        let output = run(&session, command).await?;
        ensure_eq((output.output.status, output.ended), (ExitStatus::Code(code), true), command)?;
        ensure_eq(&output.output.stdout, "said\n", "what it wrote")?;
        begins_anew(&session).await?;
    }
    Ok(())
}

pub(super) async fn session_exec(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    let output = run(&session, "x=1; exec printf replaced").await?;
    ensure_eq((output.output.status, output.ended), (ExitStatus::Code(0), true), "the end")?;
    ensure_eq(&output.output.stdout, "replaced", "what the program wrote")?;
    begins_anew(&session).await
}

pub(super) async fn session_signal(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    let output = run(&session, "x=1; kill -9 $$").await?;
    ensure_eq((output.output.status, output.ended), (ExitStatus::Signal(9), true), "the end")?;
    begins_anew(&session).await
}

pub(super) async fn session_directory(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    let root = process.capabilities().root;
    let expected = format!("{}/it's a\nname", root.trim_end_matches('/'));
    let output = run(&session, "mkdir \"it's a\nname\"; cd \"it's a\nname\"").await?;
    ensure_eq(output.cwd.as_deref(), Some(&*expected), "the directory after `cd`")?;
    run(&session, "exit").await?;
    let output = run(&session, "pwd").await?;
    ensure_eq(output.output.stdout_text(), format!("{expected}\n"), "where the next shell begins")?;
    ensure_eq(output.cwd, Some(expected), "what is told of it")?;
    // Where it is no longer there, the truth is told.
    run(&session, "rmdir \"$PWD\"; exit").await?;
    let output = run(&session, "pwd").await?;
    ensure_eq(
        output.output.stdout_text(),
        format!("{root}\n"),
        "where a shell begins whose directory is gone",
    )?;
    ensure_eq(output.cwd, Some(root), "what is told of it")
}

pub(super) async fn session_timeout(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    told(&session, "x=1").await?;
    let hang = format!("echo begun; sleep {LONG}");
    let output = session.run(&hang, ShellOptions::default().with_timeout(Duration::from_secs(2))).await?;
    ensure_eq((output.output.status, output.ended), (ExitStatus::TimedOut, true), "the end")?;
    ensure_eq(&output.output.stdout, "begun\n", "what came before")?;
    begins_anew(&session).await
}

pub(super) async fn session_idle(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    let options = options().with_idle_timeout(Duration::from_secs(2));
    let spared = session.run("for i in 1 2 3; do sleep 1; echo $i; done", options).await?;
    ensure_eq(spared.output.status, ExitStatus::Code(0), "a command that is never silent for long")?;
    let output = session.run(&format!("echo begun; sleep {LONG}"), options).await?;
    ensure_eq((output.output.status, output.ended), (ExitStatus::TimedOut, true), "the end of a silent one")?;
    begins_anew(&session).await
}

pub(super) async fn session_drop(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    for _ in 0..3 {
        told(&session, "x=1").await?;
        let sleep = format!("sleep {LONG}");
        let run = session.run(&sleep, options());
        ensure(run.now_or_never().is_none(), "a sleep ended at once")?;
        begins_anew(&session).await?;
    }
    // What is dropped before its turn has come changes nothing.
    let mut first = session.start("x=1", options()).await?;
    ensure(session.run("x=2", options()).now_or_never().is_none(), "a command did not wait")?;
    while first.next_event().await?.is_some() {}
    ensure_eq(told(&session, "echo $x").await?, "1\n", "the state")
}

pub(super) async fn session_drop_ends(process: Subject) -> Outcome {
    if !has_shell(&process).await? {
        return Ok(());
    }
    let Some(session) = session(&process).await? else { return Ok(()) };
    let background = format!("sleep {LONG} >/dev/null 2>&1 & echo $!");
    let mut command = session.start(&format!("{background}; sleep {LONG}"), options()).await?;
    let Some(ExecEvent::Stdout(first)) = command.next_event().await? else {
        return Err(Failure::new("no process id is told"));
    };
    drop(command);
    ends(&process, id(&first)?).await?;
    // Also where no command runs.
    let second = run(&session, &background).await?;
    drop(session);
    ends(&process, id(&second.output.stdout)?).await
}

fn id(text: &[u8]) -> Result<u32, Failure> {
    let text = String::from_utf8_lossy(text);
    text.trim().parse().map_err(|error| Failure::new(format!("{text:?} is no process id: {error}")))
}

pub(super) async fn session_restart(process: Subject) -> Outcome {
    let Some(session) = session(&process).await? else { return Ok(()) };
    told(&session, "mkdir sub; cd sub; x=1").await?;
    session.restart().await;
    let output = run(&session, "pwd; echo \"x=$x\"").await?;
    let root = process.capabilities().root;
    ensure_eq(output.output.stdout_text(), format!("{root}\nx=\n"), "the new shell")?;
    ensure(output.restarted, "it is not told that the shell is a new one")?;
    // Nothing else is left of the old one.
    let plain = process.exec(ExecRequest::program("printf", ["on"])).await?;
    ensure_eq(&plain.stdout, "on", "another command of the process")
}

//! The suite for a process under [`BackgroundProcesses`]: that commands can be left alone on it.
//!
//! The factory gives what the [suite for processes](super) asks for.

use std::{sync::Arc, time::Duration};

use agentx_resource::{
    BackgroundId, BackgroundLimits, BackgroundProcesses, BackgroundState, ErrorKind, ExecRequest, ExitStatus,
    LogCursor, OutputLimit, OutputStream, Process, ProcessExt, Signal, Stdin,
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::join_all};

use super::support::{LONG, Subject, ends, has_shell, program};
use crate::{
    Failure, Outcome,
    clock::{TokioClock, TokioSpawn},
    failure::{ensure, ensure_eq, ensure_kind},
};

/// Makes a module of tests: one for each case of the suite for a process with commands in the background. See the
/// [crate](crate) for what the arguments are.
#[macro_export]
macro_rules! process_background_suite {
    ($(#[$attribute:meta])* $module:ident, $factory:expr $(,)?) => {
        $crate::process_background_suite!($(#[$attribute])* $module, $factory, $crate::Profile::new());
    };
    ($(#[$attribute:meta])* $module:ident, $factory:expr, $profile:expr $(,)?) => {
        $crate::__process_background_cases!(__tests { process_background $module ($factory) ($profile) [$(#[$attribute])*] });
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __process_background_cases {
    ($then:ident $arguments:tt) => {
        $crate::$then! { $arguments
            background_ends background_status background_refused background_ids background_streams
            background_cursor background_overrun background_all background_follow background_followers
            background_input background_input_closed background_kill background_killed_for_output
            background_timeout background_signal background_running background_kept background_unknown
            background_unread background_drop background_drop_ends
        }
    };
}

crate::__process_background_cases!(__table { dyn Process });

/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const ALL: usize = 1 << 20;

fn background(process: &Subject) -> BackgroundProcesses {
    BackgroundProcesses::new(Arc::clone(process), Arc::new(TokioClock), Arc::new(TokioSpawn))
}

/// Waits for the end, but not for ever.
async fn end(background: &BackgroundProcesses, id: &BackgroundId) -> Result<ExitStatus, Failure> {
    match tokio::time::timeout(PATIENCE, background.wait(id)).await {
        Ok(status) => Ok(status?),
        Err(_) => Err(Failure::new("a command does not end")),
    }
}

/// Reads from `from` on until so many bytes of standard output were read, and gives them and the place behind them.
async fn stdout(
    background: &BackgroundProcesses,
    id: &BackgroundId,
    from: LogCursor,
    bytes: usize,
) -> Result<(Vec<u8>, LogCursor), Failure> {
    let (mut read, mut next) = (Vec::new(), from);
    let mut pages = background.follow(id, from)?;
    while read.len() < bytes {
        match tokio::time::timeout(PATIENCE, pages.next()).await {
            Ok(Some(page)) => {
                read.extend(page.of(OutputStream::Stdout));
                next = page.next;
            }
            Ok(None) => break,
            Err(_) => return Err(Failure::new("a command's output does not come")),
        }
    }
    Ok((read, next))
}

fn cat() -> ExecRequest {
    program("cat", []).with_stdin(Stdin::Piped)
}

/// Whether live input is declared; else it must be refused.
async fn is_live(process: &Subject) -> Result<bool, Failure> {
    if process.capabilities().live_stdin {
        return Ok(true);
    }
    ensure_kind(background(process).start(cat()).await, ErrorKind::Unsupported, "undeclared live input")?;
    Ok(false)
}

pub(super) async fn background_ends(process: Subject) -> Outcome {
    let background = background(&process);
    let id = background.start(program("echo", ["x"])).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Code(0), "the status")?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Code(0), "the status, when asked again")?;
    let page = background.read(&id, LogCursor::START, ALL)?;
    ensure_eq((page.of(OutputStream::Stdout), page.lost), (b"x\n".to_vec(), 0), "the log")?;
    ensure_eq(page.status, Some(ExitStatus::Code(0)), "the status at the log's end")
}

pub(super) async fn background_status(process: Subject) -> Outcome {
    let background = background(&process);
    let id = background.start(program("false", [])).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Code(1), "the status")?;
    let status = background.status(&id)?;
    ensure_eq(status.state.status(), Some(ExitStatus::Code(1)), "the status that is listed")?;
    ensure_eq(status.command, "false", "the command that is listed")?;
    let BackgroundState::Ended { at, .. } = status.state else { return Err(Failure::new("it goes on")) };
    ensure(at >= status.started, "it ended before it was started")
}

pub(super) async fn background_refused(process: Subject) -> Outcome {
    let background = background(&process);
    ensure_kind(background.start(program("", [])).await, ErrorKind::InvalidInput, "an empty program")?;
    ensure(background.list().is_empty(), "a command that did not start is listed")?;
    let id = background.start(program("no-such-program-here", [])).await?;
    ensure_eq(
        end(&background, &id).await?,
        ExitStatus::Code(127),
        "the status of a program that is not there",
    )
}

pub(super) async fn background_ids(process: Subject) -> Outcome {
    let background = background(&process);
    let starts =
        join_all((0..8).map(|number| background.start(program("echo", [&number.to_string()])))).await;
    let ids = starts.into_iter().collect::<agentx_resource::Result<Vec<_>>>()?;
    for (number, id) in ids.iter().enumerate() {
        end(&background, id).await?;
        let page = background.read(id, LogCursor::START, ALL)?;
        ensure_eq(
            page.of(OutputStream::Stdout),
            format!("{number}\n").into_bytes(),
            "the log of one of many",
        )?;
    }
    let listed: Vec<_> = background.list().into_iter().map(|status| status.id).collect();
    ensure_eq(listed.len(), ids.len(), "how many are listed")?;
    ensure(ids.iter().all(|id| listed.contains(id)), "one is not listed")
}

pub(super) async fn background_streams(process: Subject) -> Outcome {
    if !has_shell(&process).await? {
        return Ok(());
    }
    let background = background(&process);
    let id = background.start(ExecRequest::shell("echo out; echo err >&2; exit 3")).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Code(3), "the status")?;
    let page = background.read(&id, LogCursor::START, ALL)?;
    ensure_eq(page.of(OutputStream::Stdout), b"out\n", "standard output")?;
    ensure_eq(page.of(OutputStream::Stderr), b"err\n", "standard error")
}

pub(super) async fn background_cursor(process: Subject) -> Outcome {
    let background = background(&process);
    let id = background.start(program("printf", ["0123456789"])).await?;
    end(&background, &id).await?;
    let (mut cursor, mut read) = (LogCursor::START, Vec::new());
    loop {
        let page = background.read(&id, cursor, 3)?;
        ensure_eq(page.lost, 0, "what is lost")?;
        read.extend(page.of(OutputStream::Stdout));
        cursor = page.next;
        if page.status.is_some() {
            break;
        }
        ensure_eq(page.of(OutputStream::Stdout).len(), 3, "the length of a page")?;
    }
    ensure_eq((read, cursor), (b"0123456789".to_vec(), LogCursor::new(10)), "what the pages hold")?;
    let again = background.read(&id, LogCursor::new(7), ALL)?;
    ensure_eq(again.of(OutputStream::Stdout), b"789", "what follows an old cursor")
}

pub(super) async fn background_overrun(process: Subject) -> Outcome {
    let background = background(&process).with_limits(BackgroundLimits::default().with_log_bytes(1000));
    let content: Vec<u8> = (0..100_000_u32).map(|number| b'a' + (number % 23) as u8).collect();
    let request = program("cat", []).with_stdin(Stdin::Bytes(content.clone().into()));
    let id = background.start(request).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Code(0), "the status")?;
    let page = background.read(&id, LogCursor::new(10), ALL)?;
    let kept = page.of(OutputStream::Stdout);
    ensure(kept.len() <= 1000 && content.ends_with(&kept), "what is kept is not the end")?;
    ensure_eq(10 + page.lost + kept.len() as u64, 100_000, "what is lost, and what is kept")
}

pub(super) async fn background_all(process: Subject) -> Outcome {
    let background = background(&process).with_limits(BackgroundLimits::default().with_log_bytes(8 << 20));
    let content: Bytes = (0..=255_u8).cycle().take(4 << 20).collect::<Vec<_>>().into();
    let request = program("cat", []).with_stdin(Stdin::Bytes(content.clone()));
    // A limit that cuts is not the log's.
    let id = background.start(request.with_output_limit(OutputLimit::truncate(10))).await?;
    let (read, next) = stdout(&background, &id, LogCursor::START, usize::MAX).await?;
    ensure(read == content, "what is read while it runs is not what was written")?;
    ensure_eq(next, LogCursor::new(4 << 20), "the place behind it")?;
    ensure_eq(background.status(&id)?.dropped, 0, "what was dropped")
}

pub(super) async fn background_follow(process: Subject) -> Outcome {
    if !is_live(&process).await? {
        return Ok(());
    }
    let background = background(&process);
    let id = background.start(cat()).await?;
    let mut cursor = LogCursor::START;
    for line in ["one\n", "two\n", "three\n"] {
        background.write_stdin(&id, line.into()).await?;
        let (read, next) = stdout(&background, &id, cursor, line.len()).await?;
        ensure_eq(read, line.as_bytes(), "what comes while the command runs")?;
        cursor = next;
    }
    ensure_eq(background.status(&id)?.state, BackgroundState::Running, "the state")?;
    ensure(background.wait(&id).now_or_never().is_none(), "a command that runs is said to have ended")?;
    background.close_stdin(&id).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Code(0), "the status")
}

pub(super) async fn background_followers(process: Subject) -> Outcome {
    if !is_live(&process).await? {
        return Ok(());
    }
    let background = background(&process);
    let id = background.start(cat()).await?;
    let early: Vec<_> = (0..4).map(|_| background.follow(&id, LogCursor::START)).collect::<Result<_, _>>()?;
    let write = async {
        for _ in 0..50 {
            background.write_stdin(&id, "0123456789".into()).await?;
            // One comes and goes.
            let mut passer = background.follow(&id, LogCursor::START)?;
            drop(passer.next().now_or_never());
        }
        background.close_stdin(&id).await
    };
    let read =
        join_all(early.into_iter().map(|pages| pages.map(|page| page.of(OutputStream::Stdout)).concat()));
    let both = tokio::time::timeout(PATIENCE, futures::future::join(write, read)).await;
    let (written, read) = both.map_err(|_| Failure::new("those who follow see no end"))?;
    written?;
    for read in read {
        ensure_eq(read, "0123456789".repeat(50).into_bytes(), "what one of those who follow read")?;
    }
    let late = background.follow(&id, LogCursor::new(495))?.collect::<Vec<_>>().await;
    ensure_eq(
        late.iter().flat_map(|page| page.of(OutputStream::Stdout)).collect::<Vec<_>>(),
        b"56789",
        "the rest",
    )
}

pub(super) async fn background_input(process: Subject) -> Outcome {
    if !is_live(&process).await? {
        return Ok(());
    }
    let background = background(&process);
    let id = background.start(cat()).await?;
    let content = Bytes::from(vec![b'x'; 1 << 20]);
    let write = async {
        background.write_stdin(&id, content.clone()).await?;
        background.close_stdin(&id).await?;
        background.close_stdin(&id).await
    };
    let written = tokio::time::timeout(PATIENCE, write).await;
    written.map_err(|_| Failure::new("the input is not read"))??;
    ensure_eq(end(&background, &id).await?, ExitStatus::Code(0), "the status")?;
    ensure_eq(background.status(&id)?.log_end, LogCursor::new(1 << 20), "how much was written back")
}

pub(super) async fn background_input_closed(process: Subject) -> Outcome {
    if !is_live(&process).await? {
        return Ok(());
    }
    let background = background(&process);
    let id = background.start(cat()).await?;
    background.close_stdin(&id).await?;
    end(&background, &id).await?;
    ensure_kind(
        background.write_stdin(&id, "x".into()).await,
        ErrorKind::Unavailable,
        "a write after the end",
    )?;
    let deaf = background.start(program("sleep", [LONG])).await?;
    ensure_kind(background.write_stdin(&deaf, "x".into()).await, ErrorKind::Unsupported, "no live input")
}

pub(super) async fn background_kill(process: Subject) -> Outcome {
    let background = background(&process);
    let id = background.start(program("sleep", [LONG])).await?;
    ensure(background.wait(&id).now_or_never().is_none(), "a sleep ended at once")?;
    background.kill(&id).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Killed, "the status")?;
    background.kill(&id).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Killed, "the status after another kill")
}

pub(super) async fn background_killed_for_output(process: Subject) -> Outcome {
    let background = background(&process);
    let id = background.start(program("yes", []).with_output_limit(OutputLimit::kill(10_000))).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::OutputLimit, "the status")?;
    ensure_eq(background.status(&id)?.log_end, LogCursor::new(10_000), "how much is in the log")
}

pub(super) async fn background_timeout(process: Subject) -> Outcome {
    let background = background(&process);
    let id = background.start(program("sleep", [LONG]).with_timeout(Duration::from_millis(100))).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::TimedOut, "the status")
}

pub(super) async fn background_signal(process: Subject) -> Outcome {
    let background = background(&process);
    let id = background.start(program("sleep", [LONG])).await?;
    if !process.capabilities().signals {
        let refused = background.signal(&id, Signal::Terminate).await;
        return ensure_kind(refused, ErrorKind::Unsupported, "an undeclared signal");
    }
    background.signal(&id, Signal::Terminate).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Signal(15), "the status")?;
    background.signal(&id, Signal::Terminate).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Signal(15), "the status after another signal")
}

pub(super) async fn background_running(process: Subject) -> Outcome {
    let background = background(&process).with_limits(BackgroundLimits::default().with_running(2));
    let first = background.start(program("sleep", [LONG])).await?;
    background.start(program("sleep", [LONG])).await?;
    let third = || background.start(program("echo", ["x"]));
    ensure_kind(third().await, ErrorKind::LimitExceeded, "one more than may run")?;
    ensure_kind(
        background.remove(&first).map(|()| first.clone()),
        ErrorKind::Busy,
        "the removal of one that runs",
    )?;
    background.kill(&first).await?;
    end(&background, &first).await?;
    let third = third().await?;
    ensure_eq(end(&background, &third).await?, ExitStatus::Code(0), "the status of the next")
}

pub(super) async fn background_kept(process: Subject) -> Outcome {
    let background = background(&process).with_limits(BackgroundLimits::default().with_ended(2));
    let mut ids = vec![background.start(program("sleep", [LONG])).await?];
    for _ in 0..4 {
        let id = background.start(program("true", [])).await?;
        end(&background, &id).await?;
        ids.push(id);
    }
    let [runs, .., third, fourth] = &*ids else { return Err(Failure::new("no ids")) };
    let listed = || background.list().into_iter().map(|status| status.id).collect::<Vec<_>>();
    ensure_eq(listed(), [runs.clone(), third.clone(), fourth.clone()], "those that are kept")?;
    background.remove(third)?;
    ensure_eq(listed(), [runs.clone(), fourth.clone()], "those that are kept after a removal")
}

pub(super) async fn background_unknown(process: Subject) -> Outcome {
    let (background, other) = (background(&process), background(&process));
    let id = other.start(program("true", [])).await?;
    end(&other, &id).await?;
    for id in [id, BackgroundId::new("")] {
        let missing = |result, verb: &str| ensure_kind(result, ErrorKind::NotFound, verb);
        missing(background.status(&id).map(drop), "status")?;
        missing(background.read(&id, LogCursor::START, ALL).map(drop), "read")?;
        missing(background.follow(&id, LogCursor::START).map(drop), "follow")?;
        missing(background.wait(&id).await.map(drop), "wait")?;
        missing(background.write_stdin(&id, "x".into()).await, "write")?;
        missing(background.close_stdin(&id).await, "close")?;
        missing(background.signal(&id, Signal::Terminate).await, "signal")?;
        missing(background.kill(&id).await, "kill")?;
        missing(background.remove(&id), "remove")?;
    }
    Ok(())
}

pub(super) async fn background_unread(process: Subject) -> Outcome {
    let background = background(&process);
    let content = Bytes::from(vec![b'x'; 4 << 20]);
    // Nobody reads the log, and the command ends all the same.
    let id = background.start(program("cat", []).with_stdin(Stdin::Bytes(content))).await?;
    ensure_eq(end(&background, &id).await?, ExitStatus::Code(0), "the status")?;
    ensure_eq(background.status(&id)?.log_end, LogCursor::new(4 << 20), "how much was written")
}

pub(super) async fn background_drop(process: Subject) -> Outcome {
    let background = background(&process);
    let id = background.start(program("sleep", [LONG])).await?;
    let pages = background.follow(&id, LogCursor::START)?;
    drop(background);
    let pages = tokio::time::timeout(PATIENCE, pages.collect::<Vec<_>>()).await;
    let pages = pages.map_err(|_| Failure::new("those who follow are not told of the end"))?;
    let status = pages.last().and_then(|page| page.status);
    ensure_eq(status, Some(ExitStatus::Killed), "what those who follow are told")?;
    let output = process.exec(program("echo", ["x"])).await?;
    ensure_eq(&output.stdout, "x\n", "a command after it")
}

pub(super) async fn background_drop_ends(process: Subject) -> Outcome {
    if !has_shell(&process).await? {
        return Ok(());
    }
    let background = background(&process);
    let script = format!("sleep {LONG} & echo $!; wait");
    let id = background.start(ExecRequest::shell(script)).await?;
    let (text, _) = stdout(&background, &id, LogCursor::START, 1).await?;
    let text = String::from_utf8_lossy(&text).into_owned();
    drop(background);
    let id = text.trim().parse();
    ends(&process, id.map_err(|error| Failure::new(format!("{text:?} is no process id: {error}")))?).await
}

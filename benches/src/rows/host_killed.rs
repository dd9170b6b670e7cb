//! How soon everything has ended after the host was killed by `SIGKILL`, and could do nothing about it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use agentx_provider_local::LocalProcess;
use agentx_resource::{ExecEvent, ExecRequest, Process};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::runtime;
use crate::{
    Result,
    measure::{Row, Variant},
    program,
};

/// The argument that makes a bench program a host that holds a command: then follow the shell's script, and `namespace`
/// or `helper`.
pub(crate) const HOLD: &str = "hold-a-command";

const FEW: usize = 3;
const MANY: usize = 200;
/// How long processes may take to be there.
const PATIENCE: Duration = Duration::from_secs(10);

/// A few processes.
///
/// # Errors
/// What the host says.
pub fn of_few() -> Result<Row> {
    Ok(row("host_killed", "How soon has everything ended after a kill -9 of the host? 3 processes", FEW))
}

/// Many of them.
///
/// # Errors
/// What the host says.
pub fn of_many() -> Result<Row> {
    Ok(row(
        "host_killed_200",
        "How soon has everything ended after a kill -9 of the host? 200 processes",
        MANY,
    ))
}

fn row(name: &'static str, question: &'static str, processes: usize) -> Row {
    let limit = variant("kill -9 of the process group itself (limit)", move || {
        let (mut shell, mark) = (Command::new("sh"), mark());
        shell.args(["-c", &script(processes, "", &mark)]).process_group(0);
        Held::start(shell, processes, &mark)?.until_ended(|shell| {
            let group = Pid::from_child(shell);
            Ok(kill_process_group(group, Signal::KILL)?)
        })
    });
    let host = move |kind: &'static str| {
        move || {
            let (mut host, mark) = (Command::new(program::this()?), mark());
            host.args([HOLD, &script(processes, "setsid", &mark), kind]);
            Held::start(host, processes, &mark)?.until_ended(|host| Ok(host.kill()?))
        }
    };
    let row = Row::new(name, question, limit).per(1, "end");
    let row = row.with(variant("agentx LocalProcess, each process in a session of its own", host("helper")));
    row.with(variant("agentx LocalProcess in a PID namespace, the same", host("namespace")))
}

fn variant(name: &str, mut end: impl FnMut() -> Result<Duration> + 'static) -> Variant {
    Variant::observed(name, move |count| {
        let mut all = Duration::ZERO;
        for _ in 0..count {
            all += end()?;
        }
        Ok(all / u32::try_from(count)?)
    })
}

/// What all processes of one end have in their command lines, as a time to sleep.
fn mark() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("1000.{}{:06}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Starts processes, tells a line for each, and waits.
fn script(processes: usize, how: &str, mark: &str) -> String {
    format!("i=0; while [ $i -lt {processes} ]; do {how} sleep {mark} & i=$((i + 1)); echo; done; wait")
}

/// This program as the host: it starts the command and tells what that tells, until it is killed.
///
/// # Errors
/// What the command's provider says.
pub(crate) fn hold(arguments: impl IntoIterator<Item = String>) -> Result<()> {
    let mut arguments = arguments.into_iter();
    let script = arguments.next().unwrap_or_default();
    let process = LocalProcess::new("/")?;
    let in_namespace = arguments.next().as_deref() == Some("namespace");
    let process = if in_namespace { process.with_pid_namespace() } else { process };
    runtime()?.block_on(async {
        let child = process.spawn(ExecRequest::program("sh", ["-c".to_owned(), script])).await?;
        while let Some(event) = child.next_event().await? {
            if let ExecEvent::Stdout(piece) = event {
                let mut output = std::io::stdout().lock();
                output.write_all(&piece)?;
                output.flush()?;
            }
        }
        Err("the command has ended".into())
    })
}

fn has_mark(id: u32, mark: &str) -> bool {
    fs::read(format!("/proc/{id}/cmdline"))
        .is_ok_and(|line| line.windows(mark.len()).any(|part| part == mark.as_bytes()))
}

/// What holds processes, and handles to these.
struct Held {
    holder: Child,
    processes: Vec<OwnedFd>,
}

impl Held {
    /// Starts what holds so many processes, and waits until all of them are there.
    fn start(mut holder: Command, processes: usize, mark: &str) -> Result<Self> {
        let holder = holder.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut held = Self { holder, processes: Vec::new() };
        let stdout = held.holder.stdout.take().ok_or("a pipe is missing")?;
        for line in BufReader::new(stdout).lines().take(processes) {
            line?;
        }
        let begun = Instant::now();
        while held.processes.len() < processes {
            if begun.elapsed() > PATIENCE {
                return Err("not all processes are there".into());
            }
            held.find(mark)?;
        }
        Ok(held)
    }

    /// All that have the mark, by the host's ids: in a namespace they have others. Who executes at the moment may be
    /// missed.
    fn find(&mut self, mark: &str) -> Result<()> {
        self.processes.clear();
        for entry in fs::read_dir("/proc")?.flatten() {
            let is_held = |id: &u32| *id != self.holder.id() && has_mark(*id, mark);
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(is_held);
            if let Some(id) = id.and_then(|id| Pid::from_raw(u32::cast_signed(id))) {
                self.processes.push(pidfd_open(id, PidfdFlags::empty())?);
            }
        }
        Ok(())
    }

    /// The time from `kill` until the last of the processes has ended.
    fn until_ended(mut self, kill: impl FnOnce(&mut Child) -> Result<()>) -> Result<Duration> {
        let begin = Instant::now();
        kill(&mut self.holder)?;
        for process in &self.processes {
            while let Err(errno) = poll(&mut [PollFd::new(process, PollFlags::IN)], None) {
                if errno != Errno::INTR {
                    return Err(errno.into());
                }
            }
        }
        Ok(begin.elapsed())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

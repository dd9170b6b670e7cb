//! That nothing of a command outlives its end, however that comes, with every way to get away at once.
//!
//! `AGENTX_ROUNDS` says how often each end is tried.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use agentx_provider_local::{Containment, Isolation, LocalProcess, TreeLimits};
use agentx_resource::{Child, ErrorKind, ExecEvent, ExecRequest, ExitStatus, Process, ProcessExt};
use rustix::process::{Pid, Signal, kill_process};

/// Enough for a run of all tests; five hundred were run by hand.
const ROUNDS: u32 = 9;

fn rounds() -> u32 {
    std::env::var("AGENTX_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

const GRACE: Duration = Duration::from_millis(30);

fn local() -> LocalProcess {
    LocalProcess::new("/").unwrap().with_kill_grace(GRACE)
}

/// A word that is in the command line of everything that one command starts.
struct Trace(String);

impl Trace {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("1000.{:07}{count:05}", std::process::id()))
    }

    /// A command that gets away in every way, says `ready`, and goes on. Its bomb doubles so many times.
    fn script(&self, pause: &str, doublings: u32) -> String {
        let n = &self.0;
        format!(
            "nohup sleep {n} >/dev/null 2>&1 &
            setsid sleep {n} &
            (setsid sh -c 'sleep {n} & exit' & exit)
            (env -i setsid sh -c 'sleep {n} & exit' </dev/null >/dev/null 2>&1 & exit)
            (trap '' TERM HUP INT; setsid sh -c 'sleep {n}; sleep {n}') &
            setsid sleep {n} </dev/null >/dev/null 2>&1 &
            sleep {n} & kill -STOP $!
            sleep {n} & kill -TSTP $!
            bomb() {{ if [ $1 -gt 0 ]; then bomb $(($1 - 1)) & bomb $(($1 - 1)) & fi; exec sleep {n}; }}
            bomb {doublings} &
            chain() {{ if [ $1 -gt 0 ]; then (chain $(($1 - 1)) &) else exec sleep {n}; fi; }}
            chain 200 & export -f chain; setsid bash -c 'chain 200; : {n}' &
            {pause}
            echo ready
            wait; sleep {n}"
        )
    }

    /// What of it is alive. A zombie has no command line.
    fn alive(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines
            .map(|line| String::from_utf8_lossy(&line).into_owned())
            .filter(|line| line.contains(&self.0))
            .collect()
    }

    /// Nothing may be alive.
    fn assert_gone(&self) {
        assert_eq!(self.alive(), [""; 0]);
    }

    /// The same, where nobody says when that is so. What forks or executes at the moment may not be seen, so that one
    /// look proves nothing.
    fn wait_until_gone(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut looks = 0;
        while looks < 20 && Instant::now() < deadline {
            looks = if self.alive().is_empty() { looks + 1 } else { 0 };
        }
        self.assert_gone();
    }
}

/// Whoever ends everything from another process is given this long. No test takes it.
const PATIENCE: Duration = Duration::from_secs(20);

/// One third each: ended while it starts, when all was begun, with a bomb of 127 processes, when all was there.
async fn begin(process: &LocalProcess, trace: &Trace, round: u32) -> Box<dyn Child> {
    let (pause, doublings) = match round % 3 {
        1 => ("", 6),
        2 => ("sleep 0.05", 3),
        _ => ("", 3),
    };
    let script = trace.script(pause, doublings);
    let child = process.spawn(ExecRequest::program("bash", ["-c".to_owned(), script])).await.unwrap();
    if !round.is_multiple_of(3) {
        assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("ready\n".into())));
    }
    if round % 3 == 2 {
        assert!(trace.alive().len() > 12, "too little got away: {:?}", trace.alive());
    }
    child
}

/// Reads to the end.
async fn status(child: &dyn Child) -> Option<ExitStatus> {
    let mut status = None;
    while let Some(event) = child.next_event().await.unwrap() {
        if let ExecEvent::Exited(exited) = event {
            assert_eq!(status.replace(exited), None);
        }
    }
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn the_helper_is_there() {
    assert_eq!(local().containment().await.unwrap(), Containment::Helper);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_leaves_nothing() {
    for round in 0..rounds() {
        let trace = Trace::new();
        drop(begin(&local(), &trace, round).await);
        trace.assert_gone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_nothing() {
    for round in 0..rounds() {
        let trace = Trace::new();
        let child = begin(&local(), &trace, round).await;
        child.kill().await.unwrap();
        assert_eq!(status(&*child).await, Some(ExitStatus::Killed));
        trace.assert_gone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_leaves_nothing() {
    for round in 0..rounds() {
        let trace = Trace::new();
        let request = ExecRequest::program("bash", ["-c".to_owned(), trace.script("", 3)]);
        let timeout = Duration::from_millis(u64::from(round % 10) * 5);
        let output = local().exec(request.with_timeout(timeout)).await.unwrap();
        assert_eq!(output.status, ExitStatus::TimedOut);
        trace.assert_gone();
    }
}

/// The most processes that a bomb may come to.
const LIMIT: u64 = 64;

/// One that forks until it is refused, and then goes on trying.
#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_at_its_limit_leaves_nothing() {
    let isolation = Isolation::new().with_tree_limits(TreeLimits::default().with_processes(LIMIT));
    let dir = tempfile::tempdir().unwrap();
    let process = LocalProcess::new(dir.path()).unwrap().with_kill_grace(GRACE);
    let process = match process.with_isolation(isolation) {
        Ok(process) => process,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            return eprintln!("LEFT OUT: {error}");
        }
    };
    let usage = || process.tree_usage().unwrap();
    for round in 0..rounds() {
        let trace = Trace::new();
        let bomb = format!("bomb() {{ bomb | bomb & bomb; }}; bomb 2>/dev/null; : {}", trace.0);
        let refused = usage().processes_refused.unwrap();
        let child = process.spawn(ExecRequest::program("bash", ["-c".to_owned(), bomb])).await.unwrap();
        let deadline = Instant::now() + PATIENCE;
        while usage().processes_refused.unwrap() == refused {
            assert!(Instant::now() < deadline, "nothing was refused");
            tokio::task::yield_now().await;
        }
        if !round.is_multiple_of(2) {
            child.kill().await.unwrap();
            assert_eq!(status(&*child).await, Some(ExitStatus::Killed));
            trace.assert_gone();
        }
        drop(child);
        trace.assert_gone();
        // Those that have ended count until they are off the books.
        while usage().processes != Some(0) {
            assert!(Instant::now() < deadline, "{:?}", usage());
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn the_end_of_the_runtime_leaves_nothing() {
    for round in 0..rounds() {
        let trace = Trace::new();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (script, process) = (trace.script("", 3), local());
        let (ready, is_ready) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let child = process.spawn(ExecRequest::program("bash", ["-c".to_owned(), script])).await.unwrap();
            if round.is_multiple_of(2) {
                ready.send(()).unwrap();
            }
            while let Some(event) = child.next_event().await.unwrap() {
                if event == ExecEvent::Stdout("ready\n".into()) {
                    // Nobody listens any more in the other rounds.
                    let _ = ready.send(());
                }
            }
        });
        is_ready.recv().unwrap();
        drop(runtime);
        trace.assert_gone();
    }
}

/// Run by [`a_killed_host_leaves_nothing`], it holds its command until it is killed.
#[test]
fn a_host() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let script = std::env::var("AGENTX_TEST_SCRIPT");
    let request =
        ExecRequest::program("bash", ["-c".to_owned(), script.clone().unwrap_or("echo ready".to_owned())]);
    runtime.block_on(async {
        let child = local().spawn(request).await.unwrap();
        while let Some(event) = child.next_event().await.unwrap() {
            if event == ExecEvent::Stdout("ready\n".into()) {
                println!("\nhost is ready");
            }
        }
    });
}

/// A host that dropping kills, also where a test fails.
struct Host(std::process::Child);

impl Drop for Host {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_host_leaves_nothing() {
    for round in 0..rounds() {
        let trace = Trace::new();
        let (pause, doublings) = if round.is_multiple_of(2) { ("sleep 0.05", 3) } else { ("", 6) };
        let host = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_host", "--nocapture"])
            .env("AGENTX_TEST_SCRIPT", trace.script(pause, doublings))
            .stdout(Stdio::piped())
            .spawn();
        let mut host = Host(host.unwrap());
        let lines = BufReader::new(host.0.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "host is ready"));
        let helpers = helpers_of(host.0.id());
        assert_eq!(helpers.len(), 1);
        drop(host);
        // The helper is the last to end.
        let deadline = Instant::now() + PATIENCE;
        while is_helper(helpers[0]) && Instant::now() < deadline {
            thread::yield_now();
        }
        trace.assert_gone();
    }
}

#[test]
fn a_killed_helper_leaves_nothing() {
    // Alone in its process, since other tests have the same helper.
    if std::env::var_os("ALONE").is_none() {
        let mut test = Command::new(std::env::current_exe().unwrap());
        let test = test.args(["--exact", "a_killed_helper_leaves_nothing"]).env("ALONE", "1").status();
        assert!(test.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let process = local();
        for round in 0..rounds() {
            let trace = Trace::new();
            let child = begin(&process, &trace, round).await;
            let helpers = helpers_of(std::process::id());
            assert_eq!(helpers.len(), 1);
            kill_process(Pid::from_raw(helpers[0].cast_signed()).unwrap(), Signal::KILL).unwrap();
            if round.is_multiple_of(2) {
                // While nobody looks, too.
                trace.wait_until_gone();
            }
            assert_eq!(status(&*child).await, Some(ExitStatus::Lost));
            trace.assert_gone();
            // The next one starts another.
            assert!(process.exec(ExecRequest::shell("true")).await.unwrap().status.success());
        }
    });
}

/// The helpers that a process has started.
fn helpers_of(host: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{host}/task")).unwrap().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids =
        children.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>());
    pids.filter(|pid| is_helper(*pid)).collect()
}

fn is_helper(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"agentx-helper\0"))
}

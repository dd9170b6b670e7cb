//! That nothing of a command outlives it, with real processes.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use agentx_provider_local::LocalProcess;
use agentx_resource::{Child, ExecEvent, ExecRequest, ExitStatus, OutputLimit, Process, ProcessExt};

fn local() -> LocalProcess {
    LocalProcess::new("/").unwrap()
}

/// A `sleep` that can be told from every other by its argument.
struct Sleep(String);

impl Sleep {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("1000.{:06}{count:05}", std::process::id()))
    }

    /// How many of it are alive, by their command lines; a zombie has none.
    fn alive(&self) -> usize {
        let command = format!("sleep\0{}\0", self.0);
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|entry| {
                let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                line.ends_with(command.as_bytes())
            })
            .count()
    }
}

async fn next(child: &dyn Child) -> ExecEvent {
    child.next_event().await.unwrap().expect("an event")
}

/// Waits until the command has said that everything is started.
async fn wait_for_ready(child: &dyn Child) {
    assert_eq!(next(child).await, ExecEvent::Stdout("ready\n".into()));
}

/// Ways to get away from a command, each of which starts one sleep.
fn getaways(sleep: &Sleep) -> Vec<(&'static str, String)> {
    let n = &sleep.0;
    vec![
        ("background", format!("sleep {n} & ")),
        ("nohup", format!("nohup sleep {n} >/dev/null 2>&1 & ")),
        ("setsid", format!("setsid sleep {n} & ")),
        ("setsid, closed", format!("setsid sleep {n} </dev/null >/dev/null 2>&1 & ")),
        ("double fork", format!("(setsid sh -c 'sleep {n} & exit' & exit); ")),
        ("double fork, closed", format!("(setsid sh -c 'sleep {n} & exit' >/dev/null 2>&1 & exit); ")),
        ("no environment", format!("(env -i setsid sh -c 'sleep {n} & exit' >/dev/null 2>&1 & exit); ")),
        ("ignores TERM", format!("(trap '' TERM; setsid sh -c \"trap '' TERM; sleep {n}\") & ")),
        ("stopped", then_ready(&format!("sleep {n} & "), sleep).replace("echo ready", "kill -STOP $!")),
    ]
}

/// Says `ready` when the sleep is there.
fn then_ready(getaway: &str, sleep: &Sleep) -> String {
    let n = &sleep.0;
    format!("{getaway} until pgrep -f '^sleep {n}' >/dev/null; do sleep 0.01; done; echo ready; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_child_leaves_nothing() {
    let sleep = Sleep::new();
    for (name, getaway) in getaways(&sleep) {
        let script = then_ready(&getaway, &sleep) + "wait; sleep 1000";
        let child = local().spawn(ExecRequest::shell(script)).await.unwrap();
        wait_for_ready(&*child).await;
        assert_eq!(sleep.alive(), 1, "{name}");
        drop(child);
        assert_eq!(sleep.alive(), 0, "{name}");
    }
}

/// All but what empties its environment and is nobody's child.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_helper_dropping_and_killing_leave_nothing() {
    let sleep = Sleep::new();
    for (name, getaway) in getaways(&sleep).into_iter().filter(|(name, _)| *name != "no environment") {
        let process = local().without_helper().with_kill_grace(Duration::from_millis(100));
        for is_dropped in [true, false] {
            let script = then_ready(&getaway, &sleep) + "wait; sleep 1000";
            let child = process.spawn(ExecRequest::shell(script)).await.unwrap();
            wait_for_ready(&*child).await;
            assert_eq!(sleep.alive(), 1, "{name}");
            if !is_dropped {
                child.kill().await.unwrap();
                while child.next_event().await.unwrap().is_some() {}
            }
            drop(child);
            assert_eq!(sleep.alive(), 0, "{name}");
        }
        // Whatever of the first steps it has come to.
        let process = process.with_drain_grace(Duration::from_millis(100));
        let output = process.exec(ExecRequest::shell(getaway + "exit 5")).await.unwrap();
        assert_eq!((output.status, sleep.alive()), (ExitStatus::Code(5), 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_helper_what_forks_on_and_on_is_caught() {
    let sleep = Sleep::new();
    let hop = "hop() { if [ $1 -gt 0 ]; then (hop $(($1 - 1)) &) else exec sleep $TAG; fi; }";
    let script =
        format!("{hop}; export -f hop; hop 3000 & setsid bash -c 'hop 3000' & echo ready; sleep 1000");
    for _ in 0..3 {
        let request = ExecRequest::program("bash", ["-c", &script]).with_env("TAG", &sleep.0);
        let child = local().without_helper().spawn(request).await.unwrap();
        wait_for_ready(&*child).await;
        let mark = child.id().to_owned();
        assert!(marked(&mark) > 0);
        drop(child);
        assert_eq!(marked(&mark), 0);
    }
}

/// How many processes carry the mark of a child.
fn marked(id: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let environments = processes.filter_map(|entry| fs::read(entry.path().join("environ")).ok());
    environments.filter(|environ| String::from_utf8_lossy(environ).contains(id)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_a_child_leaves_nothing() {
    let sleep = Sleep::new();
    for (name, getaway) in getaways(&sleep) {
        let script = then_ready(&getaway, &sleep) + "wait; sleep 1000";
        let process = local().with_kill_grace(Duration::from_millis(300));
        let child = process.spawn(ExecRequest::shell(script)).await.unwrap();
        wait_for_ready(&*child).await;
        child.kill().await.unwrap();
        child.kill().await.unwrap();
        let mut statuses = Vec::new();
        while let Some(event) = child.next_event().await.unwrap() {
            if let ExecEvent::Exited(status) = event {
                statuses.push(status);
            }
        }
        assert_eq!(statuses, [ExitStatus::Killed], "{name}");
        assert_eq!(sleep.alive(), 0, "{name}");
        child.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_leaves_nothing() {
    let sleep = Sleep::new();
    for (name, getaway) in getaways(&sleep) {
        let script = then_ready(&getaway, &sleep) + "wait; sleep 1000";
        let process = local().with_kill_grace(Duration::from_millis(200));
        let request = ExecRequest::shell(script).with_timeout(Duration::from_millis(700));
        let output = process.exec(request).await.unwrap();
        assert_eq!((output.status, sleep.alive()), (ExitStatus::TimedOut, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_output_leaves_nothing() {
    let sleep = Sleep::new();
    for (name, getaway) in getaways(&sleep) {
        let script = then_ready(&getaway, &sleep) + "yes";
        let process = local().with_kill_grace(Duration::from_millis(200));
        let request = ExecRequest::shell(script).with_output_limit(OutputLimit::kill(1000));
        let output = process.exec(request).await.unwrap();
        assert_eq!((output.status, sleep.alive()), (ExitStatus::OutputLimit, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_normal_exit_leaves_nothing() {
    let sleep = Sleep::new();
    for (name, getaway) in getaways(&sleep) {
        // With and without waiting for the getaway: it may be in the middle of its first steps.
        for script in [then_ready(&getaway, &sleep) + "exit 5", getaway + "exit 5"] {
            let process = local().with_drain_grace(Duration::from_millis(100));
            let output = process.exec(ExecRequest::shell(script)).await.unwrap();
            assert_eq!((output.status, sleep.alive()), (ExitStatus::Code(5), 0), "{name}");
        }
    }
}

/// A child that is in the middle of `exec` has no environment to be found by.
#[tokio::test(flavor = "multi_thread")]
async fn a_getaway_at_the_last_moment_is_found() {
    let sleep = Sleep::new();
    let script = format!("setsid sleep {} </dev/null >/dev/null 2>&1 &", sleep.0);
    for round in 0..200 {
        local().exec(ExecRequest::shell(&script)).await.unwrap();
        assert_eq!(sleep.alive(), 0, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_drops_with_a_session_of_its_own_leave_nothing() {
    let sleep = Sleep::new();
    let script = format!("setsid sleep {} & echo ready; wait", sleep.0);
    for round in 0..50 {
        let child = local().spawn(ExecRequest::shell(&script)).await.unwrap();
        // Half of them are dropped in the middle of starting.
        if round % 2 == 0 {
            wait_for_ready(&*child).await;
        }
        drop(child);
        assert_eq!(sleep.alive(), 0, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_exec_leaves_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    let process = LocalProcess::new(dir.path()).unwrap();
    let sleep = Sleep::new();
    let script = format!("setsid sleep {} & mkfifo ready; echo > ready; wait", sleep.0);
    tokio::select! {
        output = process.exec(ExecRequest::shell(script)) => panic!("{output:?}"),
        // Comes to its end when the other has opened the fifo.
        output = process.exec(ExecRequest::shell("until [ -p ready ]; do sleep 0.01; done; cat ready")) => {
            assert!(output.unwrap().status.success());
        }
    }
    assert_eq!(sleep.alive(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_without_the_mark_ends_with_its_parent() {
    let sleep = Sleep::new();
    // Out of the group, out of the session, and without an environment; its parent still lives.
    let script = then_ready(&format!("env -i setsid sleep {} & ", sleep.0), &sleep) + "wait";
    let child = local().spawn(ExecRequest::shell(script)).await.unwrap();
    wait_for_ready(&*child).await;
    assert_eq!(sleep.alive(), 1);
    drop(child);
    assert_eq!(sleep.alive(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_of_a_command_starts_ends_with_the_outer() {
    let sleep = Sleep::new();
    // As an inner host would: a lower tag, a session of its own, no environment, and the host itself is gone.
    let inner = format!("ulimit -x 4242; env -i setsid sleep {} & ", sleep.0);
    let script = then_ready(&format!("({inner}); "), &sleep) + "sleep 1000";
    let child = local().spawn(ExecRequest::shell(script)).await.unwrap();
    wait_for_ready(&*child).await;
    assert_eq!(sleep.alive(), 1);
    drop(child);
    assert_eq!(sleep.alive(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_forks_on_and_on_is_caught() {
    let sleep = Sleep::new();
    // Each lives just long enough to start the next, in the group and in a session of its own.
    let hop = "hop() { if [ $1 -gt 0 ]; then (hop $(($1 - 1)) &) else exec sleep $TAG; fi; }";
    let script =
        format!("{hop}; export -f hop; hop 3000 & setsid bash -c 'hop 3000' & echo ready; sleep 1000");
    for _ in 0..5 {
        let child = local().spawn(ExecRequest::shell(&script).with_env("TAG", &sleep.0)).await.unwrap();
        wait_for_ready(&*child).await;
        let tag = child.id().to_owned();
        assert!(tagged(&tag) > 0);
        drop(child);
        assert_eq!(tagged(&tag), 0);
    }
}

/// How many processes carry the tag of a child: its id, as their limit on file locks.
fn tagged(id: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let limits = processes.filter_map(|entry| fs::read_to_string(entry.path().join("limits")).ok());
    limits.filter(|limits| limits.contains(id)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_command_is_left_alone() {
    let (ours, other) = (Sleep::new(), Sleep::new());
    let script = |sleep: &Sleep| then_ready(&format!("setsid sleep {} & ", sleep.0), sleep) + "wait";
    let process = local();
    let bystander = process.spawn(ExecRequest::shell(script(&other))).await.unwrap();
    let child = process.spawn(ExecRequest::shell(script(&ours))).await.unwrap();
    wait_for_ready(&*bystander).await;
    wait_for_ready(&*child).await;
    drop(child);
    assert_eq!((ours.alive(), other.alive()), (0, 1));
    drop(bystander);
    assert_eq!(other.alive(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_asked_before_it_is_forced() {
    let script = "trap 'echo bye; exit 0' TERM; echo ready; sleep 1000 & wait";
    let child = local().spawn(ExecRequest::shell(script)).await.unwrap();
    wait_for_ready(&*child).await;
    child.kill().await.unwrap();
    assert_eq!(next(&*child).await, ExecEvent::Stdout("bye\n".into()));
    assert_eq!(next(&*child).await, ExecEvent::Exited(ExitStatus::Killed));
    assert_eq!(child.next_event().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_needs_nobody_who_reads() {
    let sleep = Sleep::new();
    let process = local().with_kill_grace(Duration::from_millis(50));
    let script = then_ready(&format!("(trap '' TERM; exec sleep {}) & ", sleep.0), &sleep)
        + "trap '' TERM; wait; wait";
    let child = process.spawn(ExecRequest::shell(script)).await.unwrap();
    wait_for_ready(&*child).await;
    child.kill().await.unwrap();
    while sleep.alive() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(next(&*child).await, ExecEvent::Exited(ExitStatus::Killed));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_after_the_exit_is_read_for_a_while() {
    let child = local().spawn(ExecRequest::shell("(sleep 0.2; echo late) & exit 0")).await.unwrap();
    assert_eq!(next(&*child).await, ExecEvent::Exited(ExitStatus::Code(0)));
    assert_eq!(next(&*child).await, ExecEvent::Stdout("late\n".into()));
    assert_eq!(child.next_event().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_output_open_for_ever_is_ended() {
    let sleep = Sleep::new();
    let process = local().with_drain_grace(Duration::from_millis(50));
    let script = then_ready(&format!("setsid sleep {} & ", sleep.0), &sleep) + "exit 0";
    let child = process.spawn(ExecRequest::shell(script)).await.unwrap();
    wait_for_ready(&*child).await;
    assert_eq!(next(&*child).await, ExecEvent::Exited(ExitStatus::Code(0)));
    assert_eq!(child.next_event().await.unwrap(), None);
    assert_eq!(sleep.alive(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_after_the_exit_ends_too() {
    let process = local().with_drain_grace(Duration::from_millis(50));
    for limit in [OutputLimit::none(), OutputLimit::truncate(10)] {
        let child =
            process.spawn(ExecRequest::shell("setsid yes & exit 3").with_output_limit(limit)).await.unwrap();
        let mut exits = 0;
        while let Some(event) = child.next_event().await.unwrap() {
            exits += usize::from(event == ExecEvent::Exited(ExitStatus::Code(3)));
        }
        assert_eq!(exits, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_after_the_exit_ends_what_holds_the_output() {
    let sleep = Sleep::new();
    let process = local().with_drain_grace(Duration::from_secs(100_000));
    let script = then_ready(&format!("setsid sleep {} & ", sleep.0), &sleep) + "exit 6";
    let child = process.spawn(ExecRequest::shell(script)).await.unwrap();
    wait_for_ready(&*child).await;
    assert_eq!(next(&*child).await, ExecEvent::Exited(ExitStatus::Code(6)));
    child.kill().await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), None);
    assert_eq!(sleep.alive(), 0);
}

/// The children of this process that have ended and were not taken off the books.
fn zombies() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids: Vec<String> =
        children.flat_map(|pids| pids.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let stats = pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    stats.filter(|stat| stat.contains(") Z ")).count()
}

#[test]
fn no_zombie_is_left() {
    // Alone in its process, since other tests have children too.
    if std::env::var_os("ALONE").is_none() {
        let test = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "no_zombie_is_left"])
            .env("ALONE", "1")
            .status();
        assert!(test.unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..10 {
            local().exec(ExecRequest::shell("sleep 0.01 & exit 1")).await.unwrap();
            drop(local().spawn(ExecRequest::shell("sleep 1000")).await.unwrap());
            drop(local().spawn(ExecRequest::shell("true")).await.unwrap());
            let _ = local().exec(ExecRequest::program("/", [""; 0])).await.unwrap();
        }
    });
    assert_eq!(zombies(), 0);
}

#[test]
fn a_child_may_outlive_its_runtime() {
    let sleep = Sleep::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let child = runtime.block_on(async {
        let script = then_ready(&format!("setsid sleep {} & ", sleep.0), &sleep) + "wait";
        let child = local().spawn(ExecRequest::shell(script)).await.unwrap();
        wait_for_ready(&*child).await;
        child
    });
    drop(runtime);
    assert_eq!(sleep.alive(), 1);
    drop(child);
    assert_eq!(sleep.alive(), 0);
}

//! Limits of all commands together.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use agentx_provider_local::{Guarantee, Isolation, LocalProcess, TreeGroup, TreeLimits, Verdict};
use agentx_resource::{ErrorKind, ExecEvent, ExecRequest, ExitStatus, Process, ProcessExt};

use super::{Host, SCOPES, full, isolated, light, said, sh};

/// How long what is to happen may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn limits() -> TreeLimits {
    TreeLimits::default().with_memory(64 << 20).with_processes(32).with_cpu(500)
}

/// The limits alone, with Landlock and a filter, and with all that there is.
fn kinds(limits: TreeLimits) -> Vec<Isolation> {
    let mut kinds = vec![Isolation::new(), light()];
    kinds.extend(SCOPES.map(full));
    kinds.into_iter().map(|isolation| isolation.with_tree_limits(limits)).collect()
}

/// The names of the groups that a command is in.
async fn groups(process: &LocalProcess) -> Vec<String> {
    let lines = said(process, "cat /proc/self/cgroup").await;
    let names = lines.lines().filter_map(|line| line.rsplit('/').next());
    names.filter(|name| name.starts_with("agentx-tree-")).map(str::to_owned).collect()
}

/// Where a group of this name is, below all hierarchies.
fn find(name: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name() == name {
                    found.push(entry.path());
                }
                walk(&entry.path(), name, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), name, &mut found);
    found
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn what_forks_on_and_on_is_held() {
    for isolation in kinds(TreeLimits::default().with_processes(32)) {
        let Some((process, _dir)) = isolated(isolation) else { continue };
        let bomb = ExecRequest::program("sh", ["-c", "b() { b | b & }; b; exec sleep 1000"]);
        let child = process.spawn(bomb).await.unwrap();
        wait_until("nothing was refused", || {
            let usage = process.tree_usage().unwrap();
            assert!(usage.processes.unwrap() <= 32, "{usage:?}");
            usage.processes_refused.unwrap() > 0
        });
        drop(child);
        wait_until("something lives", || process.tree_usage().unwrap().processes == Some(0));
        assert_eq!(said(&process, "echo hi").await, "hi");
    }
}

#[tokio::test]
async fn what_takes_too_much_memory_is_ended_and_told() {
    for isolation in kinds(TreeLimits::default().with_memory(64 << 20)) {
        let Some((process, _dir)) = isolated(isolation) else { continue };
        // It keeps a line that never ends.
        let hungry = ExecRequest::program("tail", ["/dev/zero"]);
        assert_eq!(process.exec(hungry).await.unwrap().status, ExitStatus::OutOfMemory);
        assert_eq!(process.tree_usage().unwrap().memory_kills, Some(1));
        // A part of a command that is ended so is its own matter; it is counted.
        assert_eq!(said(&process, "tail /dev/zero 2>/dev/null; echo $?").await, "137");
        assert_eq!(process.tree_usage().unwrap().memory_kills, Some(2));
        // Who is killed for another reason is told so.
        assert_eq!(sh(&process, "kill -9 $$").await.status, ExitStatus::Signal(9));
        let usage = process.tree_usage().unwrap();
        assert!(usage.memory.unwrap() <= 64 << 20 && usage.processes.is_none(), "{usage:?}");
    }
}

/// One group for two: what one uses up is missing for both, and the other's end ends nothing.
#[tokio::test]
async fn a_group_holds_all_that_share_it_together() {
    let group = match TreeGroup::new(TreeLimits::default().with_processes(16)) {
        Ok(group) => group,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            return eprintln!("LEFT OUT: {error}");
        }
    };
    for isolation in [Isolation::new(), Isolation::full()] {
        let isolation = isolation.with_tree_group(group.clone());
        let Some((one, _dir)) = isolated(isolation.clone()) else { continue };
        let Some((two, _dir)) = isolated(isolation) else { continue };
        assert_eq!(groups(&one).await, groups(&two).await);
        let bomb = ExecRequest::program("sh", ["-c", "b() { b | b & }; b; exec sleep 1000"]);
        let before = group.usage().processes_refused.unwrap();
        let child = one.spawn(bomb).await.unwrap();
        wait_until("nothing was refused", || group.usage().processes_refused.unwrap() > before);
        assert!(two.tree_usage().unwrap().processes.unwrap() <= 16);
        drop(child);
        wait_until("something lives", || group.usage().processes == Some(0));
        let child = two.spawn(ExecRequest::shell("echo ready; sleep 1000")).await.unwrap();
        assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("ready\n".into())));
        drop(one);
        assert!(group.usage().processes.unwrap() > 0);
        drop(child);
    }
}

#[tokio::test]
async fn a_share_of_a_processor_is_no_more() {
    for isolation in [Isolation::new(), Isolation::full()] {
        let isolation = isolation.with_tree_limits(TreeLimits::default().with_cpu(200));
        let Some((process, _dir)) = isolated(isolation) else { continue };
        // Works for two tenths of a second, which are nine turns of 20 milliseconds and more.
        let busy = "used=0; while [ $used -lt 20 ]; do
            read -r _ _ _ _ _ _ _ _ _ _ _ _ _ user system _ < /proc/self/stat; used=$((user + system)); done";
        let since = Instant::now();
        let output = process.exec(ExecRequest::program("sh", ["-c", busy])).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(since.elapsed() > Duration::from_millis(700), "{:?}", since.elapsed());
        assert!(process.tree_usage().unwrap().throttled.is_some());
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_group() {
    for isolation in kinds(limits()) {
        let Some((process, _dir)) = isolated(isolation.clone()) else { continue };
        let mut names = groups(&process).await;
        names.sort();
        names.dedup();
        let live = names.iter().flat_map(|name| find(name)).count();
        assert!(!names.is_empty() && live >= names.len(), "{names:?}");
        // Another one, by this host or the next, has a group of its own.
        let Some((another, _dir)) = isolated(isolation) else { continue };
        let others = groups(&another).await;
        assert!(names.iter().all(|name| !others.contains(name)), "{names:?} {others:?}");
        assert_eq!(names.iter().flat_map(|name| find(name)).count(), live);
        let child = process.spawn(ExecRequest::shell("setsid sleep 1000 & sleep 1000")).await.unwrap();
        drop((child, process, another));
        names.extend(others);
        wait_until("a group is left", || names.iter().all(|name| find(name).is_empty()));
    }
}

/// A host that is to be killed: not a test by itself.
#[test]
fn a_host() {
    if std::env::var_os("AGENTX_TEST_TREE_HOST").is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (process, _dir) = isolated(Isolation::new().with_tree_limits(limits())).unwrap();
        let names = groups(&process).await.join(" ");
        let child =
            process.spawn(ExecRequest::shell("setsid sleep 1000 & echo ready; sleep 1000")).await.unwrap();
        assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("ready\n".into())));
        fs::write(std::env::var_os("AGENTX_TEST_TREE_HOST").unwrap(), names).unwrap();
        std::future::pending::<()>().await;
    });
}

#[test]
fn the_next_host_clears_up_behind_one_that_was_killed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let isolation = Isolation::new().with_tree_limits(limits());
    if isolated(isolation.clone()).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "isolation::tree::a_host"])
        .env("AGENTX_TEST_TREE_HOST", &told)
        .stdout(Stdio::null())
        .spawn();
    let host = Host(host.unwrap());
    let read = || fs::read_to_string(&told).unwrap_or_default();
    wait_until("the host does not start", || !read().is_empty());
    let names: Vec<_> = read().split(' ').map(str::to_owned).collect();
    let live = names.iter().flat_map(|name| find(name)).count();
    assert!(live > 0);
    // While it lives, nobody touches what is its own.
    drop(isolated(isolation.clone()));
    assert_eq!(names.iter().flat_map(|name| find(name)).count(), live);
    drop(host);
    drop(isolated(isolation));
    assert_eq!(names.iter().flat_map(|name| find(name)).collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

/// What takes its mark off and leaves its parents is still in the group, and ends with it.
#[tokio::test]
async fn a_killed_helper_leaves_nothing_in_the_group() {
    let Some((process, _dir)) = isolated(Isolation::new().with_tree_limits(limits())) else { return };
    let script = "(ulimit -x 1000; setsid sh -c 'sleep 1000 & exit' >/dev/null 2>&1); echo ready; read go";
    let request = ExecRequest::program("bash", ["-c", script]).with_stdin(agentx_resource::Stdin::Piped);
    let child = process.spawn(request).await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("ready\n".into())));
    let _ = sh(&process, "kill -9 $PPID").await;
    wait_until("something lives", || process.tree_usage().unwrap().processes == Some(0));
}

#[tokio::test]
async fn a_probe_tries_the_limits_that_were_asked_for() {
    let Some((process, _dir)) = isolated(Isolation::full().with_tree_limits(limits())) else { return };
    let probe = process.probe().await.unwrap();
    // A machine that is busy otherwise has no processor to give outside either.
    let Verdict::Holds { attempts: 2 | 3 } = probe.verdict(Guarantee::Tree) else { panic!("{probe}") };
    assert!(probe.holds(), "{probe}");
    // What was not asked for is not tried.
    let isolation = Isolation::new().with_tree_limits(TreeLimits::default().with_processes(9));
    assert_eq!(isolation.probe().await.unwrap().verdict(Guarantee::Tree), Verdict::Holds { attempts: 1 });
}

/// Limits alone share nothing that was not shared before.
#[tokio::test]
async fn the_whole_machine_can_be_limited_and_not_confined() {
    let runs = |isolation| LocalProcess::new("/").unwrap().with_isolation(isolation);
    match runs(Isolation::new().with_tree_limits(limits())) {
        Ok(process) => assert_eq!(said(&process, "pwd").await, "/"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}"),
    }
    for isolation in [light(), Isolation::full()] {
        assert_eq!(runs(isolation).map(drop).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_limit_that_nothing_can_keep_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let none = TreeLimits::default();
    for limits in [none.with_memory(0), none.with_processes(0), none.with_cpu(9)] {
        let isolation = Isolation::new().with_tree_limits(limits);
        let error = LocalProcess::new(dir.path()).unwrap().with_isolation(isolation).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{limits:?}");
    }
    let process = LocalProcess::new(dir.path()).unwrap();
    assert!(process.tree_usage().is_none());
}

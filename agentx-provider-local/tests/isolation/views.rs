//! What commands see of the file system, and what is theirs alone.

use std::{
    fs,
    io::BufRead,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use agentx_provider_local::{Containment, Isolation, LocalProcess, Namespaces};
use agentx_resource::{ErrorKind, ExecRequest, Process, ProcessExt, ResourceLimits, ResourcePath, Stdin};

use super::{Host, SCOPES, full, isolated, said, sh};

fn at(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

#[tokio::test]
async fn a_path_has_one_meaning() {
    for scope in SCOPES {
        let Some((process, dir)) = isolated(full(scope)) else { continue };
        assert_eq!(process.capabilities().root, "/workspace");
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let pwd = ExecRequest::shell("pwd; echo $PWD; pwd -P; echo hello > here; cat /workspace/a/b/here");
        let output = process.exec(pwd.with_cwd(at("/a/b"))).await.unwrap();
        assert_eq!(output.stdout_text(), "/workspace/a/b\n/workspace/a/b\n/workspace/a/b\nhello\n");
        assert_eq!(fs::read_to_string(dir.path().join("a/b/here")).unwrap(), "hello\n");
    }
}

#[tokio::test]
async fn the_root_can_be_seen_elsewhere() {
    let Some((process, _dir)) = isolated(Isolation::full().with_root_at("/home/agent/project")) else {
        return;
    };
    assert_eq!(process.capabilities().root, "/home/agent/project");
    assert_eq!(said(&process, "pwd").await, "/home/agent/project");
}

#[tokio::test]
async fn a_working_directory_leads_nowhere_else() {
    for scope in SCOPES {
        let Some((process, dir)) = isolated(full(scope)) else { continue };
        symlink("/usr", dir.path().join("out")).unwrap();
        fs::create_dir(dir.path().join("real")).unwrap();
        symlink("real", dir.path().join("inside")).unwrap();
        let exec = |path| process.exec(ExecRequest::shell("pwd").with_cwd(at(path)));
        assert_eq!(exec("/out").await.unwrap_err().kind(), ErrorKind::Escapes);
        assert_eq!(exec("/missing").await.unwrap_err().kind(), ErrorKind::NotFound);
        // Inside, a link is followed by the host, and the command starts where it leads.
        assert_eq!(exec("/inside").await.unwrap().stdout_text(), "/workspace/real\n");
    }
}

#[tokio::test]
async fn readable_and_writable_places_are_seen_at_their_own_paths() {
    let (readable, writable) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(readable.path().join("x"), "read me").unwrap();
    let (r, w) = (readable.path().display(), writable.path().display());
    for isolation in [full(Namespaces::PerCommand), full(Namespaces::PerOwner), super::light()] {
        let isolation = isolation.with_readable(readable.path()).with_writable(writable.path());
        let Some((process, _dir)) = isolated(isolation) else { continue };
        assert_eq!(said(&process, &format!("cat {r}/x")).await, "read me");
        assert!(!sh(&process, &format!("echo no > {r}/x")).await.status.success());
        assert_eq!(said(&process, &format!("echo yes > {w}/y; cat {w}/y")).await, "yes");
    }
    assert_eq!(fs::read_to_string(readable.path().join("x")).unwrap(), "read me");
    assert_eq!(fs::read_to_string(writable.path().join("y")).unwrap(), "yes\n");
}

#[tokio::test]
async fn temporary_files_are_a_commands_own_or_its_owners() {
    let mine = format!("/tmp/agentx-test-{}", std::process::id());
    if let Some((process, _dir)) = isolated(full(Namespaces::PerCommand)) {
        said(&process, &format!("echo x > {mine}; echo x > /dev/shm/y; test -e /tmp/y")).await;
        assert_eq!(said(&process, "ls -A /tmp /var/tmp/").await, "/tmp:\n\n/var/tmp/:");
    }
    if let Some((process, _dir)) = isolated(full(Namespaces::PerOwner)) {
        said(&process, &format!("echo x > {mine}")).await;
        assert_eq!(said(&process, &format!("cat {mine}")).await, "x");
    }
    assert!(!Path::new(&mine).exists());
}

/// Prints what is there of System V, and a POSIX queue.
const LOOK: &str = "tail -qn +2 /proc/sysvipc/*; \
    perl -e '$name = \"left\"; print \"queue\\n\" if syscall(shift, $name, 0, 0, 0) >= 0' $OPEN";

/// Namespaces are used again where nothing is left in them.
#[tokio::test]
async fn nothing_of_a_command_is_left_for_the_next() {
    // What is left, and what proves that it could be seen. Landlock lets nobody have a queue.
    let queue =
        "perl -e '$name = \"left\"; syscall(shift, $name, 0102, 0600, 0) >= 0 or die \"$!\\n\"' $OPEN";
    let leave = [
        (queue, LOOK),
        ("true", "echo nothing"),
        ("echo x > /tmp/x", "ls -A /tmp"),
        ("mkdir /tmp/.hidden", "ls -A /tmp"),
        ("ipcmk -M 100 >/dev/null", LOOK),
        ("ipcmk -S 1 >/dev/null", LOOK),
        ("ipcmk -Q >/dev/null", LOOK),
        ("setsid sleep 1000 >/dev/null 2>&1 &", "cat /proc/[0-9]*/comm | grep sleep"),
    ];
    for (landlock, leave) in [(true, &leave[1..]), (false, &leave)] {
        let isolation = full(Namespaces::PerCommand).with_landlock(landlock);
        let Some((process, _dir)) = isolated(isolation) else { continue };
        // The number of the call that opens a queue.
        let open = if cfg!(target_arch = "x86_64") { 240 } else { 180 };
        let process = process.with_env("OPEN", open.to_string());
        for (leave, look) in leave.iter().cycle().take(2 * leave.len()) {
            let all = format!("ls -A /tmp; {LOOK}; cat /proc/[0-9]*/comm | grep sleep");
            // What was only just started may have another name yet.
            let again = format!("for i in $(seq 1000); do {look} && break; done");
            let output = sh(&process, &format!("{all}; echo --\n{leave}\n{again}")).await;
            let (text, told) = (output.stdout_text(), output.stderr_text());
            let Some(("", seen)) = text.split_once("--\n") else { panic!("{leave}: {text} {told}") };
            assert!(!seen.is_empty(), "{leave}: {text} {told}");
        }
    }
}

/// Who knew how to get past the filter would have no right to anything there.
#[tokio::test]
async fn no_user_namespace_can_be_made_beside_the_filter() {
    let Some((process, _dir)) = isolated(full(Namespaces::PerCommand)) else { return };
    assert_eq!(said(&process, "cat /proc/sys/user/max_user_namespaces").await, "0");
}

#[tokio::test]
async fn nobody_spoils_temporary_files_for_the_next() {
    let Some((process, _dir)) = isolated(full(Namespaces::PerCommand)) else { return };
    for _ in 0..10 {
        assert_eq!(said(&process, "stat -c %a /tmp/; chmod 0 /tmp/").await, "1777");
    }
}

#[tokio::test]
async fn temporary_files_are_bounded() {
    let Some((process, _dir)) = isolated(Isolation::full().with_scratch(1 << 20)) else { return };
    let output = sh(&process, "head -c 3000000 /dev/zero > /tmp/large").await;
    assert!(!output.status.success());
    assert!(output.stderr_text().contains("No space"), "{}", output.stderr_text());
}

#[tokio::test]
async fn a_command_is_a_process_like_any_other() {
    for scope in SCOPES {
        let Some((process, _dir)) = isolated(full(scope)) else { continue };
        // The first process of a PID namespace would not be ended by its own signals.
        let output = sh(&process, "kill -TERM $$; sleep 1; echo alive").await;
        assert_eq!(output.status, agentx_resource::ExitStatus::Signal(15));
        assert_ne!(said(&process, "echo $$").await, "1");
        // Pipes of its own, devices and a loopback device are there.
        assert_eq!(said(&process, "echo hi | cat > /dev/null; echo ok > /dev/stdout").await, "ok");
        assert_eq!(said(&process, "cat /proc/self/comm").await, "cat");
    }
}

#[tokio::test]
async fn commands_of_their_own_namespaces_do_not_see_each_other() {
    let Some((process, _dir)) = isolated(full(Namespaces::PerCommand)) else { return };
    let waiting = process.spawn(ExecRequest::shell("sleep 100")).await.unwrap();
    let seen = said(&process, "cat /proc/[0-9]*/comm | sort -u | tr '\\n' ' '").await;
    assert!(!seen.contains("sleep"), "{seen}");
    drop(waiting);
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    for scope in SCOPES {
        let Some((process, _dir)) = isolated(full(scope)) else { continue };
        let mark = format!("31{}", std::process::id());
        let script = format!(
            "(setsid nohup sleep {mark} >/dev/null 2>&1 &) ; (sleep {mark} & setsid sleep {mark} &) >/dev/null 2>&1; echo done"
        );
        for _ in 0..20 {
            assert_eq!(said(&process, &script).await, "done");
            assert_eq!(alive(&mark), 0, "{scope:?}");
        }
        // What holds the output is given its time, and then ended.
        let slow = process.clone().with_drain_grace(Duration::from_millis(50));
        assert_eq!(said(&slow, &format!("sleep {mark} & echo done")).await, "done");
        assert_eq!(alive(&mark), 0, "{scope:?}");
        let child =
            process.spawn(ExecRequest::shell(format!("setsid sleep {mark} & sleep {mark}"))).await.unwrap();
        drop(child);
        assert_eq!(alive(&mark), 0, "{scope:?}");
    }
}

#[tokio::test]
async fn output_of_what_was_left_behind_is_read() {
    let Some((process, _dir)) = isolated(full(Namespaces::PerCommand)) else { return };
    assert_eq!(said(&process, "(sleep 0.2; echo late) & echo early").await, "early\nlate");
}

#[tokio::test]
async fn everything_ends_with_the_process() {
    for scope in SCOPES {
        let Some((process, _dir)) = isolated(full(scope)) else { continue };
        let mark = format!("32{}", std::process::id());
        let child = process.spawn(ExecRequest::shell(format!("sleep {mark}"))).await.unwrap();
        drop(process);
        drop(child);
        let since = Instant::now();
        while alive(&mark) > 0 {
            assert!(since.elapsed() < Duration::from_secs(5), "{scope:?}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_many() {
    for scope in SCOPES {
        let Some((process, dir)) = isolated(full(scope)) else { continue };
        let commands = (0..40).map(|number| {
            let process = process.clone();
            tokio::spawn(async move {
                said(&process, &format!("echo {number} > out{number}; cat out{number}")).await
            })
        });
        for (number, command) in commands.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(command.await.unwrap(), number.to_string());
        }
        assert!(dir.path().join("out39").exists());
    }
}

#[tokio::test]
async fn protected_paths_stay_and_nothing_stands_in_for_what_is_not_there() {
    for scope in SCOPES {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".git/hooks")).unwrap();
        fs::write(dir.path().join(".git/config"), "# mine").unwrap();
        fs::write(dir.path().join(".bashrc"), "# mine").unwrap();
        let process = LocalProcess::new(dir.path()).unwrap();
        let Ok(process) = process.with_isolation(full(scope)) else {
            return eprintln!("LEFT OUT: isolation");
        };
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        for script in [
            "echo evil >> .bashrc",
            "rm .bashrc",
            "mv .git x",
            "echo evil > .git/hooks/pre-commit",
            "echo evil > .git/config",
        ] {
            assert!(!sh(&process, script).await.status.success(), "{script}");
        }
        // All else in there can be changed, and what is not there can be made.
        said(&process, "echo ok > .git/HEAD; echo ok > .envrc").await;
        drop(process);
        assert_eq!(fs::read_to_string(dir.path().join(".bashrc")).unwrap(), "# mine");
        assert_eq!(fs::read_dir(dir.path().join(".git")).unwrap().count(), 3);
    }
}

/// A repository that commands make is one, and that of the host is given the hooks that it lacks.
#[tokio::test]
async fn a_repository_can_be_made_and_one_that_is_there_has_its_hooks_protected() {
    let Some((process, dir)) = isolated(Isolation::full()) else { return };
    if sh(&process, "command -v git").await.status.success() {
        let made = "git init -q . && echo x > x && git add -A && git status --porcelain";
        assert_eq!(said(&process, made).await, "A  x");
    } else {
        said(&process, "mkdir .git").await;
    }
    drop(process);
    let hooks = dir.path().join(".git/hooks");
    if hooks.exists() {
        fs::remove_dir_all(&hooks).unwrap();
    }
    let process = LocalProcess::new(dir.path()).unwrap().with_isolation(Isolation::full()).unwrap();
    assert!(!sh(&process, "echo evil > .git/hooks/pre-commit").await.status.success());
    drop(process);
    assert!(hooks.is_dir() && dir.path().join(".git/config").is_file());
}

/// What stands in is there as long as a command needs it: what is removed on the host loses its protection.
#[tokio::test]
async fn protection_outlives_another_isolation_of_the_root_and_its_own_process() {
    let isolation = || Isolation::full().with_protected([".bashrc", ".git/hooks"]);
    let Some((first, dir)) = isolated(isolation()) else { return };
    let second = LocalProcess::new(dir.path()).unwrap().with_isolation(isolation()).unwrap();
    drop(first);
    assert!(!sh(&second, "echo evil > .bashrc").await.status.success());
    assert!(!sh(&second, "mkdir -p .git/hooks").await.status.success());
    let late = ExecRequest::shell("read go; echo evil > .bashrc; mkdir -p .git/hooks; echo tried");
    let child = second.spawn(late.with_stdin(Stdin::Piped)).await.unwrap();
    drop(second);
    child.write_stdin("go\n".into()).await.unwrap();
    while child.next_event().await.unwrap().is_some() {}
    assert_eq!(fs::read(dir.path().join(".bashrc")).unwrap(), b"");
    assert!(!dir.path().join(".git/hooks").exists());
    drop(child);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A host of its own: not a test by itself. It isolates the root, says so and goes when it is told to.
#[test]
fn a_host() {
    let Some(root) = std::env::var_os("AGENTX_TEST_ROOT") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let isolation = Isolation::full().with_protected([".bashrc"]);
    let process = LocalProcess::new(root).unwrap().with_isolation(isolation).unwrap();
    eprintln!("isolated");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    drop(process);
}

#[tokio::test]
async fn two_hosts_on_one_root_do_each_other_no_harm() {
    let isolation = || Isolation::full().with_protected([".bashrc"]);
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let host = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "isolation::views::a_host", "--nocapture"])
            .env("AGENTX_TEST_ROOT", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut host = Host(host.unwrap());
        let mut lines = std::io::BufReader::new(host.0.stderr.take().unwrap()).lines();
        let is_ready = lines.any(|line| line.unwrap() == "isolated");
        (host, is_ready)
    };
    if isolated(isolation()).is_none() {
        return;
    }
    // The first to come is the first to go: the other's protection stays.
    let (mut first, is_ready) = start();
    assert!(is_ready);
    let second = LocalProcess::new(dir.path()).unwrap().with_isolation(isolation()).unwrap();
    drop(first.0.stdin.take());
    assert!(first.0.wait().unwrap().success());
    assert!(!sh(&second, "echo evil > .bashrc").await.status.success());
    drop(second);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    // One that is killed leaves it to the next, also to one that has not asked for it.
    let (killed, is_ready) = start();
    drop(killed);
    assert!(is_ready && dir.path().join(".bashrc").exists());
    let third = LocalProcess::new(dir.path()).unwrap().with_isolation(Isolation::full()).unwrap();
    said(&third, "echo mine > .bashrc").await;
}

#[tokio::test]
async fn a_pid_namespace_that_was_asked_for_is_there_without_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let process = LocalProcess::new(dir.path()).unwrap().with_pid_namespace();
    let Ok(process) = process.with_isolation(super::light()) else { return eprintln!("LEFT OUT: light") };
    assert_eq!(process.containment().await.unwrap(), Containment::PidNamespace);
    assert_eq!(said(&process, "cat /proc/1/comm").await, "agentx-helper");
}

#[tokio::test]
async fn a_limit_on_files_is_the_commands_and_not_its_start() {
    for scope in SCOPES {
        let Some((process, _dir)) = isolated(full(scope)) else { continue };
        let limits = ResourceLimits::default().with_open_files(4);
        let request = ExecRequest::program("sh", ["-c", "ulimit -n"]).with_limits(limits);
        assert_eq!(process.exec(request).await.unwrap().stdout_text(), "4\n");
    }
}

/// How many processes of the machine sleep for so long.
fn alive(mark: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|byte| *byte == 0).eq([b"sleep".as_slice(), mark.as_bytes(), b""])).count()
}

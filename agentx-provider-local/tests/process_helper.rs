//! The helper in its forms, what a command may use, and what happens without one.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use agentx_provider_local::{Containment, LocalProcess};
use agentx_resource::{
    ErrorKind, ExecEvent, ExecRequest, ExitStatus, Process, ProcessExt, ResourceLimits, Signal, Stdin,
    TerminalSize,
};

/// The same program as a file.
const HELPER: &str = env!("CARGO_BIN_EXE_agentx-helper");

fn local() -> LocalProcess {
    LocalProcess::new("/").unwrap()
}

/// What a script says in two forms of helper, and without one.
async fn say(script: &str) -> Vec<String> {
    let mut said = Vec::new();
    for process in [local(), local().with_helper(HELPER), local().without_helper()] {
        let output = process.exec(ExecRequest::shell(script)).await.unwrap();
        said.push(format!("{:?} {} {}", output.status, output.stdout_text(), output.stderr_text()));
    }
    said
}

#[tokio::test]
async fn commands_are_the_same_with_and_without_a_helper() {
    for script in [
        "echo $0 $PATH; pwd; exit 3",
        "kill -9 $$",
        "surely-not-there",
        "umask; ulimit -n; trap; read line; echo $?",
        "nice; pwd -P; echo $HOME",
        "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status; tty",
    ] {
        let said = say(script).await;
        assert!(said.iter().all(|line| *line == said[0]), "{script}: {said:?}");
    }
}

#[tokio::test]
async fn each_form_says_what_it_is() {
    assert_eq!(local().containment().await.unwrap(), Containment::Helper);
    assert_eq!(local().with_helper(HELPER).containment().await.unwrap(), Containment::Helper);
    let Containment::Sweep { why } = local().without_helper().containment().await.unwrap() else {
        panic!("there is a helper")
    };
    assert!(!why.is_empty());
}

#[tokio::test]
async fn a_certain_helper_that_does_not_work_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    fs::write(&other, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
    for path in [dir.path().join("missing"), dir.path().to_owned(), other] {
        let process = local().with_helper(&path);
        for error in [
            process.containment().await.unwrap_err(),
            process.spawn(ExecRequest::shell("true")).await.map(|child| child.id().to_owned()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
            assert!(error.to_string().contains("helper"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_probe_goes_through_the_same_helper() {
    let broken = local().with_helper("/no/such/helper").probe().await.unwrap_err();
    assert!(broken.to_string().contains("/no/such/helper"), "{broken}");
    let probe = local().with_helper(HELPER).probe().await.unwrap();
    assert!(probe.attempts.iter().any(|attempt| attempt.inside.got()));
}

/// Each command leads a group of its own: what signals its group reaches neither the helper nor another command.
#[tokio::test]
async fn who_signals_its_group_signals_itself_alone() {
    for process in [local(), local().with_helper(HELPER), local().without_helper()] {
        let waits = ExecRequest::shell("echo ready; read go; echo on").with_stdin(Stdin::Piped);
        let bystander = process.spawn(waits).await.unwrap();
        assert_eq!(bystander.next_event().await.unwrap(), Some(ExecEvent::Stdout("ready\n".into())));
        for signal in [9, 15] {
            let output =
                process.exec(ExecRequest::shell(format!("kill -{signal} 0; sleep 1000"))).await.unwrap();
            assert_eq!(output.status, ExitStatus::Signal(signal));
        }
        bystander.write_stdin("go\n".into()).await.unwrap();
        assert_eq!(bystander.next_event().await.unwrap(), Some(ExecEvent::Stdout("on\n".into())));
    }
}

/// Commands are in the helper's session, which has no terminal: they can neither ask the host's user nor be stopped by
/// theirs.
#[tokio::test]
async fn the_hosts_terminal_is_none_of_the_commands() {
    let terminal = || fs::File::options().read(true).write(true).open("/dev/tty");
    if std::env::var_os("IN_A_TERMINAL").is_some() {
        terminal().expect("the host has a terminal");
        for script in ["exec 3</dev/tty", "exec 3>/dev/tty", "setsid -w sh -c 'exec 3</dev/tty'"] {
            let output = local().exec(ExecRequest::shell(script)).await.unwrap();
            assert!(output.stderr_text().contains("No such device"), "{script}: {output:?}");
        }
        return;
    }
    let name = "the_hosts_terminal_is_none_of_the_commands";
    let host = ExecRequest::program(std::env::current_exe().unwrap().to_str().unwrap(), ["--exact", name]);
    let host = host.with_env("IN_A_TERMINAL", "1").with_terminal(TerminalSize::default());
    let output = local().exec(host).await.unwrap();
    assert!(output.stdout_text().contains("1 passed"), "{}", output.stdout_text());
}

#[tokio::test]
async fn a_pid_namespace_holds_what_a_command_starts() {
    let process = local().with_pid_namespace();
    match process.containment().await {
        Ok(containment) => assert_eq!(containment, Containment::PidNamespace),
        Err(error) => {
            // This machine allows no namespaces, which is never told as success.
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            return;
        }
    }
    // Only the helper and the command's own processes are there.
    let script = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & ps -e -o comm= | sort | uniq -c | tr -s ' '";
    let output = process.exec(ExecRequest::shell(script)).await.unwrap();
    assert!(output.stdout_text().contains("1 agentx-helper"), "{}", output.stdout_text());
    assert!(output.stdout_text().lines().count() < 9, "{}", output.stdout_text());
    // Nothing of the first command is left.
    let output = process.exec(ExecRequest::shell("ps -e -o comm=")).await.unwrap();
    assert!(!output.stdout_text().contains("sleep"), "{}", output.stdout_text());
    let output = process.exec(ExecRequest::shell("kill -9 $$")).await.unwrap();
    assert_eq!(output.status, ExitStatus::Signal(9));
}

#[tokio::test]
async fn limits_hold_for_the_command() {
    let limits = ResourceLimits::default()
        .with_memory(64 << 20)
        .with_cpu_time(Duration::from_millis(1500))
        .with_file_size(4096)
        .with_open_files(33);
    let request =
        ExecRequest::program("sh", ["-c", "ulimit -t; ulimit -n; head -c 9999 /dev/zero > big; ls -s"]);
    let dir = tempfile::tempdir().unwrap();
    let process = LocalProcess::new(dir.path()).unwrap();
    let output = process.exec(request.with_limits(limits)).await.unwrap();
    assert!(output.stdout_text().starts_with("2\n33\n"), "{}", output.stdout_text());
    assert_eq!(fs::metadata(dir.path().join("big")).unwrap().len(), 4096);

    let hungry =
        ExecRequest::program("sh", ["-c", "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"]);
    let output = process.exec(hungry.with_limits(limits)).await.unwrap();
    assert!(!output.status.success(), "{output:?}");
    let busy = ExecRequest::program("sh", ["-c", "while :; do :; done"]);
    let second = ResourceLimits::default().with_cpu_time(Duration::from_secs(1));
    assert_eq!(process.exec(busy.with_limits(second)).await.unwrap().status, ExitStatus::Signal(9));
}

#[tokio::test]
async fn without_a_helper_a_limit_is_refused() {
    let limits = ResourceLimits::default().with_open_files(10);
    let request = ExecRequest::shell("true").with_limits(limits);
    let refused = local().without_helper().spawn(request).await.map(|child| child.id().to_owned());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_too_late_is_nobody_elses() {
    let process = local();
    for round in 0..100 {
        // It ends while it is told to, by either way.
        let child = process.spawn(ExecRequest::program("true", [""; 0])).await.unwrap();
        if round % 2 == 0 {
            child.kill().await.unwrap();
        }
        drop(child);
        let output = process.exec(ExecRequest::program("echo", ["hi"])).await.unwrap();
        assert!(output.status.success() && output.stdout_text() == "hi\n", "{round}: {output:?}");
    }
}

#[tokio::test]
async fn commands_have_groups_of_their_own_and_no_terminal() {
    let script = "ps -o pgid= -p $$; echo $$; sh -c ': </dev/tty' 2>/dev/null; echo $?";
    let output = local().exec(ExecRequest::shell(script)).await.unwrap();
    let words: Vec<_> = output.stdout_text().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[0], words[1]);
    assert_ne!(words[2], "0");
}

#[tokio::test]
async fn a_signal_reaches_the_group() {
    let script = "trap 'echo caught' USR1; sh -c 'trap \"echo too; exit\" USR1; echo ready; while :; do sleep 0.01; done' &
        wait; wait; exit 4";
    for process in [local(), local().without_helper()] {
        let child = process.spawn(ExecRequest::shell(script)).await.unwrap();
        assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("ready\n".into())));
        child.signal(Signal::User1).await.unwrap();
        let (mut text, mut status) = (Vec::new(), None);
        while let Some(event) = child.next_event().await.unwrap() {
            match event {
                ExecEvent::Stdout(piece) => text.extend_from_slice(&piece),
                ExecEvent::Exited(exited) => status = Some(exited),
                // A shell tells of what a signal has ended.
                _ => {}
            }
        }
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("caught\n") && text.contains("too\n"), "{text}");
        assert_eq!(status, Some(ExitStatus::Code(4)));
        // Nothing is there any more to be signalled.
        child.signal(Signal::Kill).await.unwrap();
    }
}

/// As one that is being forked while its group is stopped and told to go on: the stop comes late.
#[tokio::test]
async fn a_process_that_is_stopped_late_goes_on_all_the_same() {
    let script = "echo ready; sh -c 'sleep 0.05; kill -STOP $$; echo on'; exit 5";
    let child = local().spawn(ExecRequest::program("sh", ["-c", script])).await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("ready\n".into())));
    child.signal(Signal::Stop).await.unwrap();
    child.signal(Signal::Continue).await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("on\n".into())));
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Exited(ExitStatus::Code(5))));
}

#[tokio::test]
async fn silence_ends_a_command_and_output_does_not() {
    let idle = Duration::from_millis(400);
    let request = ExecRequest::shell("echo one; sleep 1000").with_idle_timeout(idle);
    let output = local().exec(request).await.unwrap();
    assert_eq!((output.status, output.stdout_text()), (ExitStatus::TimedOut, "one\n".into()));
    // Longer than the silence that is allowed, but never silent; also where what is written is thrown away.
    let talks = "for i in $(seq 12); do echo $i >&2; sleep 0.05; done; exit 7";
    let limit = agentx_resource::OutputLimit::truncate(3);
    let request = ExecRequest::shell(talks).with_idle_timeout(idle).with_output_limit(limit);
    assert_eq!(local().exec(request).await.unwrap().status, ExitStatus::Code(7));
}

/// A helper that stands still answers nobody: not for ever.
#[tokio::test]
async fn a_command_that_stops_the_helper_ends_all_the_same() {
    let process = local().with_helper(HELPER).with_kill_grace(Duration::from_millis(20));
    let request = ExecRequest::shell("echo $$; read go; kill -STOP $PPID; echo stopped; exec sleep 1000");
    let child = process.spawn(request.with_stdin(Stdin::Piped)).await.unwrap();
    let Some(ExecEvent::Stdout(pid)) = child.next_event().await.unwrap() else { panic!("it does not begin") };
    child.write_stdin("go\n".into()).await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Stdout("stopped\n".into())));
    child.kill().await.unwrap();
    assert_eq!(child.next_event().await.unwrap(), Some(ExecEvent::Exited(ExitStatus::Killed)));
    assert_eq!(child.next_event().await.unwrap(), None);
    let pid = String::from_utf8_lossy(&pid).trim().to_owned();
    // A zombie has no command line.
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default(), "");
    assert!(process.exec(ExecRequest::shell("true")).await.unwrap().status.success());
}

/// Has the kernel hold up whoever opens a file, until this is dropped: for 45 seconds at most, and the start of a
/// command for 30.
struct Lease {
    _file: fs::File,
}

#[expect(unsafe_code, reason = "calls the C library")]
impl Lease {
    fn take(path: &std::path::Path) -> Self {
        use std::os::fd::AsRawFd;
        unsafe extern "C" {
            fn fcntl(fd: i32, command: i32, ...) -> i32;
            fn signal(signal: i32, handler: usize) -> usize;
        }
        const SIGIO: i32 = 29;
        const IGNORE: usize = 1;
        const SET_LEASE: i32 = 1024;
        const WRITE: i32 = 1;
        let file = fs::File::open(path).unwrap();
        // SAFETY: plain calls with numbers. Who wants the file is told by a signal, which would end this process.
        let taken = unsafe {
            signal(SIGIO, IGNORE);
            fcntl(file.as_raw_fd(), SET_LEASE, WRITE)
        };
        assert_eq!(taken, 0, "{}", std::io::Error::last_os_error());
        Self { _file: file }
    }
}

#[tokio::test]
async fn a_program_that_does_not_answer_holds_up_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let slow = dir.path().join("slow");
    fs::copy("/bin/echo", &slow).unwrap();
    let process = LocalProcess::new(dir.path()).unwrap();
    for is_dropped in [false, true] {
        let lease = Lease::take(&slow);
        let (one, path) = (process.clone(), slow.to_str().unwrap().to_owned());
        let held = tokio::spawn(async move { one.exec(ExecRequest::program(path, ["late"])).await });
        for round in 0..20 {
            let output = process.exec(ExecRequest::shell(format!("echo {round}; exit 3"))).await.unwrap();
            assert_eq!((output.status.code(), output.stdout_text()), (Some(3), format!("{round}\n").into()));
            tokio::task::yield_now().await;
        }
        assert!(!held.is_finished());
        if is_dropped {
            // Who gives up ends it, before it has become anything.
            held.abort();
            assert!(held.await.unwrap_err().is_cancelled());
            let helper = said(&process, "cat /proc/$PPID/task/$PPID/children").await;
            assert_eq!(helper.split_whitespace().count(), 1, "{helper}");
            drop(lease);
        } else {
            drop(lease);
            let output = held.await.unwrap().unwrap();
            assert_eq!((output.status, output.stdout_text()), (ExitStatus::Code(0), "late\n".into()));
        }
    }
}

#[tokio::test]
async fn a_program_that_can_not_be_executed_late_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let slow = dir.path().join("slow");
    fs::write(&slow, "no program").unwrap();
    fs::set_permissions(&slow, fs::Permissions::from_mode(0o755)).unwrap();
    let process = LocalProcess::new(dir.path()).unwrap();
    let lease = Lease::take(&slow);
    let (one, path) = (process.clone(), slow.to_str().unwrap().to_owned());
    let held = tokio::spawn(async move { one.exec(ExecRequest::program(path, ["x"])).await });
    for _ in 0..20 {
        said(&process, "true").await;
    }
    assert!(!held.is_finished());
    drop(lease);
    let output = held.await.unwrap().unwrap();
    assert_eq!(output.status, ExitStatus::Code(126));
    assert!(output.stderr_text().contains("Exec format error"), "{}", output.stderr_text());
}

async fn said(process: &LocalProcess, script: &str) -> String {
    let output = process.exec(ExecRequest::shell(script)).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout_text().trim().to_owned()
}

#[tokio::test]
async fn open_files_are_limited_as_the_hosts_own_now() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let process = local();
    let own = || getrlimit(Resource::Nofile).current.unwrap().to_string();
    assert_eq!(said(&process, "ulimit -Sn").await, own());
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.current.map(|current| current - 7);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(said(&process, "ulimit -Sn").await, own());
    // The helper itself needs one for each command.
    let helper = said(&process, "grep 'open files' /proc/$PPID/limits").await;
    let limits: Vec<_> = helper.split_whitespace().skip(3).take(2).collect();
    assert_eq!(limits[0], limits[1]);
}

#[tokio::test]
async fn a_helper_from_which_a_command_has_taken_its_limits_is_replaced() {
    let process = local();
    let helper = said(&process, "echo $PPID").await;
    let taken = process.exec(ExecRequest::shell("prlimit --pid $PPID --nofile=5:5")).await.unwrap();
    if !taken.status.success() {
        return println!("LEFT OUT: a helper without limits ({})", taken.stderr_text().trim());
    }
    let mut another = None;
    for _ in 0..5 {
        let output = process.exec(ExecRequest::shell("echo $PPID")).await;
        match output {
            Ok(output) if output.status.success() => another = Some(output.stdout_text().trim().to_owned()),
            // What came with its request was lost.
            Ok(output) => assert_eq!(output.status, ExitStatus::Lost),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    }
    assert_ne!(another.unwrap(), helper);
}

/// As root every directory can be searched.
#[tokio::test]
async fn a_directory_that_can_not_be_searched_holds_no_program() {
    let dir = tempfile::tempdir().unwrap();
    let (closed, open) = (dir.path().join("closed"), dir.path().join("open"));
    for path in [&closed, &open] {
        fs::create_dir(path).unwrap();
    }
    std::os::unix::fs::symlink("/bin/echo", open.join("speak")).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let path = format!("{}:{}", closed.display(), open.display());
    for process in [local(), local().without_helper()] {
        let process = process.with_env("PATH", &path);
        let output = process.exec(ExecRequest::program("speak", ["up"])).await.unwrap();
        assert_eq!(output.stdout_text(), "up\n");
        let output = process.exec(ExecRequest::program("missing", ["x"])).await.unwrap();
        assert_eq!(
            (output.status, output.stderr_text()),
            (ExitStatus::Code(127), "missing: command not found\n".into())
        );
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn words_that_fit_into_no_packet_arrive() {
    let long: Vec<String> = (0..1000).map(|n| format!("{n:0>100}")).collect();
    let request = ExecRequest::program("printf", [vec!["%s\n".to_owned()], long.clone()].concat());
    let output = local().exec(request.with_env("ALSO", "x".repeat(100_000))).await.unwrap();
    assert_eq!(output.stdout_text().lines().collect::<Vec<_>>(), long);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commands_at_once_each_get_their_own() {
    let process = local();
    let tasks = (0..100).map(|n| {
        let process = process.clone();
        tokio::spawn(async move {
            let request = ExecRequest::program("sh", ["-c".to_owned(), format!("cat; echo {n}; exit {n}")]);
            let request = request.with_stdin(Stdin::Bytes(format!("in {n}\n").into()));
            let output = process.exec(request).await.unwrap();
            assert_eq!(output.status, ExitStatus::Code(n));
            assert_eq!(output.stdout_text(), format!("in {n}\n{n}\n"));
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

#[test]
fn one_runtime_after_another_has_the_same_helper() {
    let process = local();
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let output = runtime.block_on(process.exec(ExecRequest::shell("echo $PPID"))).unwrap();
        assert!(output.status.success() && output.stdout_text().trim().parse::<u32>().is_ok());
    }
}

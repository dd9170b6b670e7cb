//! What a command is given, where it runs and how it ends, with real processes.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::mpsc,
    time::Duration,
};

use agentx_provider_local::LocalProcess;
use agentx_resource::{
    ErrorKind, ExecEvent, ExecRequest, ExitStatus, Process, ProcessExt, ResourcePath, Retry, Stdin,
    TerminalSize,
};
use futures::FutureExt;
use tempfile::TempDir;

fn local() -> (TempDir, LocalProcess) {
    let dir = TempDir::new().unwrap();
    let process = LocalProcess::new(dir.path()).unwrap();
    (dir, process)
}

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

async fn refused(process: &LocalProcess, request: ExecRequest) -> agentx_resource::Error {
    process.spawn(request).await.map(|child| child.id().to_owned()).unwrap_err()
}

#[tokio::test]
async fn a_program_runs_with_its_arguments_as_they_are() {
    let (_dir, process) = local();
    let output =
        process.exec(ExecRequest::program("printf", ["%s|", "a b", "$HOME", "*", "", "-n"])).await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(0));
    assert_eq!(output.stdout_text(), "a b|$HOME|*||-n|");
}

#[tokio::test]
async fn a_script_runs_in_the_shell() {
    let (_dir, process) = local();
    let output = process.exec(ExecRequest::shell("echo out; echo err >&2; exit 7")).await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(7));
    assert_eq!((output.stdout_text(), output.stderr_text()), ("out\n".into(), "err\n".into()));
}

#[tokio::test]
async fn a_script_is_never_taken_for_an_option_of_the_shell() {
    let (_dir, process) = local();
    for shell in ["bash", "sh"] {
        let output = process.clone().with_shell(shell).exec(ExecRequest::shell("-x")).await.unwrap();
        assert_eq!(output.status, ExitStatus::Code(127), "{shell}: {}", output.stderr_text());
    }
}

#[tokio::test]
async fn another_shell_can_be_chosen() {
    let (_dir, process) = local();
    let output = process.with_shell("/bin/sh").exec(ExecRequest::shell("echo $0")).await.unwrap();
    assert_eq!(output.stdout_text(), "/bin/sh\n");
}

#[tokio::test]
async fn pwd_at_the_root_is_the_declared_root() {
    let (dir, process) = local();
    let link = dir.path().join("link");
    fs::create_dir(dir.path().join("real")).unwrap();
    symlink("real", &link).unwrap();
    for process in [process, LocalProcess::new(&link).unwrap()] {
        let output = process.exec(ExecRequest::program("pwd", ["-P"])).await.unwrap();
        assert_eq!(output.stdout_text(), format!("{}\n", process.capabilities().root));
    }
}

#[tokio::test]
async fn the_working_directory_is_below_the_root() {
    let (dir, process) = local();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    symlink("../a/b", dir.path().join("a/inside")).unwrap();
    let root = process.capabilities().root;
    symlink(format!("{root}/a/b"), dir.path().join("absolute")).unwrap();
    for cwd in ["/a/b", "/a/inside", "/absolute"] {
        let output = process.exec(ExecRequest::program("pwd", ["-P"]).with_cwd(path(cwd))).await.unwrap();
        assert_eq!(output.stdout_text(), format!("{root}/a/b\n"), "{cwd}");
    }
}

#[tokio::test]
async fn no_symlink_leads_the_working_directory_out() {
    let (dir, process) = local();
    let outside = TempDir::new().unwrap();
    fs::create_dir(outside.path().join("sub")).unwrap();
    symlink(outside.path(), dir.path().join("absolute")).unwrap();
    symlink("../..", dir.path().join("relative")).unwrap();
    symlink("/nowhere/at/all", dir.path().join("dangling")).unwrap();
    symlink("/proc/self/cwd", dir.path().join("magic")).unwrap();
    for cwd in ["/absolute", "/absolute/sub", "/relative", "/relative/etc", "/dangling", "/magic"] {
        let error = refused(&process, ExecRequest::program("pwd", [""; 0]).with_cwd(path(cwd))).await;
        assert_eq!(error.kind(), ErrorKind::Escapes, "{cwd}: {error:?}");
        assert_eq!(error.path(), Some(cwd));
    }
}

#[test]
fn a_directory_that_is_swapped_for_a_link_meanwhile_leads_nowhere() {
    let (dir, process) = local();
    let root = process.capabilities().root;
    let outside = TempDir::new().unwrap();
    fs::create_dir(outside.path().join("sub")).unwrap();
    fs::create_dir_all(dir.path().join("a/sub")).unwrap();
    symlink(outside.path(), dir.path().join("b")).unwrap();
    let (running, stopped) = mpsc::channel::<()>();
    let swapped = fs::File::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&swapped, "a", &swapped, "b", exchange).unwrap();
            }
        });
        // Dropped at the end, whatever it is.
        let _running = running;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut inside, mut refused) = (0, 0);
        while inside < 50 || refused < 50 {
            let request = ExecRequest::program("pwd", ["-P"]).with_cwd(path("/a/sub"));
            match runtime.block_on(process.exec(request)) {
                Ok(output) => {
                    let place = output.stdout_text().into_owned();
                    assert!(
                        place == format!("{root}/a/sub\n") || place == format!("{root}/b/sub\n"),
                        "{place}"
                    );
                    inside += 1;
                }
                // The name may also have moved between its two lookups.
                Err(error) => {
                    let kinds = [ErrorKind::Escapes, ErrorKind::Unavailable, ErrorKind::NotADirectory];
                    assert!(kinds.contains(&error.kind()), "{error:?}");
                    refused += 1;
                }
            }
        }
    });
}

#[tokio::test]
async fn a_working_directory_that_is_none() {
    let (dir, process) = local();
    fs::write(dir.path().join("file"), "").unwrap();
    symlink("missing", dir.path().join("dangling")).unwrap();
    for (cwd, kind) in [
        ("/missing", ErrorKind::NotFound),
        ("/dangling", ErrorKind::NotFound),
        ("/file", ErrorKind::NotADirectory),
        ("/file/below", ErrorKind::NotADirectory),
    ] {
        let error = refused(&process, ExecRequest::shell("true").with_cwd(path(cwd))).await;
        assert_eq!((error.kind(), error.provider(), error.retry()), (kind, "local", Retry::Never), "{cwd}");
    }
}

/// On a thread of its own, which gives up root's right to enter everything.
#[test]
fn a_working_directory_that_may_not_be_entered() {
    let (dir, process) = local();
    let closed = dir.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
    std::thread::spawn(move || {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective -= rustix::thread::CapabilitySet::DAC_OVERRIDE;
        sets.effective -= rustix::thread::CapabilitySet::DAC_READ_SEARCH;
        rustix::thread::set_capabilities(None, sets).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let request = ExecRequest::shell("true").with_cwd(path("/closed"));
        let error = runtime.block_on(refused(&process, request));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    })
    .join()
    .unwrap();
}

#[test]
fn a_root_that_is_none() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(LocalProcess::new(dir.path().join("missing")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(LocalProcess::new(file).unwrap_err().kind(), ErrorKind::NotADirectory);
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff");
    fs::create_dir(dir.path().join(name)).unwrap();
    assert_eq!(LocalProcess::new(dir.path().join(name)).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn the_environment_is_what_was_named_and_nothing_else() {
    let (_dir, process) = local();
    // Cargo sets this in every test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let process = process.with_env("BASE", "1").with_env("BOTH", "base");
    let request = ExecRequest::program("env", [""; 0]).with_env("OWN", "a=b\nc").with_env("BOTH", "request");
    let output = process.exec(request.clone()).await.unwrap();
    let text = output.stdout_text().replace("a=b\nc", "");
    let mut names: Vec<_> = text.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["BASE", "BOTH", "OWN", "PATH"]);
    assert!(output.stdout_text().contains("BOTH=request\n"));
    assert!(output.stdout_text().contains("OWN=a=b\nc\n"));

    let process = process.with_inherited(["CARGO_MANIFEST_DIR", "SURELY_NOT_SET_ANYWHERE"]);
    let output = process.exec(request).await.unwrap();
    assert!(output.stdout_text().contains(concat!("CARGO_MANIFEST_DIR=", env!("CARGO_MANIFEST_DIR"), "\n")));
    assert!(!output.stdout_text().contains("SURELY_NOT_SET_ANYWHERE"));
}

#[tokio::test]
async fn no_file_of_the_host_is_inherited() {
    let (dir, process) = local();
    let name = dir.path().join("held-open");
    let _open = fs::File::create(&name).unwrap();
    // What this test program was itself started with is handed on; nothing is added to that.
    let _other = process.spawn(ExecRequest::shell("cat").with_stdin(Stdin::Piped)).await.unwrap();
    let output = process.exec(ExecRequest::shell("ls -l /proc/$$/fd")).await.unwrap();
    let listed = output.stdout_text();
    assert!(listed.contains("pipe:") && !listed.contains("held-open"), "{listed}");
    assert!(!listed.contains("anon_inode") && !listed.contains(&process.capabilities().root), "{listed}");
}

#[tokio::test]
async fn a_program_is_looked_up_in_the_path_of_the_command() {
    let (dir, process) = local();
    fs::create_dir_all(dir.path().join("bin")).unwrap();
    let tool = dir.path().join("bin/my-tool");
    fs::write(&tool, "#!/bin/sh\necho tool $0 $1\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |program: &str, search: &str| {
        let request = ExecRequest::program(program, ["x"]).with_env("PATH", search);
        process.exec(request)
    };
    for (program, search) in [
        ("my-tool", "/nowhere:bin"),
        ("my-tool", tool.parent().unwrap().to_str().unwrap()),
        ("bin/my-tool", "/nowhere"),
        ("./bin/my-tool", "/nowhere"),
        (tool.to_str().unwrap(), ""),
    ] {
        let output = run(program, search).await.unwrap();
        assert!(output.stdout_text().starts_with("tool "), "{program} in {search}: {output:?}");
    }
    assert_eq!(run("my-tool", "/nowhere").await.unwrap().status, ExitStatus::Code(127));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_exit_with_127() {
    let (_dir, process) = local();
    for program in ["surely-not-there", "./surely-not-there", "/surely/not/there"] {
        let child = process.spawn(ExecRequest::program(program, [""; 0])).await.unwrap();
        let Some(ExecEvent::Stderr(text)) = child.next_event().await.unwrap() else { panic!("no message") };
        assert!(text.starts_with(program.as_bytes()), "{text:?}");
        let exited = Some(ExecEvent::Exited(ExitStatus::Code(127)));
        assert_eq!(child.next_event().await.unwrap(), exited);
        assert_eq!(child.next_event().await.unwrap(), None);
        assert_eq!(child.next_event().await.unwrap(), None);
        child.kill().await.unwrap();
        child.close_stdin().await.unwrap();
    }
    let piped = ExecRequest::program("surely-not-there", [""; 0]).with_stdin(Stdin::Piped);
    let child = process.spawn(piped).await.unwrap();
    assert_eq!(child.write_stdin("x".into()).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_shell_that_is_not_there_is_an_exit_with_127() {
    let (_dir, process) = local();
    let output = process.with_shell("/no/such/shell").exec(ExecRequest::shell("echo hi")).await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(127));
    assert_eq!(output.stdout_text(), "");
    assert!(output.stderr_text().starts_with("/no/such/shell"), "{}", output.stderr_text());
}

#[tokio::test]
async fn a_full_disk_is_the_failure_of_who_writes() {
    let (_dir, process) = local();
    let output = process.exec(ExecRequest::shell("echo lost >/dev/full || exit 7; echo hi")).await.unwrap();
    assert_eq!(output.status, ExitStatus::Code(7));
    assert_eq!(output.stdout_text(), "");
    assert!(output.stderr_text().contains("No space left"), "{}", output.stderr_text());
}

#[tokio::test]
async fn a_program_that_can_not_be_executed_is_an_exit_with_126() {
    let (dir, process) = local();
    fs::write(dir.path().join("data"), "x").unwrap();
    fs::write(dir.path().join("nonsense"), "\u{1}\u{2}").unwrap();
    fs::set_permissions(dir.path().join("nonsense"), fs::Permissions::from_mode(0o755)).unwrap();
    for program in ["./data", "./nonsense", "/", "./data/below"] {
        let output = process.exec(ExecRequest::program(program, [""; 0])).await.unwrap();
        assert_eq!(output.status, ExitStatus::Code(126), "{program}");
        assert!(output.stderr_text().starts_with(program) && output.stderr_text().ends_with('\n'));
    }
    let output = process.exec(ExecRequest::program("data", [""; 0]).with_env("PATH", ".")).await.unwrap();
    assert_eq!(output.stderr_text(), "data: Permission denied\n");
    assert_eq!(output.status, ExitStatus::Code(126));
}

#[tokio::test]
async fn a_request_that_makes_no_sense_starts_nothing() {
    let (dir, process) = local();
    for request in [
        ExecRequest::program("", ["x"]),
        ExecRequest::program("touch\0", ["ran"]),
        ExecRequest::program("touch", ["ran", "a\0b"]),
        ExecRequest::shell("touch ran\0"),
        ExecRequest::shell("touch ran").with_env("", "x"),
        ExecRequest::shell("touch ran").with_env("A=B", "x"),
        ExecRequest::shell("touch ran").with_env("A", "x\0"),
    ] {
        let error = refused(&process, request.clone()).await;
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{request:?}");
    }
    let long = ExecRequest::program("touch", ["ran".to_owned(), "x".repeat(4 << 20)]);
    assert_eq!(refused(&process, long).await.kind(), ErrorKind::LimitExceeded);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_signal_from_elsewhere_is_told() {
    let (_dir, process) = local();
    let output = process.exec(ExecRequest::shell("kill -9 $$")).await.unwrap();
    assert_eq!(output.status, ExitStatus::Signal(9));
    let output = process.exec(ExecRequest::shell("kill -USR1 $$")).await.unwrap();
    assert_eq!(output.status, ExitStatus::Signal(10));
}

#[tokio::test]
async fn a_timeout_keeps_the_output() {
    let (_dir, process) = local();
    let request = ExecRequest::shell("echo before; echo error >&2; sleep 1000; echo after");
    let output = process.exec(request.with_timeout(Duration::from_millis(300))).await.unwrap();
    assert_eq!(output.status, ExitStatus::TimedOut);
    assert_eq!((output.stdout_text(), output.stderr_text()), ("before\n".into(), "error\n".into()));
}

#[tokio::test]
async fn a_timeout_that_is_not_reached_changes_nothing() {
    let (_dir, process) = local();
    for timeout in [Duration::from_secs(500), Duration::MAX] {
        let output = process.exec(ExecRequest::shell("exit 4").with_timeout(timeout)).await.unwrap();
        assert_eq!(output.status, ExitStatus::Code(4));
    }
}

#[tokio::test]
async fn a_timeout_of_nothing_still_ends_in_timed_out() {
    let (_dir, process) = local();
    let output =
        process.exec(ExecRequest::program("sleep", ["1000"]).with_timeout(Duration::ZERO)).await.unwrap();
    assert_eq!(output.status, ExitStatus::TimedOut);
}

#[tokio::test]
async fn every_child_has_an_id_of_its_own() {
    let (_dir, process) = local();
    let one = process.spawn(ExecRequest::shell("true")).await.unwrap();
    let two = process.spawn(ExecRequest::shell("true")).await.unwrap();
    let three = process.spawn(ExecRequest::program("surely-not-there", [""; 0])).await.unwrap();
    assert!(one.id() != two.id() && two.id() != three.id() && !three.id().is_empty());
}

#[test]
fn without_a_runtime_it_is_an_error_and_no_panic() {
    let (_dir, process) = local();
    let error = refused(&process, ExecRequest::shell("true")).now_or_never().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn debug_shows_no_value() {
    let (_dir, process) = local();
    let process = process.with_env("TOKEN", "hush");
    let request = ExecRequest::program("cat", [""; 0]).with_stdin(Stdin::Bytes("hush".into()));
    let child = process.spawn(request).await.unwrap();
    let shown = format!("{process:?} {child:?}");
    assert!(shown.contains("TOKEN") && !shown.contains("hush"), "{shown}");
}

fn in_terminal(script: &str) -> ExecRequest {
    ExecRequest::shell(script).with_terminal(TerminalSize::default())
}

#[tokio::test]
async fn a_terminal_types_what_is_given_and_then_the_end() {
    let (_dir, process) = local();
    let script = "stty -echo; cat; echo; echo end";
    for (given, shown) in [("", ""), ("one\n", "one\r\n"), ("one\ntwo", "one\r\ntwo")] {
        let stdin = if given.is_empty() { Stdin::Null } else { Stdin::Bytes(given.into()) };
        // The echo may come before it is switched off.
        let output = process.exec(in_terminal(script).with_stdin(stdin)).await.unwrap();
        let text = output.stdout_text().into_owned();
        assert!(text.ends_with(&format!("{shown}\r\nend\r\n")), "{given:?}: {text:?}");
        assert_eq!(output.status, ExitStatus::Code(0));
    }
}

#[tokio::test]
async fn closing_the_input_of_a_terminal_is_the_end_of_it() {
    let (_dir, process) = local();
    let child = process.spawn(in_terminal("cat; exit 4").with_stdin(Stdin::Piped)).await.unwrap();
    child.write_stdin("x\n".into()).await.unwrap();
    child.close_stdin().await.unwrap();
    assert_eq!(child.write_stdin("y".into()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut status = None;
    while let Some(event) = child.next_event().await.unwrap() {
        if let ExecEvent::Exited(exit) = event {
            status = Some(exit);
        }
    }
    assert_eq!(status, Some(ExitStatus::Code(4)));
}

#[tokio::test]
async fn a_terminal_ends_with_what_holds_it() {
    let (_dir, process) = local();
    // The sleep holds the terminal, and ignores that it hangs up.
    let process = process.with_drain_grace(Duration::from_millis(50));
    let output = process.exec(in_terminal("trap '' HUP; sleep 300 & echo $!; exit 0")).await.unwrap();
    let id = output.stdout_text().trim().to_owned();
    assert_eq!(output.status, ExitStatus::Code(0));
    assert!(!Path::new("/proc").join(&id).exists(), "{id} is left");
}

#[tokio::test]
async fn without_a_helper_there_is_no_terminal() {
    let (_dir, process) = local();
    let process = process.without_helper();
    assert!(!process.capabilities().terminal && !process.capabilities().limits);
    let refused = process.exec(in_terminal("true")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_limit_that_does_not_bind_is_refused() {
    let (_dir, process) = local();
    let request = ExecRequest::program("true", [""; 0])
        .with_limits(agentx_resource::ResourceLimits::default().with_processes(1_000_000));
    let outcome = process.exec(request).await;
    if rustix::process::geteuid().is_root() {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unsupported);
    } else {
        assert_eq!(outcome.unwrap().status, ExitStatus::Code(0));
    }
}

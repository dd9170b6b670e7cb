//! A shell that stays, over real shells: nothing that a command does breaks the framing, and nothing is left of it.
#![cfg(test)]
#![cfg(target_os = "linux")]

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use agentx_conformance::{
    Case, Fresh, TokioClock,
    faulty::{FaultyLive, LiveFault},
    process::{background, session as in_session},
};
use agentx_provider_local::LocalProcess;
use agentx_resource::{
    ExecEvent, ExecRequest, ExitStatus, OutputLimit, Process, ProcessExt, ResourcePath, ShellOptions,
    ShellOutput, ShellSession,
};

agentx_conformance::process_session_suite!(session_suite, fresh);
agentx_conformance::process_background_suite!(background_suite, fresh);

async fn fresh() -> Fresh<dyn Process> {
    let dir = tempfile::tempdir().unwrap();
    Fresh::process(LocalProcess::new(dir.path()).unwrap()).with_guard(dir)
}

/// Cases of the background that only commands with process ids and signals can fail.
const REAL: [&str; 2] = ["background-drop-ends", "background-signal"];

#[tokio::test(flavor = "multi_thread")]
async fn broken_processes_are_caught() {
    // All at once, since some are caught only when a wait is over.
    futures::future::join_all(LiveFault::ALL.iter().map(async |fault| {
        // The others are shown over programs in memory.
        let real = fault.caught_in_background().filter(|id| REAL.contains(id));
        let in_session = is_caught(in_session::CASES, fault.caught_in_session(), *fault);
        futures::future::join(in_session, is_caught(background::CASES, real, *fault)).await;
    }))
    .await;
}

async fn is_caught(cases: &[Case<dyn Process>], id: Option<&'static str>, fault: LiveFault) {
    let Some(id) = id else { return };
    let dir = tempfile::tempdir().unwrap();
    let sound: Arc<dyn Process> = Arc::new(LocalProcess::new(dir.path()).unwrap());
    let case = cases.iter().find(|case| case.id() == id).unwrap();
    let outcome = case.attempt(Arc::new(FaultyLive::new(sound, fault))).await;
    assert!(outcome.is_err(), "{fault:?} passes {id}");
}

/// The shells of this machine: `sh`, and which others there are.
fn shells() -> Vec<ExecRequest> {
    let found = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(name).is_file())
    };
    let mut shells = vec![ExecRequest::program("sh", [""; 0])];
    for (name, args) in [("bash", &[][..]), ("dash", &[]), ("busybox", &["sh"])] {
        shells.extend(found(name).then(|| ExecRequest::program(name, args.iter().copied())));
    }
    shells
}

fn session(root: &Path, shell: &ExecRequest) -> ShellSession {
    let process = LocalProcess::new(root)
        .unwrap()
        .with_kill_grace(Duration::from_millis(200))
        .with_drain_grace(Duration::from_millis(200));
    ShellSession::new(Arc::new(process), Arc::new(TokioClock)).with_request(shell.clone())
}

/// Generous: what takes longer hangs.
fn options() -> ShellOptions {
    ShellOptions::default().with_timeout(Duration::from_mins(1))
}

async fn run(session: &ShellSession, command: &str) -> ShellOutput {
    session.run(command, options()).await.unwrap_or_else(|error| panic!("{command}: {error:?}"))
}

fn stdout(output: &ShellOutput) -> String {
    output.output.stdout_text().into_owned()
}

const CODE_0: ExitStatus = ExitStatus::Code(0);

#[tokio::test(flavor = "multi_thread")]
async fn state_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for shell in shells() {
        let session = session(&root, &shell);
        run(&session, "mkdir -p 'a b'; cd 'a b'; x='it'\\''s'; f() { echo \"f $1\"; }; export Y=1").await;
        let output = run(&session, "pwd; echo \"$x\"; f 2; env | grep ^Y").await;
        let directory = root.join("a b");
        assert_eq!(stdout(&output), format!("{}\nit's\nf 2\nY=1\n", directory.display()), "{shell:?}");
        assert_eq!(output.cwd.as_deref(), directory.to_str());
        run(&session, "sh -c 'exit 42'").await;
        assert_eq!(stdout(&run(&session, "echo $?").await), "42\n", "{shell:?}");
        assert_eq!(stdout(&run(&session, "echo $?; false").await), "0\n", "{shell:?}");
        assert_eq!(stdout(&run(&session, "echo $?").await), "1\n", "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_as_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for shell in shells() {
        let session = session(dir.path(), &shell);
        let output = run(&session, "printf out; printf err >&2").await;
        assert_eq!((output.output.stdout, output.output.stderr), ("out".into(), "err".into()), "{shell:?}");
        // Every byte, the first of each mark and the beginning of none among them.
        let bytes: Vec<u8> = (0..=255).collect();
        fs::write(dir.path().join("bytes"), &bytes).unwrap();
        let output =
            run(&session, "cat bytes bytes; cat bytes >&2; printf '\\036'; printf '\\036' >&2").await;
        let expected: Vec<u8> = [&bytes, &bytes, &vec![0x1e]].into_iter().flatten().copied().collect();
        assert_eq!(output.output.stdout, expected, "{shell:?}");
        assert_eq!(output.output.stderr.len(), 257, "{shell:?}");
        let output = run(&session, "echo begun; cat; read x || echo end").await;
        assert_eq!(stdout(&output), "begun\nend\n", "its input is empty");
        let long = format!("printf %s '{}' | wc -c", "x'\\''y".repeat(40_000));
        assert_eq!(stdout(&run(&session, &long).await).trim(), "120000", "{shell:?}");
    }
}

/// Whatever they do, the shell answers after them.
const HARMLESS: &[&str] = &[
    "if",
    "then",
    "fi; done",
    "}",
    "{",
    "(",
    ")",
    "((",
    "$(",
    "`",
    "'",
    "\"",
    "echo 'open",
    "echo \"open",
    "echo \\",
    "# comment",
    "",
    "\n\n",
    "x=1 #",
    "cat <<E\nopen",
    "cat <<'E'\nit's\nE",
    "cat <<E",
    "&&",
    "|",
    "; ;",
    "&",
    "!",
    "case x in",
    "eval 'eval \"'",
    "while",
    "break 9",
    "continue",
    "while :; do break 9; done",
    "echo $((1/0))",
    "exec >&-",
    "exec 2>&-",
    "exec <&- >&- 2>&-; echo lost",
    "exec 6>&- 7>&- 8>&-",
    "exec 7>/dev/null 8>&7",
    "exec >/dev/null 2>&1",
    "exec </dev/zero",
    "trap 'echo trapped' EXIT",
    "trap '' TERM INT HUP PIPE",
    "set -f; IFS=0123456789",
    "set -x",
    "set -v",
    "set -xv",
    "set -u",
    "set -C",
    "set -a",
    "set -- a b c",
    "shift 9 2>/dev/null",
    "unset PWD OLDPWD IFS PATH",
    "alias eval=false command=false printf=false unset=false exit=false",
    "command() { echo mine; }",
    "readonly PWD x; x=2",
    "sleep 100 &",
    "sleep 100 >/dev/null 2>&1 &",
    "(exit 7)",
    "kill -0 $$",
    "wait",
    "umask 777",
    "printf '\\036%s' 0123456789abcdef >&2",
    "exec 9>/dev/null",
    "ulimit -f 0 2>/dev/null",
    "nosuchprogram",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_command_breaks_the_framing() {
    let dir = tempfile::tempdir().unwrap();
    for shell in shells() {
        for command in HARMLESS {
            let session = session(dir.path(), &shell);
            let mut ended = run(&session, command).await.ended;
            let mut next = run(&session, "echo alive").await;
            assert!(!ended || command.starts_with("readonly"), "{shell:?} ended by {command:?}");
            // After `eval '$('` and its like, bash 5.2 writes beyond its own buffer, and aborts sooner or later. That
            // is told as what it is.
            if matches!(next.output.status, ExitStatus::Signal(6 | 11)) {
                assert!(next.ended, "{shell:?} after {command:?}");
                ended = true;
                next = run(&session, "echo alive").await;
            }
            assert_eq!(stdout(&next), "alive\n", "{shell:?} after {command:?}");
            assert_eq!(next.restarted, ended, "{shell:?} after {command:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_syntax_error_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    for shell in shells() {
        let session = session(dir.path(), &shell);
        for command in ["if", "echo 'open", "fi", "(", "for"] {
            let output = run(&session, command).await;
            assert!(matches!(output.output.status, ExitStatus::Code(1..)), "{shell:?} {command}: {output:?}");
            assert!(!output.output.stderr.is_empty(), "{shell:?} {command}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_ends_itself_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    for shell in shells() {
        for (command, status, said) in [
            ("cd sub; echo a; exit 3", ExitStatus::Code(3), "a\n"),
            ("cd sub; set -e; echo a; false; echo b", ExitStatus::Code(1), "a\n"),
            ("exec echo replaced", CODE_0, "replaced\n"),
            ("exec sh -c 'exit 5'", ExitStatus::Code(5), ""),
            ("kill -9 $$", ExitStatus::Signal(9), ""),
            ("echo a; kill -TERM $$; sleep 100", ExitStatus::Signal(15), "a\n"),
            ("sleep 100 & exit 4", ExitStatus::Code(4), ""),
        ] {
            let session = session(dir.path(), &shell);
            run(&session, "cd sub; cd ..; cd sub; x=1").await;
            let output = run(&session, command).await;
            assert_eq!(
                (output.output.status, stdout(&output).as_str()),
                (status, said),
                "{shell:?} {command}"
            );
            assert!(output.ended && !output.restarted, "{shell:?} {command}");
            let next = run(&session, "pwd; echo \"x=$x\"").await;
            assert!(next.restarted && !next.ended);
            assert!(stdout(&next).ends_with("/sub\nx=\n"), "{shell:?} {command}: {next:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_directory_is_kept_if_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for shell in shells() {
        let session = session(&root, &shell);
        let name = "it's \"a\" $dir\n";
        fs::create_dir_all(root.join(name)).unwrap();
        let output = run(&session, "cd it*").await;
        assert_eq!(output.cwd.as_deref(), root.join(name).to_str(), "{shell:?}");
        run(&session, "exit").await;
        assert_eq!(run(&session, ":").await.cwd.as_deref(), root.join(name).to_str(), "{shell:?}");
        // It is removed: the next shell says where it is instead.
        run(&session, "exit").await;
        fs::remove_dir(root.join(name)).unwrap();
        let output = run(&session, "pwd").await;
        assert_eq!(stdout(&output).trim_end(), root.to_str().unwrap(), "{shell:?}");
        assert_eq!(output.cwd.as_deref(), root.to_str(), "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_hangs_ends_with_everything_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    // All at once, since each waits for its timeouts.
    futures::future::join_all(shells().into_iter().map(async |shell| {
        let sleep = Sleep::new();
        let session = session(dir.path(), &shell);
        let hang = format!("echo begun; sleep {0} & setsid sleep {0} & sleep {0}", sleep.0);
        let output =
            session.run(&hang, ShellOptions::default().with_timeout(Duration::from_secs(1))).await.unwrap();
        assert_eq!((output.output.status, output.ended), (ExitStatus::TimedOut, true), "{shell:?}");
        assert_eq!(stdout(&output), "begun\n", "{shell:?}");
        assert_eq!(sleep.alive(), 0, "{shell:?}");
        let silent = ShellOptions::default().with_idle_timeout(Duration::from_millis(300));
        let output = session.run(&hang, silent).await.unwrap();
        assert!(output.restarted && output.ended, "{shell:?}");
        assert_eq!((output.output.status, sleep.alive()), (ExitStatus::TimedOut, 0), "{shell:?}");
        // What only the timeout ends: a shell that does not run what it reads, and one that is stopped.
        for deaf in ["set -n", "kill -STOP $$"] {
            let output =
                session.run(deaf, ShellOptions::default().with_timeout(Duration::from_millis(500))).await;
            assert_eq!(output.unwrap().output.status, ExitStatus::TimedOut, "{shell:?} {deaf}");
        }
        assert_eq!(stdout(&run(&session, "echo alive").await), "alive\n", "{shell:?}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_command_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for shell in shells() {
        let sleep = Sleep::new();
        let session = session(dir.path(), &shell);
        run(&session, "x=1").await;
        for _ in 0..10 {
            let script = format!("setsid sleep {0} & sleep {0} & echo ready; sleep {0}", sleep.0);
            let mut command = session.start(&script, ShellOptions::default()).await.unwrap();
            let ready = command.next_event().await.unwrap();
            assert_eq!(ready, Some(ExecEvent::Stdout("ready\n".into())), "{shell:?}");
            drop(command);
            assert_eq!(sleep.alive(), 0, "{shell:?}");
        }
        let output = run(&session, "echo \"x=$x\"").await;
        assert_eq!((stdout(&output).as_str(), output.restarted), ("x=\n", true), "{shell:?}");
        run(&session, &format!("sleep {} >/dev/null 2>&1 &", sleep.0)).await;
        drop(session);
        assert_eq!(sleep.alive(), 0, "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    for shell in shells() {
        let session = Arc::new(session(dir.path(), &shell));
        run(&session, "n=0").await;
        let tasks: Vec<_> = (0..20)
            .map(|task| {
                let session = Arc::clone(&session);
                tokio::spawn(async move {
                    let script = format!("printf '{task} '; n=$((n + 1)); printf {task} >&2; echo {task}");
                    let output = run(&session, &script).await;
                    (task, stdout(&output), output.output.stderr_text().into_owned())
                })
            })
            .collect();
        for task in tasks {
            let (task, stdout, stderr) = task.await.unwrap();
            assert_eq!((stdout, stderr), (format!("{task} {task}\n"), task.to_string()), "{shell:?}");
        }
        assert_eq!(stdout(&run(&session, "echo $n").await), "20\n", "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_and_the_shell_stays() {
    let dir = tempfile::tempdir().unwrap();
    let limit = options().with_output_limit(OutputLimit::head_and_tail(10, 6));
    for shell in shells() {
        let session = session(dir.path(), &shell);
        let flood = "x=1; yes | head -c 50000000; printf '12345\\n'; yes e | head -c 5000000 >&2";
        let output = session.run(flood, limit).await.unwrap();
        assert_eq!(output.output.stdout, "y\ny\ny\ny\ny\n12345\n", "{shell:?}");
        assert_eq!(output.output.stdout_dropped, 50_000_000 - 10, "{shell:?}");
        assert_eq!(output.output.stderr_dropped, 5_000_000 - 16, "{shell:?}");
        assert_eq!(stdout(&run(&session, "echo $x").await), "1\n", "{shell:?}");
        let kill = options().with_output_limit(OutputLimit::kill(10));
        let output = session.run("yes", kill).await.unwrap();
        assert_eq!((output.output.status, output.ended), (ExitStatus::OutputLimit, true), "{shell:?}");
        assert_eq!(output.output.stdout, "y\ny\ny\ny\ny\n", "{shell:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_in_the_background_do_not_disturb_the_framing() {
    let dir = tempfile::tempdir().unwrap();
    for shell in shells() {
        let session = session(dir.path(), &shell);
        let output = run(&session, "yes >&2 & yes & echo $!").await;
        assert_eq!(output.output.status, CODE_0, "{shell:?}");
        let cut = options().with_output_limit(OutputLimit::head_and_tail(1000, 1000));
        for code in 0..20 {
            let output = session.run(&format!("sh -c 'exit {code}'"), cut).await.unwrap();
            assert_eq!(output.output.status, ExitStatus::Code(code), "{shell:?}");
            assert!(!output.ended && !output.restarted, "{shell:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sees_three_files_and_the_environment_of_the_request() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    for shell in shells() {
        let request = shell.clone().with_env("GREETING", "it's").with_cwd(ResourcePath::new("/sub").unwrap());
        let session = session(dir.path(), &request);
        let output = run(&session, "echo \"$GREETING\"; basename \"$PWD\"; ls /proc/self/fd").await;
        // As many as any other command has, and the directory that is read.
        let plain = LocalProcess::new(dir.path()).unwrap();
        let plain = plain.exec(ExecRequest::program("ls", ["/proc/self/fd"])).await.unwrap();
        assert_eq!(stdout(&output), format!("it's\nsub\n{}", plain.stdout_text()), "{shell:?}");
    }
}

/// A `sleep` that can be told from every other by its argument.
struct Sleep(String);

impl Sleep {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("2000.{:06}{count:05}", std::process::id()))
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

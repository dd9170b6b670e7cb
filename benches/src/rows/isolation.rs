//! What isolation adds to a command.

use std::{
    env,
    hint::black_box,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use agentx_provider_local::{Isolation, LocalProcess, Namespaces, Network};
use agentx_resource::{ErrorKind, ExecRequest, Process, ProcessExt};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{in_task, runtime};
use crate::{
    Result,
    measure::{Row, Variant},
    program,
};

/// The argument that makes a bench program what starts commands within an isolation.
pub(crate) const REPEAT: &str = "repeat-for-isolation";

/// A program, its arguments and what it says.
type Work = (&'static str, &'static [&'static str], &'static [u8]);

const SHELL: Work = ("/bin/sh", &["-c", "echo hi"], b"hi\n");
const TRUE: Work = ("/bin/true", &[], b"");

/// The row for a shell that says a word.
///
/// # Errors
/// What the host says.
pub fn of_a_shell() -> Result<Row> {
    row("isolation", "What does isolation add to `sh -c 'echo hi'`, started and waited for?", SHELL)
}

/// The row for a program that does nothing.
///
/// # Errors
/// What the host says.
pub fn of_nothing() -> Result<Row> {
    row("isolation_true", "What does isolation add to `/bin/true`, started and waited for?", TRUE)
}

fn row(name: &'static str, question: &'static str, work: Work) -> Result<Row> {
    let runtime = runtime()?;
    let dir = Arc::new(tempfile::tempdir()?);
    let limit =
        Variant::new("posix_spawn and wait (limit)", move |count| repeat(count, work, || command(work)));
    let mut row = Row::new(name, question, limit).per(1, "command");
    let kernel = || Isolation::new().with_landlock(true).with_seccomp(true);
    let full = || Isolation::full().without_protected();
    for (name, isolation) in [
        ("agentx, no isolation", None),
        ("Landlock + seccomp", Some(kernel())),
        ("all, the owner's namespaces", Some(full().with_namespaces(Some(Namespaces::PerOwner)))),
        ("all, fresh namespaces, the host's network", Some(full().with_network(Network::Host))),
        ("all, fresh namespaces", Some(full())),
    ] {
        row = match isolated(name, isolation, work, &runtime, &dir) {
            // The machine lacks something of it: the variant is left out, and its name missing.
            Err(error) if is_unsupported(&*error) => row,
            variant => row.with(variant?),
        };
    }
    for (name, isolation) in [
        ("posix_spawn and wait, within Landlock + seccomp", kernel()),
        ("posix_spawn and wait, within all", full().with_namespaces(Some(Namespaces::PerOwner))),
    ] {
        row = match within(name, isolation, work, &runtime) {
            Err(error) if is_unsupported(&*error) => row,
            variant => row.with(variant?),
        };
    }
    row = row.with(tokio(work, &runtime));
    if let Some(bubblewrap) = find("bwrap") {
        let line = Arc::new(bubblewrapped(&bubblewrap, dir.path(), work));
        let dir = Arc::clone(&dir);
        row = row.with(Variant::new("bubblewrap, the same mounts", move |count| {
            // The directory lives as long as this.
            let _dir = &dir;
            repeat(count, work, || {
                let mut words = line.iter();
                let mut command = Command::new(words.next().map(String::as_str).unwrap_or_default());
                command.args(words).env_clear();
                command
            })
        }));
    }
    Ok(row)
}

fn is_unsupported(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<agentx_resource::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::Unsupported)
}

fn tokio(work: Work, runtime: &Arc<Runtime>) -> Variant {
    let runtime = Arc::clone(runtime);
    Variant::new("tokio::process::Command::output, no isolation", move |count| {
        in_task(&runtime, async move {
            for _ in 0..count {
                let output = tokio::process::Command::from(command(work)).output().await?;
                check(output.status.success(), &output.stdout, work.2)?;
            }
            Ok(())
        })
    })
}

fn isolated(
    name: &'static str,
    isolation: Option<Isolation>,
    work: Work,
    runtime: &Arc<Runtime>,
    dir: &Arc<TempDir>,
) -> Result<Variant> {
    let process = LocalProcess::new(dir.path())?;
    let process: Arc<dyn Process> = match isolation {
        Some(isolation) => Arc::new(process.with_isolation(isolation)?),
        None => Arc::new(process),
    };
    let (runtime, dir) = (Arc::clone(runtime), Arc::clone(dir));
    Ok(Variant::new(name, move |count| {
        let (process, dir) = (Arc::clone(&process), Arc::clone(&dir));
        in_task(&runtime, async move {
            let (program, args, says) = work;
            for _ in 0..count {
                let request = ExecRequest::program(program, args.iter().copied());
                let output = process.exec(request).await?;
                check(output.status.success(), &output.stdout, says)?;
            }
            drop(dir);
            Ok(())
        })
    }))
}

/// What the kernel takes for a policy without any host: a program under it starts the commands, and they inherit it.
fn within(name: &'static str, isolation: Isolation, work: Work, runtime: &Arc<Runtime>) -> Result<Variant> {
    let (dir, this) = (tempfile::tempdir()?, program::this()?);
    let process = LocalProcess::new(dir.path())?.with_isolation(isolation.with_readable(&this))?;
    let process: Arc<dyn Process> = Arc::new(process);
    let (runtime, dir, this) = (Arc::clone(runtime), Arc::new(dir), this.to_string_lossy().into_owned());
    Ok(Variant::new(name, move |count| {
        let (process, dir) = (Arc::clone(&process), Arc::clone(&dir));
        let request = ExecRequest::program(&this, [REPEAT, &count.to_string(), work.0]);
        in_task(&runtime, async move {
            let output = process.exec(request).await?;
            drop(dir);
            check(output.status.success(), &output.stdout, b"")
        })
    }))
}

/// This program as what starts commands: how many, and which one.
///
/// # Errors
/// What the operating system says of a command, and a name that no row has.
pub(crate) fn repeat_here(arguments: impl IntoIterator<Item = String>) -> Result<()> {
    let mut arguments = arguments.into_iter();
    let count = arguments.next().unwrap_or_default().parse()?;
    let program = arguments.next().unwrap_or_default();
    let work = [SHELL, TRUE].into_iter().find(|work| work.0 == program).ok_or("of which command?")?;
    repeat(count, work, || command(work))
}

fn repeat(count: u64, work: Work, mut command: impl FnMut() -> Command) -> Result<()> {
    for _ in 0..count {
        let output = command().output()?;
        check(output.status.success(), &output.stdout, work.2)?;
    }
    Ok(())
}

fn check(success: bool, output: &[u8], says: &[u8]) -> Result<()> {
    if success && black_box(output) == says { Ok(()) } else { Err("not what the command says".into()) }
}

fn command((program, args, _): Work) -> Command {
    let mut command = Command::new(program);
    command.args(args).env_clear();
    command
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// The command line of bubblewrap that gives a command about what full isolation does, but for Landlock and seccomp.
fn bubblewrapped(bubblewrap: &Path, root: &Path, (program, args, _): Work) -> Vec<String> {
    let mut line = vec![bubblewrap.to_string_lossy().into_owned()];
    let mut add = |words: &[&str]| line.extend(words.iter().map(|word| (*word).to_owned()));
    add(&[
        "--unshare-all",
        "--die-with-parent",
        "--new-session",
        "--cap-drop",
        "ALL",
        "--ro-bind",
        "/usr",
        "/usr",
    ]);
    for path in ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] {
        match std::fs::read_link(path) {
            Ok(target) => add(&["--symlink", &target.to_string_lossy(), path]),
            Err(_) => add(&["--ro-bind-try", path, path]),
        }
    }
    for path in [
        "alternatives",
        "bash.bashrc",
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "localtime",
        "profile",
        "ssl/certs",
    ] {
        let path = format!("/etc/{path}");
        add(&["--ro-bind-try", &path, &path]);
    }
    add(&["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    add(&["--bind", &root.to_string_lossy(), "/workspace", "--chdir", "/workspace", "--", program]);
    add(args);
    line
}

//! The same view by `bubblewrap`, one for each command.

use std::{
    env,
    ffi::CStr,
    fs,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use agentx_resource::{ErrorKind, Result};
use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

use super::{
    Isolation, Network, plan,
    plan::{Mount, Plan},
};
use crate::process::{error, failure};

/// Hands the filter over, which is read from a descriptor, and tells a program that is not there as a shell does.
const OUTER: &str = r#"exec 9<"$0" && exec "$@""#;
const WITHOUT_FILTER: &str = r#"exec "$@""#;
const INNER: &str = r#"exec "$@""#;
pub(super) const SHELL: &str = "/bin/sh";
const READ_ONLY: u64 = 1;

/// How commands are started by it.
#[derive(Debug)]
pub(super) struct Bubblewrap {
    /// All words before the command's own.
    line: Vec<String>,
    filter: Option<OwnedFd>,
    _files: Files,
}

/// Small files that are seen inside. Dropping it removes them.
#[derive(Debug)]
struct Files(PathBuf);

impl Bubblewrap {
    /// # Errors
    /// `Unsupported` where `program` is not there, or can't do this here; those of small files in the temporary
    /// directory.
    pub(super) fn new(program: &Path, plan: &Plan) -> Result<Self> {
        let found = find(program).ok_or_else(|| {
            let message =
                format!("this machine can't isolate commands so: {} is not there", program.display());
            error(ErrorKind::Unsupported, "isolate").with_message(message)
        })?;
        let failed = |source| failure("isolate", source);
        let files = Files::new().map_err(failed)?;
        let mut line = vec![found.display().to_string()];
        if let Some(namespaces) = &plan.namespaces {
            view(&mut line, namespaces, &files).map_err(failed)?;
        }
        let filter =
            if plan.filter.is_empty() { None } else { Some(in_memory(&plan.filter).map_err(failed)?) };
        if filter.is_some() {
            line.extend(["--seccomp".to_owned(), "9".to_owned()]);
        }
        let this = Self { line, filter, _files: files };
        this.try_out()?;
        Ok(this)
    }

    /// The arguments of [`SHELL`] that start a program in a directory as commands see it.
    pub(super) fn args(&self, place: &str, program: &str, args: &[String]) -> Vec<String> {
        let outer = if self.filter.is_some() { OUTER } else { WITHOUT_FILTER };
        let filter = self.filter.as_ref().map_or_else(
            || "sh".to_owned(),
            |filter| format!("/proc/{}/fd/{}", std::process::id(), filter.as_raw_fd()),
        );
        let mut words = vec!["-c".to_owned(), outer.to_owned(), filter];
        words.extend(self.line.iter().cloned());
        words.extend(["--chdir", place, "--", SHELL, "-c", INNER, "sh", program].map(str::to_owned));
        words.extend(args.iter().cloned());
        words
    }

    fn try_out(&self) -> Result<()> {
        let mut command = Command::new(SHELL);
        command
            .args(self.args("/", "true", &[]))
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(Stdio::null());
        let output = command.output().map_err(|source| failure("isolate", source))?;
        if output.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&output.stderr);
        let message = format!("this machine can't isolate commands so: {}", told.trim());
        Err(error(ErrorKind::Unsupported, "isolate").with_message(message))
    }
}

impl Files {
    fn new() -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom(&mut random, GetRandomFlags::empty())?;
        let path = env::temp_dir().join(format!("agentx-view-{:032x}", u128::from_ne_bytes(random)));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    fn add(&self, number: usize, content: &[u8]) -> io::Result<String> {
        let path = self.0.join(number.to_string());
        fs::write(&path, content)?;
        Ok(path.display().to_string())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What can't be removed lies in the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// The same mounts as the helper makes, but for its own `/dev` and `/proc`.
fn view(line: &mut Vec<String>, namespaces: &plan::Namespaces, files: &Files) -> io::Result<()> {
    let mut add = |words: &[&str]| line.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]);
    if namespaces.network != plan::Network::Host {
        add(&["--unshare-net"]);
    }
    add(&[
        "--die-with-parent",
        "--cap-drop",
        "ALL",
        "--hostname",
        "sandbox",
        "--dev",
        "/dev",
        "--proc",
        "/proc",
    ]);
    for (number, mount) in namespaces.mounts.iter().enumerate() {
        let (Mount::Directory(path)
        | Mount::Link { path, .. }
        | Mount::File { path, .. }
        | Mount::Bind { path, .. }
        | Mount::Pin { path, .. }
        | Mount::Terminals(path)) = mount;
        let seen = text(path);
        if Path::new(&seen).starts_with("/dev") || Path::new(&seen).starts_with("/proc") {
            continue;
        }
        match mount {
            Mount::Directory(_) => add(&["--dir", &seen]),
            Mount::Link { target, .. } => add(&["--symlink", &text(target), &seen]),
            Mount::File { content, .. } => add(&["--ro-bind", &files.add(number, content)?, &seen]),
            Mount::Bind { source, attributes, .. } => add(&[bind(*attributes), &text(source), &seen]),
            Mount::Pin { attributes, .. } => {
                let source = source_of(namespaces, &seen).unwrap_or_else(|| seen.clone());
                add(&[bind(*attributes), &source, &seen]);
            }
            Mount::Terminals(_) => {}
        }
    }
    if let Some(scratch) = &namespaces.scratch {
        add(&["--size", &scratch.size.to_string(), "--tmpfs", &text(&scratch.path)]);
        for (from, steps) in &scratch.places {
            let bound = namespaces.mounts.iter().find_map(|mount| match mount {
                Mount::Bind { source, path, attributes, .. } if path == from => Some((source, attributes)),
                _ => None,
            });
            if let (Some((source, attributes)), Some(place)) = (bound, steps.last()) {
                let place = format!("{}/{}", text(&scratch.path), text(place));
                add(&[bind(*attributes), &text(source), &place]);
            }
        }
    }
    // Where the host runs as root, what is written to it would reach the whole machine.
    add(&["--remount-ro", "/proc", "--remount-ro", "/"]);
    Ok(())
}

/// What the host calls a path of the view.
fn source_of(namespaces: &plan::Namespaces, seen: &str) -> Option<String> {
    // The last that holds it covers the others.
    namespaces.mounts.iter().rev().find_map(|mount| match mount {
        Mount::Bind { source, path, .. } => {
            let below = Path::new(seen).strip_prefix(text(path)).ok()?;
            Some(Path::new(&text(source)).join(below).display().to_string())
        }
        _ => None,
    })
}

fn bind(attributes: u64) -> &'static str {
    if attributes & READ_ONLY == 0 { "--bind" } else { "--ro-bind" }
}

fn text(path: &CStr) -> String {
    path.to_string_lossy().into_owned()
}

/// The filter as `bubblewrap` reads it.
fn in_memory(filter: &[u64]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL;
    let file = match memfd_create("agentx-filter", flags) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => memfd_create("agentx-filter", MemfdFlags::CLOEXEC),
        outcome => outcome,
    }?;
    let mut file = fs::File::from(file);
    for instruction in filter {
        file.write_all(&instruction.to_ne_bytes())?;
    }
    Ok(file.into())
}

/// Why `bubblewrap` can't do this, if it can't.
pub(super) fn contradiction(isolation: &Isolation) -> Option<&'static str> {
    if isolation.landlock {
        return Some("bubblewrap knows no Landlock");
    }
    if isolation.namespaces != Some(super::Namespaces::PerCommand) {
        return Some("bubblewrap gives namespaces to each command");
    }
    if matches!(isolation.network, Network::Proxy(_)) {
        return Some("bubblewrap knows no proxy");
    }
    None
}

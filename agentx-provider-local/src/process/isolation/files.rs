//! The places of the host that a command gets, and what Landlock allows beneath them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use agentx_resource::{Error, ErrorKind, Result};

use super::{Isolation, plan::Landlock, view};
use crate::process::{error, failure};

/// Directories of programs and libraries. On most systems all but `/usr` are links.
pub(super) const PROGRAMS: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];
/// What programs need of `/etc`. Nothing that may hold a secret.
pub(super) const SETTINGS: [&str; 22] = [
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/fonts",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/pki/tls",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/protocols",
    "/etc/python3",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
];
/// Devices that give nothing of the machine away.
pub(super) const DEVICES: [&str; 6] =
    ["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];

/// Where the kernel shows itself: never shared with a command.
const KERNEL: [&str; 3] = ["/proc", "/dev", "/sys"];

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
const ALL: u64 = (1 << 16) - 1;

const READ: u64 = READ_FILE | READ_DIR;
const WRITE: u64 = ALL & !(MAKE_CHAR | MAKE_BLOCK | IOCTL_DEV);
const DEVICE: u64 = READ_FILE | WRITE_FILE | TRUNCATE | IOCTL_DEV;
/// Abstract Unix sockets and signals.
const SCOPES: u64 = 3;

/// The places of the host as the owner named them, found and checked.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) readable: Vec<PathBuf>,
    /// Without the root.
    pub(super) writable: Vec<PathBuf>,
}

impl Places {
    /// # Errors
    /// Those of looking a place up; `InvalidInput` for what can't be given to a command, or two writable places of
    /// which one holds the other.
    pub(super) fn find(isolation: &Isolation, root: &Path) -> Result<Self> {
        let readable = isolation.readable.iter().map(|path| find(path, "readable")).collect::<Result<_>>()?;
        let writable: Vec<_> =
            isolation.writable.iter().map(|path| find(path, "writable")).collect::<Result<_>>()?;
        if isolation.confines_files() {
            check(root)?;
        }
        let roots: Vec<&Path> = writable.iter().map(PathBuf::as_path).chain([root]).collect();
        for (index, path) in roots.iter().enumerate() {
            let others = roots.iter().enumerate().filter(|(other, _)| *other != index);
            if let Some((_, outer)) = others.into_iter().find(|(_, outer)| path.starts_with(outer)) {
                let message = format!("is inside {}, which is writable already", outer.display());
                return Err(invalid(path).with_message(message));
            }
        }
        Ok(Self { readable, writable })
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.readable.iter().chain(&self.writable)
    }

    /// Where a place is mounted in a view. What lies below a directory for temporary files, which is made anew again
    /// and again, is mounted elsewhere first.
    pub(super) fn seen(&self, path: &PathBuf) -> PathBuf {
        match (self.all().position(|place| place == path), below_temporary(path)) {
            (Some(number), Some(_)) => Path::new("/places").join(number.to_string()),
            _ => path.clone(),
        }
    }
}

/// The path below a directory for temporary files, if it is there.
pub(super) fn below_temporary(path: &Path) -> Option<&Path> {
    ["/tmp", "/var/tmp", "/dev/shm"].into_iter().find_map(|temporary| path.strip_prefix(temporary).ok())
}

fn find(path: &Path, wanted: &str) -> Result<PathBuf> {
    let found = path.canonicalize().map_err(|source| {
        let message = format!("this place is to be {wanted}: {source}");
        failure("isolate", source).with_path(path.display()).with_message(message)
    })?;
    check(&found)?;
    Ok(found)
}

fn check(path: &Path) -> Result<()> {
    if path == Path::new("/") {
        return Err(invalid(path).with_message("the whole machine can't be shared with an isolated command"));
    }
    if below_temporary(path).is_some_and(|below| below.as_os_str().is_empty()) {
        return Err(invalid(path).with_message("commands have one of their own"));
    }
    if KERNEL.iter().any(|kernel| path.starts_with(kernel)) && below_temporary(path).is_none() {
        return Err(invalid(path).with_message("a file system of the kernel can't be shared"));
    }
    Ok(())
}

pub(super) fn invalid(path: &Path) -> Error {
    error(ErrorKind::InvalidInput, "isolate").with_path(path.display())
}

/// The paths that exist, of the system's own.
pub(super) fn existing(paths: &'static [&'static str]) -> impl Iterator<Item = &'static Path> {
    paths.iter().map(Path::new).filter(|path| fs::symlink_metadata(path).is_ok())
}

/// What Landlock allows.
pub(super) fn landlock(isolation: &Isolation, places: &Places, root: &Path) -> Result<Landlock> {
    let mut rules: Vec<(PathBuf, u64)> = Vec::new();
    let has_view = isolation.namespaces.is_some();
    if has_view {
        // The view holds nothing else to begin with.
        rules.push(("/".into(), READ | EXECUTE));
        rules.push((isolation.root_at.clone().into(), WRITE));
        rules.push((view::OWN.into(), WRITE));
        rules.push(("/dev".into(), DEVICE));
    } else {
        if isolation.system {
            let system = existing(&PROGRAMS).chain(existing(&SETTINGS)).chain(existing(&view::NAMES));
            rules.extend(system.map(|path| (path.to_owned(), READ | EXECUTE)));
        }
        rules.push(("/proc".into(), READ));
        rules.extend(existing(&DEVICES).map(|path| (path.to_owned(), DEVICE)));
        rules.extend(places.readable.iter().map(|path| (path.clone(), READ | EXECUTE)));
        rules.push((root.to_owned(), WRITE));
    }
    let seen = |path: &PathBuf| if has_view { places.seen(path) } else { path.clone() };
    rules.extend(places.writable.iter().map(|path| (seen(path), WRITE)));
    let rules = rules.into_iter().map(|(path, access)| Ok((view::text(&path)?, access)));
    Ok(Landlock {
        files: ALL,
        scopes: SCOPES,
        // Older ones let a file be truncated that may not be written. In a view it is mounted read-only.
        least: if has_view { 1 } else { 3 },
        rules: rules.collect::<Result<_>>()?,
    })
}

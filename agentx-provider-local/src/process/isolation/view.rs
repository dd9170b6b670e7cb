//! The file system as commands see it, given namespaces.

use std::{
    ffi::{CString, OsStr},
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Component, Path},
};

use agentx_resource::Result;

use super::{
    Isolation, Namespaces, Network,
    files::{self, Places},
    plan,
    plan::{Mount, Scratch},
    protected,
};
use crate::process::failure;

/// What is each command's own, or its owner's. Landlock allows beneath a directory, and not beneath what is mounted
/// right on it: `/tmp` itself leads to a directory of this one.
pub(super) const OWN: &str = "/private";
const SCRATCH: &str = "/private/tmp";
/// How names of hosts and services are looked up. What leads there may be a link of the host's.
pub(super) const NAMES: [&str; 4] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf"];

const READ_ONLY: u64 = 1;
const NO_SETUID: u64 = 2;
const NO_DEVICES: u64 = 4;
const NO_EXECUTE: u64 = 8;

const READABLE: u64 = READ_ONLY | NO_SETUID | NO_DEVICES;
const WRITABLE: u64 = NO_SETUID | NO_DEVICES;
const DEVICE: u64 = READ_ONLY | NO_SETUID | NO_EXECUTE;

/// The port of 127.0.0.1 at which commands find the proxy.
pub(super) const PROXY_PORT: u16 = 3128;

/// The namespaces of a plan.
pub(super) fn namespaces(
    isolation: &Isolation,
    scope: Namespaces,
    places: &Places,
    root: &Path,
) -> Result<plan::Namespaces> {
    let mut mounts = Vec::new();
    for path in ["/proc", "/dev", "/etc", "/home", "/run", "/var", SCRATCH] {
        mounts.push(Mount::Directory(text(path)?));
    }
    for (path, target) in [("/tmp", "private/tmp"), ("/var/tmp", "../private/tmp")] {
        mounts.push(Mount::Link { path: text(path)?, target: text(target)? });
    }
    devices(&mut mounts)?;
    if isolation.system {
        system(&mut mounts, isolation)?;
    }
    // What lies in another place comes after it.
    let mut binds: Vec<_> = places.readable.iter().map(|path| (path, READABLE)).collect();
    binds.extend(places.writable.iter().map(|path| (path, WRITABLE)));
    binds.sort();
    for (path, attributes) in binds {
        mounts.push(bind(path, &places.seen(path), attributes)?);
    }
    let root_at = root_at(&isolation.root_at)?;
    mounts.push(bind(root, root_at, WRITABLE)?);
    mounts.extend(protected::pins(&isolation.protected, root, root_at)?);
    for path in &places.writable {
        mounts.extend(protected::pins(&isolation.protected, path, &places.seen(path))?);
    }
    let network = match &isolation.network {
        Network::Host => plan::Network::Host,
        Network::None => plan::Network::Loopback,
        Network::Proxy(_) => plan::Network::Listener(PROXY_PORT),
    };
    let scratch = Some(scratch(isolation.scratch, places)?);
    Ok(plan::Namespaces { per_command: scope == Namespaces::PerCommand, network, mounts, scratch })
}

fn scratch(size: u64, places: &Places) -> Result<Scratch> {
    let below = places.all().filter_map(|path| Some((path, files::below_temporary(path)?)));
    let places = below.map(|(path, below)| {
        let mut steps: Vec<_> =
            below.ancestors().filter(|step| !step.as_os_str().is_empty()).map(text).collect();
        steps.reverse();
        Ok((text(places.seen(path))?, steps.into_iter().collect::<Result<_>>()?))
    });
    Ok(Scratch { path: text(SCRATCH)?, size, places: places.collect::<Result<_>>()? })
}

fn devices(mounts: &mut Vec<Mount>) -> Result<()> {
    for path in files::existing(&files::DEVICES) {
        mounts.push(bind(path, path, DEVICE)?);
    }
    for (path, target) in [
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/shm", "/private/tmp"),
    ] {
        mounts.push(Mount::Link { path: text(path)?, target: text(target)? });
    }
    mounts.push(Mount::Terminals(text("/dev/pts")?));
    Ok(())
}

/// Programs and libraries as the host has them, and an `/etc` of the few files that they need.
fn system(mounts: &mut Vec<Mount>, isolation: &Isolation) -> Result<()> {
    for path in files::existing(&files::PROGRAMS) {
        mounts.push(as_on_host(path)?);
    }
    for path in files::existing(&files::SETTINGS) {
        mounts.push(as_on_host(path)?);
    }
    let user = rustix::process::geteuid().as_raw();
    let group = rustix::process::getegid().as_raw();
    let mut users =
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n".to_owned();
    let mut groups = "root:x:0:\nnogroup:x:65534:\n".to_owned();
    if user != 0 {
        users.push_str(&format!("user:x:{user}:{group}:user:{}:/bin/sh\n", isolation.root_at));
    }
    if group != 0 {
        groups.push_str(&format!("user:x:{group}:\n"));
    }
    let file =
        |path, content: &str| Ok(Mount::File { path: text(path)?, content: content.as_bytes().to_vec() });
    mounts.push(file("/etc/passwd", &users)?);
    mounts.push(file("/etc/group", &groups)?);
    if isolation.network == Network::Host {
        for path in files::existing(&NAMES) {
            // Often a link to a place that is not there inside.
            if let Ok(source) = path.canonicalize() {
                mounts.push(bind(&source, path, READABLE)?);
            }
        }
    } else {
        mounts.push(file("/etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n")?);
        mounts.push(file("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")?);
    }
    Ok(())
}

/// A link as a link, since it leads to what is there inside too; all else as it is.
fn as_on_host(path: &'static Path) -> Result<Mount> {
    match fs::read_link(path) {
        Ok(target) => Ok(Mount::Link { path: text(path)?, target: text(&target)? }),
        Err(_) => bind(path, path, READABLE),
    }
}

/// Bound only if it is still what it is now.
fn bind(source: &Path, path: &Path, attributes: u64) -> Result<Mount> {
    let metadata =
        fs::metadata(source).map_err(|error| failure("isolate", error).with_path(source.display()))?;
    let identity = (metadata.dev(), metadata.ino());
    Ok(Mount::Bind { source: text(source)?, path: text(path)?, attributes, identity })
}

/// The place of the root: one that nothing else of the view uses.
fn root_at(path: &str) -> Result<&Path> {
    let path = Path::new(path);
    let mut components = path.components();
    let is_plain = components.next() == Some(Component::RootDir)
        && path.components().count() > 1
        && components.all(|component| matches!(component, Component::Normal(_)))
        && !path.as_os_str().as_bytes().ends_with(b"/");
    let taken = ["/proc", "/sys", "/dev", "/etc", "/tmp", OWN];
    let taken = taken.iter().chain(&files::PROGRAMS);
    if !is_plain
        || taken.into_iter().any(|taken| path.starts_with(taken) || Path::new(taken).starts_with(path))
    {
        return Err(files::invalid(path).with_message("the root can't be seen there"));
    }
    Ok(path)
}

pub(super) fn text(path: impl AsRef<OsStr>) -> Result<CString> {
    CString::new(path.as_ref().as_bytes())
        .map_err(|_| files::invalid(Path::new(path.as_ref())).with_message("the path contains NUL"))
}

//! Ending what is in a group, and removing it.

use std::{
    fs::{self, File},
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    PREFIX,
    controllers::{Place, Version},
    write,
};

/// How long the processes of a group may take to end, and how often they are looked at.
const MAX_TIME: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);

/// Removes the groups of hosts that are dead, with all that is in them.
pub(super) fn clear(place: &Place) {
    let Ok(entries) = fs::read_dir(&place.parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        let path = entry.path();
        // A host that lives holds the lock, and so does whoever clears up at the same time.
        let Ok(directory) = File::open(&path) else { continue };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove(&path, place.version);
        }
    }
}

/// Ends all that is in a group and removes it. What can't be ended keeps it; a later host tries again.
pub(super) fn remove(path: &Path, version: Version) {
    let deadline = Instant::now() + MAX_TIME;
    loop {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                end(path, version);
                thread::sleep(PAUSE);
            }
            _ => return,
        }
    }
}

/// Ends all that is in a group. Returns when nothing is, or when it takes too long.
pub(super) fn end(path: &Path, version: Version) {
    let deadline = Instant::now() + MAX_TIME;
    // The kernel's own way misses nothing. Older ones, and the first version, have none.
    let is_told = version == Version::Two && write(&path.join("cgroup.kill"), "1").is_ok();
    loop {
        let members = members(path);
        if members.is_empty() || Instant::now() > deadline {
            return;
        }
        if !is_told {
            for pid in members {
                kill(pid, path);
            }
        }
        thread::sleep(PAUSE);
    }
}

fn members(path: &Path) -> Vec<i32> {
    let list = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Ends a process, if it is still the one that is in the group.
fn kill(pid: i32, path: &Path) {
    let Some(id) = Pid::from_raw(pid) else { return };
    let Ok(process) = pidfd_open(id, PidfdFlags::empty()) else { return };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if groups.lines().any(|line| line.ends_with(&*name)) {
        // An error means that it has ended.
        let _ = pidfd_send_signal(&process, Signal::KILL);
    }
}

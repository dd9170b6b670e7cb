//! Control groups: what the kernel counts and limits for a whole tree of processes.
//!
//! A group is a directory for each hierarchy of the kernel's. The host makes them, the helper has each command enter
//! them before it executes, and what the command starts is born in them. The host holds a lock on each directory as
//! long as it lives, so that a later one finds what a dead one has left.

mod controllers;
mod limits;
mod members;
mod shared;

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use agentx_resource::{Error, ErrorKind, Result};
use rustix::{
    fs::{FlockOperation, flock},
    rand::{GetRandomFlags, getrandom},
};

use self::controllers::{Controller, Place, Version};
pub use self::{
    limits::{TreeLimits, TreeUsage},
    shared::TreeGroup,
};
use super::error;

/// What the names of all groups begin with.
const PREFIX: &str = "agentx-tree-";
/// How often a group is made that another program has taken for one of a dead host meanwhile.
const MAX_TRIES: usize = 8;
/// The time in which a share of a processor is counted, in microseconds.
const PERIOD: u64 = 100_000;

/// A group of processes with limits of its own. Dropping it ends all that is in it, and removes it.
#[derive(Debug)]
pub(super) struct Group {
    parts: Vec<Part>,
}

/// A group in one hierarchy.
#[derive(Debug)]
struct Part {
    version: Version,
    controllers: Vec<Controller>,
    path: PathBuf,
    /// Writing to it is entering the group.
    entry: OwnedFd,
    /// Where the kernel counts whom it has ended for memory, if it does so here.
    memory_events: Option<File>,
    /// Held as long as the host lives.
    _lock: OwnedFd,
}

impl Group {
    /// A new group with these limits; none without any.
    ///
    /// # Errors
    /// `Unsupported` where this machine, or this user, can't limit so.
    pub(super) fn new(limits: &TreeLimits) -> Result<Option<Self>> {
        let wanted = [
            limits.memory.map(|_| Controller::Memory),
            limits.processes.map(|_| Controller::Processes),
            limits.cpu.map(|_| Controller::Cpu),
        ];
        let wanted: Vec<_> = wanted.into_iter().flatten().collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let places = controllers::find(&wanted).map_err(|why| lacking(&why))?;
        let mut group = Self { parts: Vec::new() };
        for place in places {
            members::clear(&place);
            let part = Part::new(&place, limits)
                .map_err(|(path, error)| lacking(&format!("{}: {error}", path.display())))?;
            group.parts.push(part);
        }
        Ok(Some(group))
    }

    /// What a process enters the group by: it writes a zero to each.
    pub(super) fn entries(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.parts.iter().map(|part| part.entry.as_fd())
    }

    /// How many of its processes the kernel has ended for memory, where that is limited.
    pub(super) fn memory_kills(&self) -> Option<u64> {
        let events = self.parts.iter().find_map(|part| part.memory_events.as_ref())?;
        let mut text = [0; 1024];
        let length = events.read_at(&mut text, 0).ok()?;
        field(str::from_utf8(text.get(..length)?).ok()?, "oom_kill")
    }

    pub(super) fn usage(&self) -> TreeUsage {
        let mut usage = TreeUsage::default();
        for part in &self.parts {
            part.count(&mut usage);
        }
        usage
    }

    /// Ends all that is in it, as far as that is possible in a while.
    pub(super) fn end_all(&self) {
        for part in &self.parts {
            members::end(&part.path, part.version);
        }
    }
}

/// Tells whether the kernel has ended processes for memory since it began.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    group: Arc<Group>,
    before: u64,
}

impl MemoryWatch {
    /// Begins now; none where memory is not limited.
    pub(super) fn begin(group: Arc<Group>) -> Option<Self> {
        let before = group.memory_kills()?;
        Some(Self { group, before })
    }

    pub(super) fn has_killed(&self) -> bool {
        self.group.memory_kills().is_some_and(|kills| kills > self.before)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for part in &self.parts {
            members::remove(&part.path, part.version);
        }
    }
}

impl Part {
    fn new(place: &Place, limits: &TreeLimits) -> std::result::Result<Self, (PathBuf, io::Error)> {
        let mut outcome = Self::make(place, limits);
        for _ in 1..MAX_TRIES {
            match &outcome {
                // Whoever clears up behind dead hosts can come between the directory and its lock.
                Err((_, error)) if is_gone(error) => outcome = Self::make(place, limits),
                _ => break,
            }
        }
        outcome
    }

    fn make(place: &Place, limits: &TreeLimits) -> std::result::Result<Self, (PathBuf, io::Error)> {
        let mut random = [0; 16];
        let drawn = getrandom(&mut random, GetRandomFlags::empty());
        let path = place.parent.join(format!("{PREFIX}{:032x}", u128::from_ne_bytes(random)));
        let failed = |error: io::Error| (path.clone(), error);
        drawn.map_err(|errno| failed(errno.into()))?;
        fs::create_dir(&path).map_err(failed)?;
        Self::set_up(place, limits, &path).inspect_err(|_| {
            // One that is gone already is what was wanted.
            let _ = fs::remove_dir(&path);
        })
    }

    fn set_up(
        place: &Place,
        limits: &TreeLimits,
        path: &Path,
    ) -> std::result::Result<Self, (PathBuf, io::Error)> {
        let failed = |error: io::Error| (path.to_owned(), error);
        let lock = OwnedFd::from(File::open(path).map_err(failed)?);
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| failed(errno.into()))?;
        for (file, value, required) in settings(place, limits) {
            let file = path.join(file);
            match write(&file, &value) {
                // A kernel that does not count swapped memory.
                Err(error) if !required && error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome.map_err(|error| (file, error))?,
            }
        }
        let (entry, events) = match place.version {
            Version::One => ("tasks", "memory.oom_control"),
            Version::Two => ("cgroup.procs", "memory.events"),
        };
        let entry = OpenOptions::new().write(true).open(path.join(entry)).map_err(failed)?;
        let counts = place.controllers.contains(&Controller::Memory);
        let memory_events = counts.then(|| File::open(path.join(events))).transpose().map_err(failed)?;
        Ok(Self {
            version: place.version,
            controllers: place.controllers.clone(),
            path: path.to_owned(),
            entry: entry.into(),
            memory_events,
            _lock: lock,
        })
    }

    fn count(&self, usage: &mut TreeUsage) {
        let read = |file: &str| fs::read_to_string(self.path.join(file)).ok();
        let number = |file: &str| read(file)?.trim().parse().ok();
        let first = self.version == Version::One;
        for controller in &self.controllers {
            match controller {
                Controller::Memory => {
                    usage.memory = number(if first { "memory.usage_in_bytes" } else { "memory.current" });
                    let events = read(if first { "memory.oom_control" } else { "memory.events" });
                    usage.memory_kills = events.and_then(|text| field(&text, "oom_kill"));
                }
                Controller::Processes => {
                    usage.processes = number("pids.current");
                    usage.processes_refused = read("pids.events").and_then(|text| field(&text, "max"));
                }
                Controller::Cpu => {
                    let stat = read("cpu.stat").unwrap_or_default();
                    usage.throttled = if first {
                        field(&stat, "throttled_time").map(Duration::from_nanos)
                    } else {
                        field(&stat, "throttled_usec").map(Duration::from_micros)
                    };
                }
            }
        }
    }
}

/// Files and what is written to them, in this order, and whether they must be there.
fn settings(place: &Place, limits: &TreeLimits) -> Vec<(&'static str, String, bool)> {
    let first = place.version == Version::One;
    let mut all = Vec::new();
    for controller in &place.controllers {
        match controller {
            Controller::Memory => {
                let bytes = limits.memory.unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs()).to_string();
                if first {
                    all.push(("memory.limit_in_bytes", bytes.clone(), true));
                    all.push(("memory.memsw.limit_in_bytes", bytes, false));
                } else {
                    all.push(("memory.max", bytes, true));
                    all.push(("memory.swap.max", "0".to_owned(), false));
                }
            }
            Controller::Processes => {
                let count = limits.processes.unwrap_or(u64::MAX);
                // The kernel refuses what is more than there can be.
                let count = if count > 1 << 22 { "max".to_owned() } else { count.to_string() };
                all.push(("pids.max", count, true));
            }
            Controller::Cpu => {
                let quota = u64::from(limits.cpu.unwrap_or(u32::MAX)) * PERIOD / 1000;
                if first {
                    all.push(("cpu.cfs_period_us", PERIOD.to_string(), true));
                    all.push(("cpu.cfs_quota_us", quota.to_string(), true));
                } else {
                    all.push(("cpu.max", format!("{quota} {PERIOD}"), true));
                }
            }
        }
    }
    all
}

/// A number behind its name on a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(file)?.write_all_at(value.as_bytes(), 0)
}

fn is_gone(error: &io::Error) -> bool {
    const NO_DEVICE: i32 = 19;
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock)
        || error.raw_os_error() == Some(NO_DEVICE)
}

fn lacking(why: &str) -> Error {
    error(ErrorKind::Unsupported, "isolate")
        .with_message(format!("this machine can't limit whole trees so: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_versions_say_the_same_in_their_own_words() {
        let limits = TreeLimits::default().with_memory(4096).with_processes(7).with_cpu(250);
        let controllers = vec![Controller::Memory, Controller::Processes, Controller::Cpu];
        let said = |version| {
            let place = Place { version, parent: "/".into(), controllers: controllers.clone() };
            settings(&place, &limits)
                .into_iter()
                .map(|(file, value, _)| format!("{file}={value}"))
                .collect::<Vec<_>>()
        };
        let one = [
            "memory.limit_in_bytes=4096",
            "memory.memsw.limit_in_bytes=4096",
            "pids.max=7",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=25000",
        ];
        assert_eq!(said(Version::One), one);
        let two = ["memory.max=4096", "memory.swap.max=0", "pids.max=7", "cpu.max=25000 100000"];
        assert_eq!(said(Version::Two), two);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 1\noom_kill 12\n";
        assert_eq!(field(text, "oom_kill"), Some(12));
        assert_eq!(field(text, "oom"), None);
    }
}

//! What `/proc` tells about processes.

use std::{
    cmp::Reverse,
    fs::{self, File},
    io::{self, Read},
    os::fd::OwnedFd,
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, open, seek};

use super::{Mark, sweep::Sign};

/// More than the kernel lets an environment be.
const MAX_ENVIRON: usize = 8 << 20;
/// What one read of a file of `/proc` gives at most.
const PAGE: usize = 4096;
/// Where the ids begin in the listing of `/proc`, or a little before.
const FIRST_POSITION: u64 = 256;
/// `PF_KTHREAD` in the flags of `/proc/PID/stat`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The process ids that can have been given out since a moment. The kernel hands them out in turn, says which was the
/// last, and takes longer than a microsecond for each, so that most of a machine's processes are ruled out by their
/// number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newer {
    first: u32,
    since: Instant,
    pid_max: u32,
}

impl Newer {
    pub(super) fn than(pid: u32, since: Instant) -> Self {
        // Looked up once, since that costs as much as all else here. Where it was raised meanwhile, more is looked at.
        static PID_MAX: OnceLock<u32> = OnceLock::new();
        let pid_max = *PID_MAX.get_or_init(|| number("/proc/sys/kernel/pid_max").unwrap_or(u32::MAX));
        Self { first: pid, since, pid_max }
    }

    /// How many ids after the first `pid` was given out.
    fn distance(&self, pid: u32) -> u32 {
        match pid.checked_sub(self.first) {
            Some(distance) => distance,
            None => self.pid_max.saturating_sub(self.first).saturating_add(pid),
        }
    }

    /// How many ids can have been given out meanwhile.
    fn span(age: Duration) -> u128 {
        // The lowest 300 are skipped on the second turn.
        age.as_micros() + 300
    }

    /// The same, given the last id, which counts unless a whole turn may lie behind it.
    fn reach(&self, age: Duration, last: Option<u32>) -> u128 {
        let span = Self::span(age);
        match last {
            Some(last) if span < u128::from(self.pid_max) => span.min(self.distance(last).into()),
            _ => span,
        }
    }

    /// Whether `pid` is the first or can be younger.
    fn contains(&self, pid: u32, reach: u128) -> bool {
        u128::from(self.distance(pid)) <= reach
    }

    /// Whether younger processes can have lower ids.
    fn may_have_turned(&self, reach: u128) -> bool {
        u128::from(self.first) + reach >= u128::from(self.pid_max)
    }

    /// The ids of the processes that exist and can be that young, the youngest first: these may soon be gone.
    ///
    /// On a machine with many processes the listing is what costs, so it begins at the first, by the position that
    /// the kernel gives to an id. That it did begin there is proved by the first itself, which is a zombie at least.
    pub(super) fn list(&self) -> io::Result<Vec<u32>> {
        let proc = open_list()?;
        seek(&proc, SeekFrom::Start(u64::from(self.first) + FIRST_POSITION))?;
        let mut pids = read_ids(&proc)?;
        // Measured after the listing, so that nothing in it is younger.
        let mut reach = self.reach(self.since.elapsed(), last_id());
        if self.may_have_turned(reach) || !pids.contains(&self.first) {
            seek(&proc, SeekFrom::Start(0))?;
            pids = read_ids(&proc)?;
            reach = self.reach(self.since.elapsed(), last_id());
        }
        pids.retain(|pid| self.contains(*pid, reach));
        pids.sort_unstable_by_key(|pid| Reverse(self.distance(*pid)));
        Ok(pids)
    }
}

/// The id that was given out last. Not every kernel says so.
fn last_id() -> Option<u32> {
    number("/proc/sys/kernel/ns_last_pid")
}

/// A file of `/proc` that holds one number.
fn number(path: &str) -> Option<u32> {
    let mut text = Vec::new();
    read(path, &mut text).ok()?;
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

/// All processes.
pub(super) fn list_all() -> io::Result<Vec<u32>> {
    read_ids(&open_list()?)
}

fn open_list() -> io::Result<OwnedFd> {
    Ok(open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn read_ids(proc: &OwnedFd) -> io::Result<Vec<u32>> {
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut entries = RawDir::new(proc, buffer.spare_capacity_mut());
    let mut pids = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_str();
        pids.extend(name.ok().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(pids)
}

/// What a look at a process gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It carries the mark.
    Marked,
    /// It does not, or it belongs to another user, who lets nobody look.
    Unmarked,
    /// It is in the middle of an `exec`, and has no environment for the moment.
    Unclear,
    /// It has ended.
    Gone,
}

impl Look {
    pub(super) fn at(pid: u32, sign: &Sign, buffer: &mut Vec<u8>) -> Self {
        match sign {
            Sign::Mark(mark) => Self::for_mark(pid, mark, buffer),
            Sign::Tag { prefix, bits } => Self::for_tag(pid, *prefix, *bits, buffer),
        }
    }

    /// A tag is always there to be read, by everyone.
    fn for_tag(pid: u32, prefix: u64, bits: u32, buffer: &mut Vec<u8>) -> Self {
        if read(&format!("/proc/{pid}/limits"), buffer).is_err() {
            return Self::Gone;
        }
        let text = String::from_utf8_lossy(buffer);
        let line = text.lines().find_map(|line| line.strip_prefix("Max file locks"));
        // One that is taken off the books at this moment shows none.
        if line.is_none() {
            return Self::Gone;
        }
        let hard = line.and_then(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
        let is_tagged = hard.is_some_and(|hard| hard >> bits == prefix);
        match is_tagged.then(|| Stat::read(pid, buffer)) {
            None => Self::Unmarked,
            Some(stat) if stat.is_some_and(|stat| stat.is_alive()) => Self::Marked,
            Some(_) => Self::Gone,
        }
    }

    fn for_mark(pid: u32, mark: &Mark, buffer: &mut Vec<u8>) -> Self {
        match read(&format!("/proc/{pid}/environ"), buffer) {
            Ok(()) if mark.is_in(buffer) => return Self::Marked,
            Ok(()) if is_cut(buffer) => return Self::Unclear,
            Ok(()) if !buffer.is_empty() => return Self::Unmarked,
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Self::Unmarked,
            Err(_) => return Self::Gone,
        }
        match Stat::read(pid, buffer) {
            None => Self::Gone,
            Some(stat) if stat.kernel => Self::Unmarked,
            Some(stat) if stat.leader_left() && any_thread_marked(pid, mark, buffer) => Self::Marked,
            Some(stat) if stat.leader_left() => Self::Unmarked,
            Some(stat) if !stat.is_alive() => Self::Gone,
            Some(stat) if stat.environ_is_empty => Self::Unmarked,
            // The environment was read of what it was before its `exec`, which is no more.
            Some(_) => Self::Unclear,
        }
    }
}

/// Whether an environment ended before its end, at a page: what was read of it was replaced meanwhile.
fn is_cut(environ: &[u8]) -> bool {
    !environ.is_empty() && environ.len().is_multiple_of(PAGE) && !environ.ends_with(&[0])
}

/// A process whose first thread has left shows no environment of its own; its other threads do.
fn any_thread_marked(pid: u32, mark: &Mark, buffer: &mut Vec<u8>) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().any(|thread| {
        read(&format!("{}/environ", thread.path().display()), buffer).is_ok() && mark.is_in(buffer)
    })
}

/// The fields of `/proc/PID/stat` that say where a process belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    state: u8,
    pub(super) parent: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    kernel: bool,
    threads: u32,
    /// When it started, in clock ticks since boot. With its id this names a process for good.
    pub(super) start: u64,
    /// Set up, and without a variable. One that is in the middle of an `exec` is not set up.
    environ_is_empty: bool,
}

impl Stat {
    pub(super) fn read(pid: u32, buffer: &mut Vec<u8>) -> Option<Self> {
        read(&format!("/proc/{pid}/stat"), buffer).ok()?;
        Self::parse(std::str::from_utf8(buffer.rsplit(|byte| *byte == b')').next()?).ok()?)
    }

    /// Parses what follows the program's name, which may itself hold anything but a last `)`.
    fn parse(rest: &str) -> Option<Self> {
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // The manual counts from 1, and the first field here is its third.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
            kernel: field(9)?.parse::<u64>().ok()? & KERNEL_THREAD != 0,
            threads: field(20)?.parse().ok()?,
            start: field(22)?.parse().ok()?,
            environ_is_empty: field(51).is_some_and(|end| end != "0" && field(50) == Some(end)),
        })
    }

    /// Whether it still runs; a zombie does not.
    pub(super) fn is_alive(&self) -> bool {
        self.leader_left() || !matches!(self.state, b'Z' | b'X' | b'x')
    }

    fn leader_left(&self) -> bool {
        self.state == b'Z' && self.threads > 1
    }
}

/// Reads a file of `/proc` whole.
fn read(path: &str, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    let mut file = File::open(path)?;
    let mut page = [0; PAGE];
    while buffer.len() < MAX_ENVIRON {
        match file.read(&mut page) {
            Ok(0) => break,
            Ok(count) => buffer.extend_from_slice(page.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_handed_out_in_turn() {
        let newer = Newer { first: 32_000, since: Instant::now(), pid_max: 32_768 };
        let span = Newer::span;
        let young = span(Duration::from_micros(100));
        assert!(newer.contains(32_000, young) && newer.contains(32_400, young));
        assert!(!newer.contains(31_999, young) && !newer.contains(32_401, young));
        assert!(!newer.contains(301, young));
        // 1 068 further on, around the end.
        assert!(newer.contains(300, span(Duration::from_micros(768))));
        assert!(!newer.contains(301, span(Duration::from_micros(768))));
        // After a whole turn nothing is ruled out.
        assert!((1..32_768).all(|pid| newer.contains(pid, span(Duration::from_millis(33)))));
    }

    #[test]
    fn the_last_id_bounds_the_others_until_a_whole_turn_is_possible() {
        let newer = Newer { first: 32_000, since: Instant::now(), pid_max: 32_768 };
        let within = |millis: u64, last: u32| newer.reach(Duration::from_millis(millis), Some(last));
        let straight = within(10, 32_005);
        assert!(newer.contains(32_000, straight) && newer.contains(32_005, straight));
        assert!(!newer.contains(32_006, straight) && !newer.contains(400, straight));
        assert!(!newer.may_have_turned(straight));

        let around = within(10, 400);
        assert!(newer.contains(32_700, around) && newer.contains(400, around));
        assert!(!newer.contains(401, around) && newer.may_have_turned(around));

        assert!((1..32_768).all(|pid| newer.contains(pid, within(33, 32_005))));
        let unknown = newer.reach(Duration::from_micros(100), None);
        assert!(newer.contains(32_400, unknown) && !newer.contains(32_401, unknown));
    }

    #[test]
    fn the_last_id_is_that_of_the_newest_process() {
        let Some(before) = last_id() else { return };
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let newer = Newer::than(before, Instant::now());
        assert!(newer.distance(child.id()) > 0);
        assert!(newer.distance(last_id().unwrap()) >= newer.distance(child.id()));
        child.wait().unwrap();
    }

    #[test]
    fn the_test_itself_is_found_and_read() {
        let pid = std::process::id();
        let mut buffer = Vec::new();
        let since = Instant::now().checked_sub(Duration::from_secs(100)).unwrap();
        let newer = Newer::than(pid, since);
        assert!(newer.list().unwrap().contains(&pid));
        // Without a turn the listing begins at the first, and holds nothing older.
        let young = Newer { since: Instant::now(), pid_max: u32::MAX, ..newer };
        assert!(young.list().unwrap().iter().all(|id| *id >= pid) && young.list().unwrap().contains(&pid));
        // A first that is not there proves nothing, so that all is listed.
        let absent = Newer { first: 4_194_000, since, pid_max: 4_194_304 };
        assert!(absent.list().unwrap().contains(&pid));
        let stat = Stat::read(pid, &mut buffer).unwrap();
        assert!(stat.is_alive() && !stat.environ_is_empty && !stat.kernel);
        let sign = Sign::Mark(Mark::new(None).unwrap());
        assert_eq!(Look::at(pid, &sign, &mut buffer), Look::Unmarked);
        assert_eq!(Look::at(u32::MAX, &sign, &mut buffer), Look::Gone);
    }

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let tail = " S 12 34 56 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 3 0 777 0 0";
        let stat = Stat::parse(tail).unwrap();
        assert_eq!((stat.parent, stat.group, stat.session, stat.start), (12, 34, 56, 777));
        assert!(!stat.environ_is_empty);
        assert_eq!(Stat::parse(" S 12 34"), None);
    }

    #[test]
    fn a_zombie_is_dead_unless_threads_of_it_live() {
        let dead = Stat::parse(" Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 7").unwrap();
        assert!(!dead.is_alive());
        let left = Stat::parse(" Z 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 2 0 7").unwrap();
        assert!(left.is_alive());
    }
}

//! Finding and ending what a command started, wherever it went.

use std::{
    collections::{HashMap, HashSet},
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    Mark,
    procfs::{self, Look, Newer, Stat},
};

/// How long one sweep may take: neither what starts processes faster than they are found, nor a process that the
/// kernel can't end (waiting for a dead disk) must hold the caller.
const MAX_TIME: Duration = Duration::from_secs(2);
/// How often a chase looks again because something had ended before it was looked at.
const MAX_LOOKS: usize = 50;
/// The same where a look is only to tell whether a sweep is due.
const QUICK_LOOKS: usize = 3;
/// How long to wait for a process to come out of an `exec`, in which nothing tells whose it is.
const EXEC_PAUSE: Duration = Duration::from_millis(1);

/// By what a process shows whose it is.
#[derive(Debug)]
pub(super) enum Sign {
    /// In its environment.
    Mark(Mark),
    /// In its limit on file locks, of which only the upper bits count.
    Tag {
        /// These.
        prefix: u64,
        /// How many of the lower bits don't count.
        bits: u32,
    },
}

/// One search for what belongs to a command: what carries its mark, its process group, the descendants of all these
/// as long as their parents live, and the groups and sessions that they lead.
///
/// What is found is stopped. Stopped, it starts nothing new and still shows who its children are, so that a next look
/// finds what it started in between; when nothing new appears, all of it is killed.
#[derive(Debug)]
pub(super) struct Sweep<'a> {
    sign: &'a Sign,
    /// The first process, and who can be younger.
    first: Option<(u32, Newer)>,
    /// Everything that belonged to the command, also what has ended since. A sweep is over long before ids come round.
    known: HashSet<u32>,
    /// Everything that was looked at.
    seen: HashSet<u32>,
    /// What was stopped, by the handles that can't mean another process.
    held: HashMap<u32, OwnedFd>,
    /// What this user may not signal, because it changed its user.
    refused: HashSet<u32>,
}

/// What came of a search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    /// Something was stopped that ran before.
    stopped: bool,
    /// Something ended before it was looked at, after it may have started another process.
    missed: bool,
    /// Something was in the middle of an `exec`.
    unclear: bool,
}

impl<'a> Sweep<'a> {
    /// A search that starts at the command's first process, where that is known.
    pub(super) fn new(sign: &'a Sign, first: Option<(u32, Newer)>) -> Self {
        Self {
            sign,
            first,
            known: first.map(|(pid, _)| pid).into_iter().collect(),
            seen: HashSet::new(),
            held: HashMap::new(),
            refused: HashSet::new(),
        }
    }

    /// Whether nothing carries the mark, the first process aside, which has ended. Stops what does.
    pub(super) fn is_clean(&mut self) -> bool {
        self.seen.extend(self.first.map(|(pid, _)| pid));
        self.chase(QUICK_LOOKS) == Found::default()
    }

    /// Asks what belongs to the command and has left the group of its first process to end.
    pub(super) fn ask_outside_group(&mut self) {
        let mut buffer = Vec::new();
        for pid in self.list() {
            if Look::at(pid, self.sign, &mut buffer) == Look::Marked {
                self.known.insert(pid);
            }
        }
        for (pid, stat) in self.kin() {
            if let Some(handle) =
                hold(pid, stat).filter(|_| self.first.is_none_or(|(first, _)| stat.group != first))
            {
                // An error means that it has ended meanwhile, or that it is not ours to signal.
                let _ = pidfd_send_signal(handle, Signal::TERM);
            }
        }
    }

    /// Ends everything that belongs to the command, and returns when it is dead.
    pub(super) fn kill(&mut self) {
        let deadline = Instant::now() + MAX_TIME;
        while Instant::now() < deadline {
            let mut found = self.chase(MAX_LOOKS);
            self.stop_kin(&mut found);
            if found.stopped {
                continue;
            }
            if !self.held.is_empty() {
                self.kill_held(deadline);
            } else if found.unclear {
                thread::sleep(EXEC_PAUSE);
            } else if !found.missed {
                return;
            }
        }
        self.kill_held(deadline);
    }

    /// Stops what carries the mark, each as soon as it is seen: it may be about to start another process and to end.
    ///
    /// The search is certain when everything that a look listed was there to be looked at, or had been looked at
    /// before: what belongs to the command and lives was listed, or was started by something that was. Otherwise it
    /// takes another look, at what is new.
    fn chase(&mut self, max_looks: usize) -> Found {
        let mut found = Found::default();
        let mut buffer = Vec::new();
        for _ in 0..max_looks {
            found.missed = false;
            found.unclear = false;
            for pid in self.list() {
                if !self.seen.insert(pid) {
                    continue;
                }
                let mut look = Look::at(pid, self.sign, &mut buffer);
                let mut handle = None;
                if look == Look::Marked {
                    // Opened before another look, so that what is stopped is what was looked at, or nothing.
                    handle = open(pid);
                    look = Look::at(pid, self.sign, &mut buffer);
                }
                match look {
                    Look::Marked => {
                        self.known.insert(pid);
                        self.stop(pid, handle, &mut found);
                    }
                    Look::Unmarked => {}
                    Look::Unclear => {
                        self.seen.remove(&pid);
                        found.unclear = true;
                    }
                    Look::Gone => found.missed = true,
                }
            }
            if !found.missed {
                break;
            }
        }
        found
    }

    /// Stops what has no mark and belongs to what is known.
    fn stop_kin(&mut self, found: &mut Found) {
        for (pid, stat) in self.kin() {
            self.stop(pid, hold(pid, stat), found);
        }
    }

    /// What belongs to what is known, which grows by it. What is held already is left out.
    fn kin(&mut self) -> Vec<(u32, Stat)> {
        let mut buffer = Vec::new();
        let pids = self.list().into_iter().filter(|pid| !self.held.contains_key(pid));
        let stats = pids.filter_map(|pid| Some((pid, Stat::read(pid, &mut buffer)?)));
        let mut processes: Vec<_> = stats.filter(|(_, stat)| stat.is_alive()).collect();
        let mut kin = Vec::new();
        loop {
            let before = kin.len();
            processes.retain(|&(pid, stat)| {
                let ours = [pid, stat.parent, stat.group, stat.session];
                let ours = ours.iter().any(|id| self.known.contains(id));
                if ours {
                    self.known.insert(pid);
                    kin.push((pid, stat));
                }
                !ours
            });
            if kin.len() == before {
                return kin;
            }
        }
    }

    /// The processes that can belong to the command. An unreadable `/proc` leaves the process group, which needs none.
    fn list(&self) -> Vec<u32> {
        match self.first {
            Some((_, newer)) => newer.list(),
            None => procfs::list_all(),
        }
        .unwrap_or_default()
    }

    fn stop(&mut self, pid: u32, handle: Option<OwnedFd>, found: &mut Found) {
        if self.held.contains_key(&pid) || self.refused.contains(&pid) {
            return;
        }
        match handle.map(|handle| (pidfd_send_signal(&handle, Signal::STOP), handle)) {
            Some((Ok(()), handle)) => {
                self.held.insert(pid, handle);
                found.stopped = true;
            }
            Some((Err(Errno::PERM), _)) => _ = self.refused.insert(pid),
            Some(_) | None => found.missed = true,
        }
    }

    fn kill_held(&mut self, deadline: Instant) {
        for handle in self.held.values() {
            // An error means that it is dead.
            let _ = pidfd_send_signal(handle, Signal::KILL);
        }
        for (_, handle) in self.held.drain() {
            wait_until_dead(&handle, deadline);
        }
    }
}

/// A handle to this very process, where it still exists.
fn hold(pid: u32, stat: Stat) -> Option<OwnedFd> {
    let handle = open(pid)?;
    let now = Stat::read(pid, &mut Vec::new())?;
    (now.start == stat.start).then_some(handle)
}

fn open(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(i32::try_from(pid).ok()?)?, PidfdFlags::empty()).ok()
}

/// Waits for the end of a process, at most until the deadline, and says whether it came.
pub(super) fn wait_until_dead(handle: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else { return false };
        let mut handles = [PollFd::new(handle, PollFlags::IN)];
        match poll(&mut handles, Some(&left)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

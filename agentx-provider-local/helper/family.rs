//! Who belongs to which command.
//!
//! The helper is the parent of each command's first process, and the kernel gives it what loses its parent below. So
//! all that lives of a command is among the helper's own children or below them. A first process is known; who was
//! adopted shows whose it is by its tag. What stands further down needs no look: when its parent ends, it comes up.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    os::unix::fs::FileExt,
};

use crate::{
    sys::{self, Ended},
    wire::NUMBER_BITS,
};

/// The most processes that one walk through a tree looks at. What is left is met on the next.
const MAX_WALK: usize = 1 << 16;

/// The helper's children, by what is known of them.
pub(crate) struct Family {
    /// The kernel's list of them; where it has none, all of `/proc` is read instead.
    list: Option<File>,
    first_tag: u64,
    /// The children that are not off the books. Until then, nobody else can have their ids.
    members: HashMap<u32, Member>,
    /// Those that were killed: once is enough.
    doomed: HashSet<u32>,
}

/// Whose a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    /// The first process of this command.
    First(u32),
    /// What this command has left behind.
    Adopted(u32),
    /// Nobody's: its tag is none, or that of a command of which it was proved that nothing was left.
    Stranger,
}

impl Member {
    /// The command.
    pub(crate) fn command(self) -> Option<u32> {
        match self {
            Self::First(number) | Self::Adopted(number) => Some(number),
            Self::Stranger => None,
        }
    }
}

impl Family {
    pub(crate) fn new(first_tag: u64) -> Self {
        let list = File::open("/proc/thread-self/children").ok();
        Self { list, first_tag, members: HashMap::new(), doomed: HashSet::new() }
    }

    /// A command's first process has been started.
    pub(crate) fn add(&mut self, pid: u32, number: u32) {
        self.members.insert(pid, Member::First(number));
    }

    /// A process has become nobody's.
    pub(crate) fn disown(&mut self, pid: u32) {
        self.members.insert(pid, Member::Stranger);
    }

    /// A process that everything of a command which loses its parent belongs to.
    pub(crate) fn add_holder(&mut self, pid: u32, number: u32) {
        self.members.insert(pid, Member::Adopted(number));
    }

    /// Takes what belongs to a holder from its command, if that is nothing and the holder was not killed. It is then
    /// nobody's.
    pub(crate) fn let_go(&mut self, pid: u32) -> bool {
        if self.doomed.contains(&pid) {
            return false;
        }
        let is_empty = match &self.list {
            // It has one thread.
            Some(_) => fs::read(format!("/proc/{pid}/task/{pid}/children")).is_ok_and(|list| list.is_empty()),
            None => scan().iter().all(|(_, parent)| *parent != pid),
        };
        if is_empty {
            self.members.insert(pid, Member::Stranger);
        }
        is_empty
    }

    /// Takes a child that has ended off the books, and says whose it was.
    ///
    /// # Errors
    /// `ECHILD` when no child is left at all.
    pub(crate) fn reap(&mut self) -> Result<Option<(Ended, Option<Member>)>, i32> {
        let ended = sys::reap()?;
        Ok(ended.map(|ended| {
            self.doomed.remove(&ended.pid);
            (ended, self.members.remove(&ended.pid))
        }))
    }

    /// Whether a child is still to be killed, which the caller does.
    pub(crate) fn doom(&mut self, pid: u32) -> bool {
        self.doomed.insert(pid)
    }

    /// A child could not be killed, which is to be tried again.
    pub(crate) fn spare(&mut self, pid: u32) {
        self.doomed.remove(&pid);
    }

    /// All children, alive or not yet off the books. `is_live` says whether a command is known.
    ///
    /// Nothing that lives is missed: while the list is read nobody takes a child off the books, so that the list only
    /// grows, at its end; and what comes to it then has lost a parent that was in the list itself.
    pub(crate) fn members(&mut self, is_live: impl Fn(u32) -> bool) -> Vec<(u32, Member)> {
        let pids = match &self.list {
            Some(list) => read_list(list),
            None => scan()
                .into_iter()
                .filter(|(_, parent)| *parent == std::process::id())
                .map(|(pid, _)| pid)
                .collect(),
        };
        let first_tag = self.first_tag;
        let whose = |pid| match tag_of(pid) {
            Some(tag) if tag >> NUMBER_BITS == first_tag >> NUMBER_BITS && is_live(number_of(tag)) => {
                Member::Adopted(number_of(tag))
            }
            _ => Member::Stranger,
        };
        let members = &mut self.members;
        pids.into_iter().map(|pid| (pid, *members.entry(pid).or_insert_with(|| whose(pid)))).collect()
    }

    /// Signals what stands below a child and belongs to this command, as far as its parents live. `only` chooses.
    pub(crate) fn signal_below(&self, top: u32, number: u32, signals: &[i32], only: impl Fn(u32) -> bool) {
        let all = self.list.is_none().then(scan);
        let children = |pid: u32| match &all {
            None => children_of(pid),
            Some(all) => all.iter().filter(|(_, parent)| *parent == pid).map(|(pid, _)| *pid).collect(),
        };
        let mut open = children(top);
        let mut seen = 0;
        while let Some(pid) = open.pop() {
            seen += 1;
            if seen > MAX_WALK {
                return;
            }
            open.extend(children(pid));
            // The tag is read after the handle was opened: a handle to somebody else finds another tag, or nobody.
            let Some(process) = sys::open_process(pid) else { continue };
            if tag_of(pid) == Some(self.first_tag | u64::from(number)) && only(pid) {
                for signal in signals {
                    sys::signal_by_handle(&process, *signal);
                }
            }
        }
    }
}

fn number_of(tag: u64) -> u32 {
    u32::try_from(tag & ((1 << NUMBER_BITS) - 1)).unwrap_or_default()
}

/// A process's tag. Another user's is told by `/proc` alone.
fn tag_of(pid: u32) -> Option<u64> {
    match sys::tag_of(pid) {
        Ok(tag) => Some(tag),
        Err(sys::EPERM) => {
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
            let line = limits.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
            line.split_ascii_whitespace().nth(1)?.parse().ok()
        }
        Err(_) => None,
    }
}

/// Reads the kernel's list of a process's children whole.
fn read_list(list: &File) -> Vec<u32> {
    let mut text = Vec::new();
    let mut page = [0; 4096];
    loop {
        match list.read_at(&mut page, text.len() as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => text.extend_from_slice(page.get(..count).unwrap_or_default()),
        }
    }
    numbers(&text).collect()
}

/// The children of all threads of a process.
fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read(thread.path().join("children")).ok());
    lists.flat_map(|list| numbers(&list).collect::<Vec<_>>()).collect()
}

fn numbers(text: &[u8]) -> impl Iterator<Item = u32> {
    let words = text.split(|byte| *byte == b' ');
    words.filter_map(|word| std::str::from_utf8(word).ok()?.parse().ok())
}

/// Whether a signal has stopped a process.
pub(crate) fn is_stopped(pid: u32) -> bool {
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The program's name may hold anything but a last bracket; behind it comes the state.
    stat.rsplit(|byte| *byte == b')').next().is_some_and(|rest| rest.starts_with(b" T"))
}

/// Every process with its parent.
fn scan() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The program's name may hold anything but a last bracket; behind it come the state and the parent.
        let rest = stat.rsplit(|byte| *byte == b')').next()?;
        let parent = std::str::from_utf8(rest).ok()?.split_ascii_whitespace().nth(1)?;
        Some((pid, parent.parse().ok()?))
    })
    .collect()
}

//! What the commands of one owner may use of the machine.

mod amount;
mod process;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread::available_parallelism,
    time::Duration,
};

use agentx::{
    ContainerId, Error, ErrorKind, Result,
    local::{Isolation, TreeGroup, TreeLimits},
    resource::{Process, ResourceLimits},
};

pub(crate) use self::amount::{Count, Limit, Processors, Size};
use self::process::BoundedProcess;
use crate::{
    Failure,
    disk::{self, Disk, Place},
    settings::Settings,
};

/// The part of the machine's memory that one of several owners may use, and how much that is at least.
const MEMORY_SHARE: u64 = 4;
const LEAST_MEMORY: u64 = 512 << 20;

/// Less than this was not meant, in bytes: no command could run, or write anything.
const LEAST_SIZE: u64 = 1 << 20;

/// The processes and threads of one of several owners.
const PROCESSES: u64 = 512;

/// What the workspaces of one of several owners may take of the disk, in bytes.
const DISK: u64 = 10 << 30;

/// The open files of each process of one of several owners.
const OPEN_FILES: u64 = 4_096;

/// The bounds of each owner, as they hold on this machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    /// All commands of one owner together.
    pub(crate) tree: TreeLimits,
    /// All workspaces of one owner together, in bytes.
    pub(crate) disk: Option<u64>,
    /// Each process by itself.
    pub(crate) process: ResourceLimits,
    /// What would be bounded by default, and can't be here.
    pub(crate) lacking: Vec<String>,
}

impl Bounds {
    /// Those that are asked for, and where several owners share the machine, those that nobody spoke of.
    ///
    /// # Errors
    /// Whatever is asked for and can't be kept on this machine.
    pub(crate) fn find(settings: &Settings, is_shared: bool) -> Result<Self, Failure> {
        for (flag, said) in [("memory", settings.memory), ("disk", settings.disk)] {
            if let Some(Limit::Of(size)) = said.filter(|said| matches!(said, Limit::Of(Size(..LEAST_SIZE)))) {
                let least = Size(LEAST_SIZE);
                return Err(format!("--{flag} {size}: at least {least}; write 2g for two GiB").into());
            }
        }
        let asked = TreeLimits::default();
        let asked = opt(asked, Limit::asked(settings.memory), |it, Size(bytes)| it.with_memory(bytes));
        let asked = opt(asked, Limit::asked(settings.processes), |it, Count(count)| it.with_processes(count));
        let asked = opt(asked, Limit::asked(settings.cpu), |it, Processors(share)| it.with_cpu(share));
        if !asked.is_none() {
            TreeGroup::new(asked)
                .map_err(|error| format!("--memory, --processes, --cpu: {}", crate::told(&error)))?;
        }
        let (mut tree, mut lacking) = (asked, Vec::new());
        if is_shared {
            let defaults = [
                ("memory", settings.memory.is_none(), TreeLimits::default().with_memory(memory())),
                ("processes", settings.processes.is_none(), TreeLimits::default().with_processes(PROCESSES)),
                ("cpu", settings.cpu.is_none(), TreeLimits::default().with_cpu(processors())),
            ];
            for (name, _, default) in defaults.into_iter().filter(|(_, is_unsaid, _)| *is_unsaid) {
                let more = both(tree, default);
                match TreeGroup::new(more) {
                    Ok(_) => tree = more,
                    Err(error) if error.kind() == ErrorKind::Unsupported => {
                        lacking.push(format!("{name}: {}", crate::told(&error)));
                    }
                    Err(error) => return Err(format!("--{name}: {}", crate::told(&error)).into()),
                }
            }
        }
        let files = Limit::or(settings.open_files, is_shared.then_some(Count(OPEN_FILES)));
        let process = opt(ResourceLimits::default(), files, |it, count| it.with_open_files(count.0));
        let process = opt(process, Limit::asked(settings.file_size), |it, size| it.with_file_size(size.0));
        let process = opt(process, Limit::asked(settings.address_space), |it, size| it.with_memory(size.0));
        let process = opt(process, Limit::asked(settings.cpu_time), |it, seconds| {
            it.with_cpu_time(Duration::from_secs(seconds.0))
        });
        let disk = Limit::or(settings.disk, is_shared.then_some(Size(DISK))).map(|size| size.0);
        Ok(Self { tree, disk, process, lacking })
    }

    /// Whether a command is limited by itself, which takes the helper of commands.
    pub(crate) fn needs_helper(&self) -> bool {
        self.disk.is_some() || !self.process.is_none()
    }

    /// What holds, for a person, in the words of the flags.
    pub(crate) fn told(&self) -> String {
        let size = |bytes: u64| Size(bytes).to_string();
        let owner = [
            self.tree.memory.map(|bytes| format!("memory {}", size(bytes))),
            self.tree.processes.map(|count| format!("processes {count}")),
            self.tree.cpu.map(|share| format!("cpu {}", Processors(share))),
            self.disk.map(|bytes| format!("disk {}", size(bytes))),
        ];
        let process = [
            self.process.open_files.map(|count| format!("open-files {count}")),
            self.process.file_size.map(|bytes| format!("file-size {}", size(bytes))),
            self.process.cpu_time.map(|time| format!("cpu-time {}", time.as_secs())),
            self.process.memory.map(|bytes| format!("address-space {}", size(bytes))),
        ];
        let list = |parts: &[Option<String>]| {
            let parts: Vec<_> = parts.iter().flatten().map(String::as_str).collect();
            if parts.is_empty() { "no bounds".to_owned() } else { parts.join(", ") }
        };
        let mut told = format!("each owner: {}\neach process: {}", list(&owner), list(&process));
        for lacking in &self.lacking {
            told += &format!("\nNOT BOUNDED HERE: {lacking}");
        }
        told
    }
}

fn opt<T, A>(limits: T, amount: Option<A>, with: impl FnOnce(T, A) -> T) -> T {
    match amount {
        Some(amount) => with(limits, amount),
        None => limits,
    }
}

fn both(one: TreeLimits, other: TreeLimits) -> TreeLimits {
    let mut both = one;
    both.memory = one.memory.or(other.memory);
    both.processes = one.processes.or(other.processes);
    both.cpu = one.cpu.or(other.cpu);
    both
}

/// All processors but one, and one at least: something is left for the server and the other owners.
fn processors() -> u32 {
    let all =
        available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX / 1_000));
    all.saturating_sub(1).max(1).saturating_mul(1_000)
}

/// A part of the machine's memory, in bytes.
fn memory() -> u64 {
    let told = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let all = told.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let share = all.unwrap_or_default().saturating_mul(1 << 10) / MEMORY_SHARE;
    // In whole MiB, since people read it.
    (share >> 20 << 20).max(LEAST_MEMORY)
}

/// What holds the commands of one owner together, as long as one of its workspaces is open. Locked while it is made.
type OwnerGroup = tokio::sync::Mutex<Weak<TreeGroup>>;

/// The bounds in force, owner by owner.
#[derive(Clone, Debug)]
pub(crate) struct Bounded {
    bounds: Bounds,
    disk: Option<Disk>,
    /// They are as many as have a key.
    groups: Arc<Mutex<HashMap<String, Arc<OwnerGroup>>>>,
}

impl Bounded {
    /// For workspaces below `root`.
    pub(crate) fn new(bounds: Bounds, root: &Path) -> Self {
        let disk = bounds.disk.map(|limit| Disk::new(root.to_owned(), limit));
        Self { bounds, disk, groups: Arc::default() }
    }

    /// The group of a container's owner; none where nothing is limited together.
    ///
    /// # Errors
    /// `Unsupported` where the machine does not give it any more.
    pub(crate) async fn group(&self, container: &ContainerId) -> Result<Option<Arc<TreeGroup>>> {
        let limits = self.bounds.tree;
        if limits.is_none() {
            return Ok(None);
        }
        let of_owner = self.of_owner(disk::prefix(container));
        let mut of_owner = of_owner.lock().await;
        if let Some(group) = of_owner.upgrade() {
            return Ok(Some(group));
        }
        // It may have to wait for what a killed server has left.
        let made = tokio::task::spawn_blocking(move || TreeGroup::new(limits)).await;
        let failed = |error| Error::new(ErrorKind::Unavailable, "bound commands").with_source(error);
        let group = Arc::new(made.map_err(failed)??);
        *of_owner = Arc::downgrade(&group);
        Ok(Some(group))
    }

    fn of_owner(&self, owner: &str) -> Arc<OwnerGroup> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(groups.entry(owner.to_owned()).or_default())
    }

    /// A workspace, what it takes of the disk being counted; none where that is not bounded.
    pub(crate) fn place(&self, container: &ContainerId, path: PathBuf) -> Option<Place> {
        self.disk.as_ref().map(|disk| disk.place(container, path))
    }

    /// Commands within the bounds.
    pub(crate) fn process(
        &self,
        inner: Arc<dyn Process>,
        group: Option<Arc<TreeGroup>>,
        place: Option<Place>,
    ) -> Arc<dyn Process> {
        if self.bounds.process.is_none() && group.is_none() && place.is_none() {
            return inner;
        }
        Arc::new(BoundedProcess { inner, limits: self.bounds.process, place, _group: group })
    }
}

/// An isolation in which commands are held together, too.
pub(crate) fn held(isolation: Option<&Isolation>, group: Option<&TreeGroup>) -> Option<Isolation> {
    match (isolation, group) {
        (isolation, None) => isolation.cloned(),
        (isolation, Some(group)) => {
            Some(isolation.cloned().unwrap_or_default().with_tree_group(group.clone()))
        }
    }
}

#[cfg(test)]
mod tests;

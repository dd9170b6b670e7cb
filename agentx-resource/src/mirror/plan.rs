//! What is to be done, from what both trees are and what they were: a function without I/O.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
};

use super::{
    MirrorOptions, Side,
    base::{Base, File, Record},
    name,
    replica::{Entry, Snapshot},
};
use crate::ResourcePath;

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) path: ResourcePath,
    pub(super) action: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    /// The file gets the name of a conflict, since the other side has a directory.
    SetAside { file: Side },
    /// It was removed from the other side, and not changed on this one. `make` if the other side has a directory there.
    RemoveFile { from: Side, file: File, make: bool },
    /// It was removed from the other side, and nothing is kept in it.
    RemoveDirectory { from: Side },
    /// It is on the other side only.
    MakeDirectory { on: Side },
    /// The other side has another content, and this one has not changed.
    Copy { to: Side, over: Option<File>, why: Why },
    /// Both have a content that is not the one of the last sync. `new` if neither was there then.
    Compare { local: File, remote: File, new: bool },
    /// A directory on both sides, which was not known of yet.
    Adopt,
    /// On neither side any more.
    Vanish,
    /// No longer mirrored.
    Forget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is new on the other side.
    New,
    /// It was changed on the other side.
    Changed,
    /// It was changed on the other side, and removed from this one.
    ChangedAndRemoved,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// In groups, one after the other. What is in one group can be done at the same time.
    pub(super) groups: Vec<Vec<Step>>,
    /// How many bytes are to be read.
    pub(super) bytes: u64,
    /// The names of conflicts that are in use.
    pub(super) taken: HashSet<ResourcePath>,
    /// How many entries are where the other side has something that can't be mirrored.
    pub(super) blocked: u64,
    /// How many directories stay only for what is in them and not mirrored.
    pub(super) held: u64,
}

impl Plan {
    pub(super) fn new(base: &Base, local: &Snapshot, remote: &Snapshot, options: &MirrorOptions) -> Self {
        let mut planner = Planner {
            base,
            sides: [local, remote],
            held: [local.held.iter().collect(), remote.held.iter().collect()],
            kept: HashSet::new(),
            steps: Vec::new(),
            plan: Self::default(),
        };
        let paths: BTreeSet<&ResourcePath> =
            (base.records.keys()).chain(local.entries.keys()).chain(remote.entries.keys()).collect();
        // From the last to the first: what is below a directory comes before it, and tells whether it is kept.
        for path in paths.into_iter().rev() {
            planner.decide(path, options);
        }
        planner.finish()
    }

    pub(super) fn steps(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }
}

struct Planner<'a> {
    base: &'a Base,
    sides: [&'a Snapshot; 2],
    /// Directories of each side in which something stays that is not mirrored.
    held: [HashSet<&'a ResourcePath>; 2],
    /// Directories in which something stays or comes that is mirrored.
    kept: HashSet<ResourcePath>,
    steps: Vec<Step>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn decide(&mut self, path: &'a ResourcePath, options: &MirrorOptions) {
        let base = self.base.records.get(path);
        let [local, remote] = self.sides.map(|side| side.entries.get(path));
        if name::original(path).is_some() && (local.is_some() || remote.is_some()) {
            self.plan.taken.insert(path.clone());
        }
        if !options.mirrors(path) {
            self.step(path, Action::Forget);
            return;
        }
        if self.sides.iter().any(|side| side.blocks(path)) {
            self.plan.blocked += u64::from(local.is_some() || remote.is_some());
            self.hold_parent(path, Side::Local);
            self.hold_parent(path, Side::Remote);
            return;
        }
        match (local, remote) {
            (None, None) => self.step(path, Action::Vanish),
            (Some(Entry::Directory), Some(Entry::Directory)) => {
                self.keep(path);
                if base != Some(&Record::Directory) {
                    self.step(path, Action::Adopt);
                }
            }
            (Some(Entry::Directory), None) => self.directory(path, Side::Local, base),
            (None, Some(Entry::Directory)) => self.directory(path, Side::Remote, base),
            (Some(Entry::File(file)), None) => self.file(path, Side::Local, file, base),
            (None, Some(Entry::File(file))) => self.file(path, Side::Remote, file, base),
            (Some(Entry::File(file)), Some(Entry::Directory)) => {
                self.file_and_directory(path, Side::Local, file, base);
            }
            (Some(Entry::Directory), Some(Entry::File(file))) => {
                self.file_and_directory(path, Side::Remote, file, base);
            }
            (Some(Entry::File(local)), Some(Entry::File(remote))) => self.both(path, local, remote, base),
        }
    }

    /// A directory that is on one side only.
    fn directory(&mut self, path: &'a ResourcePath, side: Side, base: Option<&Record>) {
        if self.kept.contains(path) || base != Some(&Record::Directory) {
            self.keep(path);
            self.step(path, Action::MakeDirectory { on: side.other() });
        } else if self.holds(path, side) {
            self.plan.held += 1;
            self.hold_parent(path, side);
        } else {
            self.step(path, Action::RemoveDirectory { from: side });
        }
    }

    /// A file that is on one side only.
    fn file(&mut self, path: &ResourcePath, side: Side, file: &File, base: Option<&Record>) {
        let why = match base.and_then(|base| base.on(side)) {
            Some(before) if before.is(file) => {
                return self.step(path, Action::RemoveFile { from: side, file: file.clone(), make: false });
            }
            Some(_) => Why::ChangedAndRemoved,
            None => Why::New,
        };
        self.keep(path);
        self.copy(path, side.other(), file, None, why);
    }

    /// A file on one side, and a directory on the other.
    fn file_and_directory(&mut self, path: &ResourcePath, side: Side, file: &File, base: Option<&Record>) {
        self.keep(path);
        if base.and_then(|base| base.on(side)).is_some_and(|before| before.is(file)) {
            // The other side made a directory of it.
            self.step(path, Action::RemoveFile { from: side, file: file.clone(), make: true });
        } else if base == Some(&Record::Directory)
            && !self.kept.contains(path)
            && !self.holds(path, side.other())
        {
            // This side made a file of it, and nothing that the other has in it has changed.
            self.step(path, Action::RemoveDirectory { from: side.other() });
            self.copy(path, side.other(), file, None, Why::New);
        } else {
            self.step(path, Action::SetAside { file: side });
            self.step(path, Action::MakeDirectory { on: side });
        }
    }

    /// A file on both sides.
    fn both(&mut self, path: &ResourcePath, local: &File, remote: &File, base: Option<&Record>) {
        self.keep(path);
        let unchanged =
            |side, file| base.and_then(|base| base.on(side)).is_some_and(|before| before.is(file));
        match (unchanged(Side::Local, local), unchanged(Side::Remote, remote)) {
            (true, true) => {}
            (false, true) => self.copy(path, Side::Remote, local, Some(remote), Why::Changed),
            (true, false) => self.copy(path, Side::Local, remote, Some(local), Why::Changed),
            (false, false) => {
                // What is longer than the other need not be read to know that it differs, but one of them is copied.
                self.plan.bytes = self.plan.bytes.saturating_add(local.len).saturating_add(remote.len);
                let (local, remote, new) = (local.clone(), remote.clone(), base.is_none());
                self.step(path, Action::Compare { local, remote, new });
            }
        }
    }

    fn copy(&mut self, path: &ResourcePath, to: Side, from: &File, over: Option<&File>, why: Why) {
        self.plan.bytes = self.plan.bytes.saturating_add(from.len);
        self.step(path, Action::Copy { to, over: over.cloned(), why });
    }

    /// Something is at `path` in the end, and so the directory that holds it is kept.
    fn keep(&mut self, path: &ResourcePath) {
        self.kept.extend(path.parent());
    }

    fn holds(&self, path: &ResourcePath, side: Side) -> bool {
        let [local, remote] = &self.held;
        match side {
            Side::Local => local.contains(path),
            Side::Remote => remote.contains(path),
        }
    }

    fn hold_parent(&mut self, path: &'a ResourcePath, side: Side) {
        let ([local, remote], [local_held, remote_held]) = (self.sides, &mut self.held);
        let (entries, held) = match side {
            Side::Local => (&local.entries, local_held),
            Side::Remote => (&remote.entries, remote_held),
        };
        if let Some((parent, _)) = path.parent().and_then(|parent| entries.get_key_value(&parent)) {
            held.insert(parent);
        }
    }

    fn step(&mut self, path: &ResourcePath, action: Action) {
        self.steps.push(Step { path: path.clone(), action });
    }

    fn finish(self) -> Plan {
        let Self { mut steps, mut plan, .. } = self;
        steps.sort_by_cached_key(order);
        plan.groups = steps.chunk_by(|a, b| order(a) == order(b)).map(<[Step]>::to_vec).collect();
        plan
    }
}

/// What is before what: names are freed before they are taken, and a directory is emptied before it goes and made before
/// it is filled.
fn order(step: &Step) -> (u8, Reverse<usize>, usize) {
    let depth = step.path.components().count();
    match step.action {
        Action::Adopt | Action::Vanish | Action::Forget => (0, Reverse(0), 0),
        Action::SetAside { .. } => (1, Reverse(0), 0),
        Action::RemoveFile { .. } => (2, Reverse(0), 0),
        Action::RemoveDirectory { .. } => (3, Reverse(depth), 0),
        Action::MakeDirectory { .. } => (4, Reverse(0), depth),
        Action::Copy { .. } | Action::Compare { .. } => (5, Reverse(0), 0),
    }
}

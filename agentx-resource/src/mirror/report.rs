use std::fmt;

use crate::{Error, ErrorKind, ResourcePath, Result};

/// One of the two trees that a [`MirrorDisk`](super::MirrorDisk) keeps alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The tree that is worked in.
    Local,
    /// The tree that it mirrors.
    Remote,
}

impl Side {
    /// The opposite side.
    pub fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Remote => "remote",
        })
    }
}

/// What a sync did, and what it could not do.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SyncReport {
    /// What was known of the last sync.
    pub base: BaseState,
    /// Files copied from the remote to the local tree.
    pub pulled: Copied,
    /// Files copied from the local to the remote tree.
    pub pushed: Copied,
    /// Files and directories removed from the local tree, since they were removed from the remote one.
    pub removed_local: u64,
    /// Files and directories removed from the remote tree, since they were removed from the local one.
    pub removed_remote: u64,
    /// Where both trees had changed, and how that was settled.
    pub conflicts: Told<Conflict>,
    /// What could not be mirrored. The next sync tries it again.
    pub failures: Told<SyncFailure>,
    /// What changed while it was being mirrored, each time that it was tried, and so was left as it is. The next sync
    /// tries it again.
    pub deferred: Told<ResourcePath>,
    /// What is in the trees and is not mirrored.
    pub skipped: Skipped,
}

/// Files that were copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// How many.
    pub files: u64,
    /// Their sizes in all.
    pub bytes: u64,
}

/// What a sync knew of the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BaseState {
    /// What both trees were after the last sync.
    #[default]
    Known,
    /// Nothing: it is the first sync. What is in one tree is copied to the other, and nothing is removed.
    First,
    /// The state can't be read any more. As for the first sync; what was removed since then comes back.
    Damaged,
    /// The state was kept of other trees: one was replaced, or its marker removed. As for the first sync.
    OtherTrees,
}

/// The first [`Told::LIMIT`] of something, and how many there are in all.
#[derive(Clone, Debug)]
pub struct Told<T> {
    first: Vec<T>,
    count: u64,
}

impl<T> Told<T> {
    /// How many are kept. The rest is only counted.
    pub const LIMIT: usize = 1000;

    /// How many there are in all.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Those that are kept.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.first.iter()
    }

    pub(super) fn push(&mut self, item: T) {
        self.count += 1;
        if self.first.len() < Self::LIMIT {
            self.first.push(item);
        }
    }
}

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self { first: Vec::new(), count: 0 }
    }
}

impl<'a, T> IntoIterator for &'a Told<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A path at which both trees had changed. Nothing of either is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// Where.
    pub path: ResourcePath,
    /// What happened there.
    pub kind: ConflictKind,
    /// Where the content that lost its name is now, in both trees: `name.conflict-<n>.ext`.
    pub kept_as: Option<ResourcePath>,
}

/// What happened in both trees at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConflictKind {
    /// Both have another content. The remote one keeps the name.
    BothChanged,
    /// One was changed and the other removed. The change is kept, in both trees.
    ChangedAndRemoved {
        /// Where it was changed.
        changed: Side,
    },
    /// One has a file, and the other a directory. The directory keeps the name.
    FileAndDirectory {
        /// Where the file was.
        file: Side,
    },
    /// A file came that has the name of a conflict: a sync gave it that was interrupted before it could tell, or another
    /// mirror of the remote tree.
    Found,
}

/// A path that could not be mirrored, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SyncFailure {
    /// Where.
    pub path: ResourcePath,
    /// Why.
    pub error: Error,
}

/// What is not mirrored, by what it is. Both trees are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Symbolic links.
    pub symlinks: u64,
    /// FIFOs, sockets, devices.
    pub special: u64,
    /// Entries whose name is no path.
    pub unaddressable: u64,
    /// Entries that the options leave out.
    pub excluded: u64,
    /// Entries that lie where the other tree has a symbolic link or a special file, or below that.
    pub blocked: u64,
    /// Directories that were removed from one tree, and stay in the other since they hold what is not mirrored.
    pub held_directories: u64,
}

/// What happens during a sync, as it happens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MirrorEvent {
    /// The trees were compared, and work begins. A sync that meets changes or conflicts does so again.
    Compared {
        /// How many steps are to be done.
        steps: u64,
        /// How many bytes are to be read for it.
        bytes: u64,
    },
    /// A file was copied.
    Copied {
        /// Where it is.
        path: ResourcePath,
        /// Which tree it was copied to.
        to: Side,
        /// Its size.
        bytes: u64,
    },
    /// A file or a directory was removed.
    Removed {
        /// Where it was.
        path: ResourcePath,
        /// From which tree.
        from: Side,
    },
    /// A conflict was settled.
    Conflict(Conflict),
    /// A path could not be mirrored for now.
    Failed(SyncFailure),
}

impl SyncReport {
    /// Whether the trees are alike, as far as they are mirrored: nothing failed and nothing was left for later.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && self.deferred.is_empty()
    }

    /// This report, if it is complete.
    ///
    /// # Errors
    /// The first failure, and how many there are. `Busy` where there is none, and something kept changing.
    pub fn complete(self) -> Result<Self> {
        if let Some(SyncFailure { path, error }) = self.failures.iter().next() {
            let (count, kind) = (self.failures.count(), error.kind());
            return Err(Error::new(kind, "sync")
                .with_path(path)
                .with_retry(error.retry())
                .with_message(format!("{count} in all could not be mirrored; this is the first"))
                .with_source(error.clone()));
        }
        if let Some(path) = self.deferred.iter().next() {
            let count = self.deferred.count();
            return Err(Error::new(ErrorKind::Busy, "sync")
                .with_path(path)
                .with_retry(crate::Retry::After(None))
                .with_message(format!("{count} in all kept changing; this is the first")));
        }
        Ok(self)
    }
}

//! What a tree takes of the disk, as `du` counts it.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat},
    io::Errno,
    path::Arg,
};

/// How many directories may lie in one another. Each that is looked into is an open file of the server's.
pub(super) const DEEPEST: usize = 128;

/// How many files and directories one tree, and one owner, may have: what can be looked at in seconds.
pub(super) const MOST_ENTRIES: u64 = 1_000_000;

/// The unit in which the system counts what a file takes, in bytes.
const BLOCK: u64 = 512;

/// What is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Bytes of the disk: a file that is mostly holes takes few, and one with two names takes them once.
    pub(super) bytes: u64,
    /// Files and directories.
    pub(super) entries: u64,
}

impl Usage {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
        }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(other.bytes),
            entries: self.entries.saturating_sub(other.entries),
        }
    }
}

/// What keeps a tree from being measured. Whoever makes one that can't be is over every limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    TooDeep,
    TooMany,
    Unreadable,
}

impl Obstacle {
    /// What is wrong, for a person.
    pub(super) fn told(self) -> String {
        match self {
            Self::TooDeep => format!("directories lie in one another more than {DEEPEST} deep"),
            Self::TooMany => format!("there are more than {MOST_ENTRIES} files and directories"),
            Self::Unreadable => "a directory can't be read, so that nobody knows what is in it".to_owned(),
        }
    }
}

/// What came of it. Nothing where nothing is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) usage: Usage,
    /// What the largest file takes, in bytes.
    pub(super) largest: u64,
    pub(super) obstacle: Option<Obstacle>,
}

/// Measures a tree on a thread of its own. Dropping this ends that, too.
pub(super) async fn walk(root: PathBuf) -> io::Result<Measured> {
    let stop = Stop::default();
    let stopped = Arc::clone(&stop.0);
    tokio::task::spawn_blocking(move || measure(&root, &stopped)).await.map_err(io::Error::other)?
}

#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Follows no link, and leaves out what goes away meanwhile: whoever owns the tree may change it at any moment.
fn measure(root: &Path, stopped: &AtomicBool) -> io::Result<Measured> {
    let (mut usage, mut largest) = (Usage::default(), 0);
    let root = match enter(CWD, root) {
        Ok(Some(root)) => root,
        Ok(None) => return Ok(Measured::default()),
        Err(Errno::ACCESS) => {
            return Ok(Measured { obstacle: Some(Obstacle::Unreadable), ..Measured::default() });
        }
        Err(errno) => return Err(errno.into()),
    };
    let device = fstat(&root)?.st_dev;
    let stopped_at = |usage, largest, obstacle| Ok(Measured { usage, largest, obstacle: Some(obstacle) });
    let (mut open, mut linked) = (vec![Dir::new(root)?], HashSet::new());
    while let Some(dir) = open.last_mut() {
        if stopped.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let entry = match dir.read() {
            Some(Ok(entry)) => entry,
            // It was removed.
            None | Some(Err(Errno::NOENT)) => {
                open.pop();
                continue;
            }
            Some(Err(errno)) => return Err(errno.into()),
        };
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        let found = match statat(dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => continue,
            Err(Errno::ACCESS) => return stopped_at(usage, largest, Obstacle::Unreadable),
            Err(errno) => return Err(errno.into()),
        };
        usage.entries += 1;
        if usage.entries > MOST_ENTRIES {
            return stopped_at(usage, largest, Obstacle::TooMany);
        }
        let is_dir = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        if is_dir || found.st_nlink == 1 || linked.insert(found.st_ino) {
            let blocks = u64::try_from(found.st_blocks).unwrap_or_default();
            let bytes = blocks.saturating_mul(BLOCK);
            (usage.bytes, largest) = (usage.bytes.saturating_add(bytes), largest.max(bytes));
        }
        // What is mounted there is somebody else's.
        if !is_dir || found.st_dev != device {
            continue;
        }
        if open.len() >= DEEPEST {
            return stopped_at(usage, largest, Obstacle::TooDeep);
        }
        let Some(parent) = open.last() else { break };
        match enter(parent.fd()?, name) {
            Ok(Some(child)) => open.push(Dir::new(child)?),
            Ok(None) => {}
            Err(Errno::ACCESS) => return stopped_at(usage, largest, Obstacle::Unreadable),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(Measured { usage, largest, obstacle: None })
}

/// A directory, where there still is one.
fn enter(parent: impl AsFd, name: impl Arg) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn measured(root: &Path) -> Measured {
        measure(root, &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn what_is_there_is_counted_once_and_nothing_beside_it() {
        let root = tempfile::tempdir().unwrap();
        let (tree, beside) = (root.path().join("tree"), root.path().join("beside"));
        fs::create_dir_all(tree.join("a")).unwrap();
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("large"), vec![1; 1 << 20]).unwrap();
        let empty = measured(&tree);
        assert_eq!((empty.usage.entries, empty.obstacle), (1, None));
        fs::write(tree.join("a/file"), vec![1; 256 << 10]).unwrap();
        fs::hard_link(tree.join("a/file"), tree.join("again")).unwrap();
        symlink(&beside, tree.join("link")).unwrap();
        fs::File::create(tree.join("holes")).unwrap().set_len(1 << 40).unwrap();
        let full = measured(&tree).usage.minus(empty.usage);
        assert_eq!(full.entries, 4);
        assert!((256 << 10..512 << 10).contains(&full.bytes), "{full:?}");
        // By way of a link, too, there is nothing.
        assert_eq!(measured(&tree.join("link")), Measured::default());
        assert_eq!(measured(&tree.join("missing")), Measured::default());
    }

    #[test]
    fn a_tree_that_is_too_deep_says_so() {
        let root = tempfile::tempdir().unwrap();
        let deep = |depth| vec!["d"; depth].join("/");
        fs::create_dir_all(root.path().join(deep(DEEPEST - 1))).unwrap();
        assert_eq!(measured(root.path()).obstacle, None);
        fs::create_dir_all(root.path().join(deep(DEEPEST))).unwrap();
        assert_eq!(measured(root.path()).obstacle, Some(Obstacle::TooDeep));
    }

    #[test]
    fn whoever_is_stopped_measures_nothing() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "x").unwrap();
        let stopped = measure(root.path(), &AtomicBool::new(true)).unwrap_err();
        assert_eq!(stopped.kind(), io::ErrorKind::Interrupted);
    }
}

//! An empty file or directory of the host in the place of a protected path that is not there.
//!
//! Several hosts may need the same one: a mount is undone when what is below it is removed, so the last one removes it.
//! Each holds a shared lock on it; whoever can have it alone is the last. It is known by the time of its last change, so
//! that nothing else is taken for one, and one that a dead host has left is taken over.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    fs::{CWD, FlockOperation, RenameFlags, Timespec, Timestamps, flock, futimens, renameat_with},
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

/// When a stand-in was changed, as it tells: one second and a little after the beginning of time.
const CHANGED: (i64, i64) = (1, 417_000);
/// How often and how soon again one is looked at that another host is removing.
const MAX_TRIES: usize = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// Dropping it removes it, unless somebody else needs it.
#[derive(Debug)]
pub(super) struct StandIn {
    path: PathBuf,
    /// Holds the shared lock.
    handle: File,
}

impl StandIn {
    /// Makes one, or shares that of another host who comes in between.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` where something else has come in between.
    pub(super) fn make(path: &Path, is_dir: bool) -> io::Result<Self> {
        let mut random = [0; 16];
        getrandom(&mut random, GetRandomFlags::empty())?;
        // Made aside and then given its name, so that nobody sees one without its mark and its lock.
        let aside = path.with_file_name(format!(".agentx-stand-in-{:032x}", u128::from_ne_bytes(random)));
        let made = create(&aside, is_dir).and_then(|handle| {
            match renameat_with(CWD, &aside, CWD, path, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(Some(handle)),
                Err(Errno::EXIST) => Ok(None),
                // A file system that can't do this: for a moment the new one is seen without its mark.
                Err(Errno::INVAL | Errno::NOSYS) => {
                    remove_made(&aside, is_dir);
                    create(path, is_dir).map(Some)
                }
                Err(errno) => Err(errno.into()),
            }
        });
        if let Ok(Some(handle)) = made {
            return Ok(Self { path: path.to_owned(), handle });
        }
        remove_made(&aside, is_dir);
        made?;
        Self::share(path)?.ok_or_else(|| io::ErrorKind::AlreadyExists.into())
    }

    /// The one that is there, if it is one.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn share(path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..MAX_TRIES {
            match fs::symlink_metadata(path) {
                Ok(metadata) if is_one(path, &metadata) => {}
                _ => return Ok(None),
            }
            let handle = match File::open(path) {
                Ok(handle) => handle,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            match flock(&handle, FlockOperation::NonBlockingLockShared) {
                Ok(()) if is_at(&handle, path) => return Ok(Some(Self { path: path.to_owned(), handle })),
                // It was removed meanwhile, or is being.
                Ok(()) | Err(Errno::WOULDBLOCK | Errno::INTR) => thread::sleep(PAUSE),
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Removes one that a dead host has left.
    pub(super) fn clear(path: &Path) {
        if let Ok(metadata) = fs::symlink_metadata(path)
            && is_one(path, &metadata)
            && let Ok(handle) = File::open(path)
        {
            remove(path, &handle);
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        remove(&self.path, &self.handle);
    }
}

/// Removes it if it is what it was, and nobody else holds it.
fn remove(path: &Path, handle: &File) {
    if flock(handle, FlockOperation::NonBlockingLockExclusive).is_err() || !is_at(handle, path) {
        return;
    }
    let Ok(metadata) = handle.metadata() else { return };
    if is_one(path, &metadata) {
        // What can't be removed was filled at this moment.
        let _ = if metadata.is_dir() { fs::remove_dir(path) } else { fs::remove_file(path) };
    }
}

/// Removes what was made aside. What was not made need not be removed.
fn remove_made(aside: &Path, is_dir: bool) {
    let _ = if is_dir { fs::remove_dir(aside) } else { fs::remove_file(aside) };
}

/// A new one under a name of its own, marked and locked.
fn create(path: &Path, is_dir: bool) -> io::Result<File> {
    let handle = if is_dir {
        DirBuilder::new().mode(0o755).create(path)?;
        File::open(path)?
    } else {
        OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?
    };
    let changed = Timespec { tv_sec: CHANGED.0, tv_nsec: CHANGED.1 };
    futimens(&handle, &Timestamps { last_access: changed, last_modification: changed })?;
    flock(&handle, FlockOperation::NonBlockingLockShared)?;
    Ok(handle)
}

fn is_one(path: &Path, metadata: &Metadata) -> bool {
    let is_empty = if metadata.is_dir() {
        fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
    } else {
        metadata.is_file() && metadata.len() == 0
    };
    is_empty && (metadata.mtime(), metadata.mtime_nsec()) == CHANGED
}

/// Whether this is what the path means.
fn is_at(handle: &File, path: &Path) -> bool {
    let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let (ours, there) = (handle.metadata().map(identity), fs::symlink_metadata(path).map(identity));
    matches!((ours, there), (Ok(ours), Ok(there)) if ours == there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_who_needs_it_removes_it() {
        let dir = tempfile::tempdir().unwrap();
        for is_dir in [false, true] {
            let path = dir.path().join("x");
            let first = StandIn::make(&path, is_dir).unwrap();
            let second = StandIn::share(&path).unwrap().unwrap();
            drop(first);
            assert!(path.exists());
            drop(second);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_a_dead_host_has_left_is_taken_over_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        // A lock goes with its holder.
        let leave = || drop(create(&path, false).unwrap());
        leave();
        drop(StandIn::share(&path).unwrap().unwrap());
        assert!(!path.exists());
        leave();
        StandIn::clear(&path);
        assert!(!path.exists());
    }

    #[test]
    fn what_is_somebody_elses_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "").unwrap();
        assert!(StandIn::share(&path).unwrap().is_none());
        StandIn::clear(&path);
        assert!(path.exists());
        assert_eq!(StandIn::make(&path, false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
        // One that was filled is kept.
        let stand_in = StandIn::make(&path, false).unwrap();
        fs::write(&path, "mine").unwrap();
        drop(stand_in);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn many_at_once_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let held = match StandIn::share(&path).unwrap() {
                            Some(shared) => Ok(shared),
                            None => StandIn::make(&path, false),
                        };
                        // Between a look and the making another may have come and gone.
                        if let Ok(held) = held {
                            assert!(is_at(&held.handle, &path));
                        }
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}

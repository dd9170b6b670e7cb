//! From a path to a handle, without ever leaving the root.
//!
//! The kernel resolves (`openat2` with `RESOLVE_BENEATH`), so there is no moment between a check and its use. Only
//! what the kernel refuses, such as an absolute link, is walked by hand; the result of that walk is text, and is
//! opened by the kernel under the same rule. Where the kernel has no such call, the text is opened name by name.

use std::path::Path;

use agentx_resource::{ErrorKind, ResourcePath};
use rustix::{
    fd::OwnedFd,
    fs::{
        AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, ResolveFlags, flock, fstat, fstatfs, mkdirat,
        openat, openat2, readlinkat, unlinkat,
    },
    io::Errno,
};

use super::{Done, Fault, Resolution, stage::is_staging_name, walk};

/// The flags of every handle to a directory that is read, or whose entries change.
pub(super) const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How often a lookup is tried again that a concurrent rename disturbs.
const ATTEMPTS: usize = 64;
/// How many symbolic links one path may go through; Linux has the same bound.
const MAX_LINKS: usize = 40;

const CONFINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
const STRAIGHT: ResolveFlags = CONFINED.union(ResolveFlags::NO_SYMLINKS);
/// Answers from memory alone, and never from another (perhaps slow) file system that is mounted below.
const CACHED: ResolveFlags = CONFINED.union(ResolveFlags::CACHED).union(ResolveFlags::NO_XDEV);

/// The file systems that answer a cached lookup and `fstat` without asking anybody.
const MEMORY_SPEED: [u32; 6] = [
    0xEF53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683E, // btrfs
    0x0102_1994, // tmpfs
    0x794C_7630, // overlayfs
    0xF2F5_2010, // f2fs
];

/// An opened root directory, and what the host can do there.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
    /// The root's own host path, canonical and as it was given: an absolute link below one of them stays inside.
    hosts: [Vec<u8>; 2],
    pub(super) resolution: Resolution,
    cached: bool,
    /// Whether nameless files can be made visible (`/proc` is there).
    pub(super) nameless: bool,
    /// Whether directories can be locked.
    pub(super) locking: bool,
}

/// An entry by its directory and name. It need not exist.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: OwnedFd,
    pub(super) name: Vec<u8>,
}

/// The directories on the way to a path that were created for it.
#[derive(Debug)]
pub(super) struct MadeDirs<'p> {
    path: &'p [u8],
    /// The lengths of their own paths.
    lengths: Vec<usize>,
}

impl MadeDirs<'_> {
    /// Removes those that are still empty.
    pub(super) fn undo(&self, root: &Root) {
        for (parent, name) in self.lengths.iter().rev().filter_map(|length| split(self.path.get(..*length)?))
        {
            // The error that led here is what the caller needs, and an empty directory does no harm.
            let removed =
                root.open(parent, DIRECTORY).is_ok_and(|dir| unlinkat(dir, name, AtFlags::REMOVEDIR).is_ok());
            if !removed {
                return;
            }
        }
    }
}

impl Root {
    /// Opens a directory of the host; `None` chooses the resolution that the host has.
    pub(super) fn open_host(given: &Path, canonical: &Path, resolution: Option<Resolution>) -> Done<Self> {
        let bytes = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, canonical, flags, Mode::empty())?;
        let resolution = match resolution {
            Some(Resolution::Walk) => Resolution::Walk,
            wanted => match openat2(&fd, ".", flags, Mode::empty(), CONFINED) {
                Ok(_) => Resolution::Kernel,
                // An older kernel, or a filter that does not know the call.
                Err(Errno::NOSYS | Errno::PERM) if wanted.is_none() => Resolution::Walk,
                Err(Errno::NOSYS | Errno::PERM) => {
                    return Err(Fault::new(ErrorKind::Unsupported, "the host has no openat2"));
                }
                Err(errno) => return Err(errno.into()),
            },
        };
        let cached = resolution == Resolution::Kernel
            && fstatfs(&fd).is_ok_and(|stat| {
                MEMORY_SPEED.iter().any(|magic| i128::from(*magic) == i128::from(stat.f_type))
            })
            && !matches!(openat2(&fd, ".", flags, Mode::empty(), CACHED), Err(Errno::INVAL));
        // Probed once; a lock that somebody holds just now shows as well that locks work.
        let locking = openat(&fd, ".", DIRECTORY, Mode::empty()).is_ok_and(|dir| {
            matches!(flock(dir, FlockOperation::NonBlockingLockShared), Ok(()) | Err(Errno::WOULDBLOCK))
        });
        let nameless = openat(CWD, "/proc/self/fd", flags, Mode::empty()).is_ok();
        Ok(Self { fd, hosts: [bytes(canonical), bytes(given)], resolution, cached, nameless, locking })
    }

    /// Opens what is at `path`, links followed while they stay inside.
    pub(super) fn open(&self, path: &[u8], flags: OFlags) -> Done<OwnedFd> {
        let opened = match self.resolution {
            Resolution::Kernel => self.try_open(path, flags, CONFINED),
            Resolution::Walk => walk::open_straight(&self.fd, path, flags),
        };
        match opened {
            Err(Errno::XDEV | Errno::LOOP) => self.open_by_walk(path, flags),
            opened => Ok(opened?),
        }
    }

    /// Opens without any wait; `None` where that can't be done, or not told.
    pub(super) fn open_cached(&self, path: &[u8], flags: OFlags) -> Option<Done<OwnedFd>> {
        if !self.cached {
            return None;
        }
        match openat2(&self.fd, dot(path), flags | OFlags::CLOEXEC, Mode::empty(), CACHED) {
            Ok(fd) => Some(Ok(fd)),
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => Some(Err(errno.into())),
            Err(_) => None,
        }
    }

    /// The directory that holds `path`, and the name there.
    pub(super) fn place(&self, path: &ResourcePath) -> Done<Place> {
        let (parent, name) = split(path.relative().as_bytes())
            .ok_or_else(|| Fault::new(ErrorKind::InvalidInput, "the root"))?;
        Ok(Place { dir: self.open(parent, DIRECTORY)?, name: name.to_vec() })
    }

    /// As [`Root::place`], for a name that is about to be given.
    pub(super) fn new_place(&self, path: &ResourcePath) -> Done<Place> {
        check_name(path)?;
        self.place(path)
    }

    /// The deepest directory on the way to the directory `path` that exists, and the length of its path.
    pub(super) fn nearest(&self, path: &[u8]) -> Done<(OwnedFd, usize)> {
        let mut existing = path;
        loop {
            match self.open(existing, DIRECTORY) {
                Ok(dir) => return Ok((dir, existing.len())),
                Err(fault) if fault.kind() == ErrorKind::NotFound => {
                    existing = split(existing).ok_or(fault)?.0;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Opens the directory `path`; it and its parents are created where they are missing. What was created is gone
    /// again after an error, unless somebody else put something there.
    pub(super) fn make_dirs<'p>(&self, path: &'p [u8]) -> Done<(OwnedFd, MadeDirs<'p>)> {
        let (mut dir, mut known) = self.nearest(path)?;
        let mut made = MadeDirs { path, lengths: Vec::new() };
        while let Some(missing) = path.get(known..).filter(|rest| !rest.is_empty()) {
            let name = missing.strip_prefix(b"/").unwrap_or(missing);
            let slash = missing.len() - name.len();
            let name = name.split(|byte| *byte == b'/').next().unwrap_or(name);
            known += slash + name.len();
            let opened = match mkdirat(&dir, name, Mode::from_raw_mode(0o777)) {
                Ok(()) => {
                    made.lengths.push(known);
                    self.open(path.get(..known).unwrap_or(path), DIRECTORY)
                }
                Err(Errno::EXIST) => self.open(path.get(..known).unwrap_or(path), DIRECTORY),
                Err(errno) => Err(errno.into()),
            };
            dir = opened.inspect_err(|_| made.undo(self))?;
        }
        Ok((dir, made))
    }

    /// `path` with every link replaced by what it leads to, the last one too. What does not exist is kept as it is.
    pub(super) fn canonical(&self, path: &[u8]) -> Done<Vec<u8>> {
        let mut real = Vec::new();
        // The next component is the last element.
        let mut rest: Vec<Vec<u8>> = components(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == b".." {
                if real.is_empty() {
                    return Err(Fault::escapes("a symbolic link leads above the root"));
                }
                let parent = split(&real).map_or(0, |(parent, _)| parent.len());
                real.truncate(parent);
                continue;
            }
            let before = real.len();
            push(&mut real, &name);
            let fd = match self.open_straight(&real, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(fd) => fd,
                // What was no link a moment ago is one now.
                Err(Errno::LOOP | Errno::XDEV) => return Err(unsteady()),
                Err(Errno::NOENT) if rest.iter().all(|name| name != b"..") => {
                    rest.iter().rev().for_each(|name| push(&mut real, name));
                    return Ok(real);
                }
                Err(errno) => return Err(errno.into()),
            };
            match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = readlinkat(&fd, "", Vec::new())?.into_bytes();
                    real.truncate(before);
                    if target.starts_with(b"/") {
                        real.clear();
                        rest.extend(components(self.rebase(&target)?));
                    } else {
                        rest.extend(components(&target));
                    }
                }
                FileType::Directory => {}
                _ if rest.is_empty() => {}
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        Ok(real)
    }

    fn rebase<'a>(&self, target: &'a [u8]) -> Done<&'a [u8]> {
        self.hosts
            .iter()
            .find_map(|host| {
                let host = host.strip_suffix(b"/").unwrap_or(host);
                target.strip_prefix(host).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
            })
            .ok_or_else(|| Fault::escapes("a symbolic link leads out of the root"))
    }

    /// What is opened for `path`: the last name's own link stays where the flags say so.
    fn canonical_for(&self, path: &[u8], flags: OFlags) -> Done<Vec<u8>> {
        match split(path) {
            Some((parent, name)) if flags.contains(OFlags::NOFOLLOW) => {
                let mut real = self.canonical(parent)?;
                push(&mut real, name);
                Ok(real)
            }
            _ => self.canonical(path),
        }
    }

    fn open_by_walk(&self, path: &[u8], flags: OFlags) -> Done<OwnedFd> {
        for _ in 0..ATTEMPTS {
            let real = match self.canonical_for(path, flags) {
                Err(fault) if fault.kind() == ErrorKind::Busy => continue,
                real => real?,
            };
            match self.open_straight(&real, flags) {
                // A link appeared behind the walk.
                Err(Errno::XDEV | Errno::LOOP) => {}
                opened => return Ok(opened?),
            }
        }
        Err(unsteady())
    }

    /// Opens `path` if no link is on the way.
    fn open_straight(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        match self.resolution {
            Resolution::Kernel => self.try_open(path, flags, STRAIGHT),
            Resolution::Walk => walk::open_straight(&self.fd, path, flags),
        }
    }

    fn try_open(&self, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
        let mut attempts = 0;
        loop {
            match openat2(&self.fd, dot(path), flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // A rename somewhere on the host disturbed the walk through a `..`.
                Err(Errno::AGAIN | Errno::INTR) if attempts < ATTEMPTS => attempts += 1,
                opened => return opened,
            }
        }
    }
}

fn unsteady() -> Fault {
    Fault::new(ErrorKind::Busy, "the links on the way keep changing")
}

/// A name that this provider keeps for its own files can't be given to another.
pub(super) fn check_name(path: &ResourcePath) -> Done<()> {
    if path.components().any(|name| is_staging_name(name.as_bytes())) {
        return Err(Fault::new(ErrorKind::InvalidPath, "names of this form are kept for unfinished writes"));
    }
    Ok(())
}

/// Parent and name of a relative path; none for the root.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    let mut parts = path.rsplitn(2, |byte| *byte == b'/');
    let name = parts.next()?;
    Some((parts.next().unwrap_or_default(), name))
}

fn dot(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"." } else { path }
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .rev()
        .map(<[u8]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_splits_at_its_last_name() {
        assert_eq!(split(b""), None);
        assert_eq!(split(b"a"), Some((&b""[..], &b"a"[..])));
        assert_eq!(split(b"a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
    }

    #[test]
    fn what_was_created_for_nothing_is_gone_again() {
        let dir = tempfile::tempdir().unwrap();
        let names = || std::fs::read_dir(dir.path()).unwrap().count();
        let root = Root::open_host(dir.path(), dir.path(), None).unwrap();
        // The last name is longer than the host takes.
        let path = [b"a/b/", &[b'x'; 300][..]].concat();
        assert_eq!(root.make_dirs(&path).unwrap_err().kind(), ErrorKind::InvalidPath);
        assert_eq!(names(), 0);
        root.make_dirs(b"a/b/c").unwrap().1.undo(&root);
        assert_eq!(names(), 0);
        root.make_dirs(b"a").unwrap();
        let (_, made) = root.make_dirs(b"a/b/c").unwrap();
        std::fs::write(dir.path().join("a/b/of another"), "").unwrap();
        made.undo(&root);
        assert!(!dir.path().join("a/b/c").exists());
        assert!(dir.path().join("a/b/of another").exists());
        std::fs::remove_file(dir.path().join("a/b/of another")).unwrap();
        // What was there before stays, empty as it is.
        made.undo(&root);
        assert!(dir.path().join("a").exists());
    }
}

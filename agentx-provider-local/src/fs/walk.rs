//! The way without `openat2`: one name at a time, each opened relative to the one before and never through a link.

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{AtFlags, FileType, Mode, OFlags, fstat, openat, statat},
    io::{Errno, retry_on_intr},
};

use super::resolve::split;

/// The length from which on the system takes no path; it would not see this one as a whole.
const PATH_MAX: usize = 4096;
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// Opens what is at `path` below `root`. `LOOP` says that there is a link on the way, or at its end unless `flags` has
/// `NOFOLLOW`.
///
/// No name is `..`, and each is looked up in a directory that was reached so, whatever is renamed meanwhile: that is
/// what keeps this inside.
pub(super) fn open_straight(root: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if path.len() >= PATH_MAX {
        return Err(Errno::NAMETOOLONG);
    }
    let (parents, name) = split(path).unwrap_or((b"", b"."));
    let mut here = None;
    for parent in parents.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        here = Some(open_entry(here.as_ref().unwrap_or(root), parent, STEP)?);
    }
    open_entry(here.as_ref().unwrap_or(root), name, flags)
}

fn open_entry(dir: &OwnedFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let opened =
        retry_on_intr(|| openat(dir, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()));
    let link = match &opened {
        // So the system says it of a link where a directory is wanted.
        Err(Errno::NOTDIR) => is_link(statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)),
        // A mere handle is one of the link itself.
        Ok(fd) if flags.contains(OFlags::PATH) && !flags.contains(OFlags::NOFOLLOW) => {
            is_link(fstat(fd.as_fd()))
        }
        _ => false,
    };
    if link { Err(Errno::LOOP) } else { opened }
}

fn is_link(stat: Result<rustix::fs::Stat, Errno>) -> bool {
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

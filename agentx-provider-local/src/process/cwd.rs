use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use agentx_resource::{Error, ErrorKind, ResourcePath, Result, Retry};
use rustix::{
    fs::{AtFlags, Mode, OFlags, ResolveFlags, openat, openat2, statat},
    io::Errno,
};

use super::{Root, error, failure};

/// How often a path is looked up again that changes while it is looked up.
const MAX_TRIES: usize = 16;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens the directory that `path` means beneath the root. Symlinks are followed as long as they stay inside.
pub(super) fn resolve(root: &Root, path: &ResourcePath) -> Result<OwnedFd> {
    let directory = match open_beneath(root, path) {
        Ok(directory) => directory,
        // An absolute symlink, which may still lead inside.
        Err(Errno::XDEV) => open_rebased(root, path, |_| escapes())?,
        // An old kernel, or a sandbox that does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_rebased(root, path, |source| failure("spawn", source))?,
        Err(errno) => return Err(failure("spawn", errno.into())),
    };
    // A directory that can be opened but not entered would be told as a program that can't be executed.
    statat(&directory, ".", AtFlags::empty()).map_err(|errno| failure("spawn", errno.into()))?;
    Ok(directory)
}

/// Opens a directory, to be a point of reference only.
pub(super) fn open_directory(base: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    openat(base, path, DIRECTORY, Mode::empty())
}

/// The kernel's own confinement, safe against whoever moves directories meanwhile.
fn open_beneath(root: &Root, path: &ResourcePath) -> Result<OwnedFd, Errno> {
    let relative = if path.is_root() { "." } else { path.relative() };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut outcome = Err(Errno::AGAIN);
    for _ in 0..MAX_TRIES {
        outcome = openat2(&root.handle, relative, DIRECTORY, Mode::empty(), resolve);
        if !matches!(outcome, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    outcome
}

/// Resolves by text, which proves nothing, and then opens what came out name by name from the root, without following
/// anything.
fn open_rebased(
    root: &Root,
    path: &ResourcePath,
    unresolved: impl FnOnce(io::Error) -> Error,
) -> Result<OwnedFd> {
    let resolved = Path::new(&root.path).join(path.relative()).canonicalize().map_err(unresolved)?;
    let inside = resolved.strip_prefix(&root.path).map_err(|_| escapes())?;
    let mut directory =
        open_directory(&root.handle, Path::new(".")).map_err(|errno| failure("spawn", errno.into()))?;
    for name in inside {
        directory = openat(&directory, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(
            |errno| match errno {
                Errno::LOOP => error(ErrorKind::Unavailable, "spawn")
                    .with_retry(Retry::After(None))
                    .with_message("the working directory changed while it was opened"),
                errno => failure("spawn", errno.into()),
            },
        )?;
    }
    Ok(directory)
}

fn escapes() -> Error {
    error(ErrorKind::Escapes, "spawn").with_message("a symbolic link leads out of the root")
}

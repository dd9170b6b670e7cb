use agentx_resource::{ErrorKind, RemoveOptions, ResourcePath};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FileType, fsync, statat, unlinkat},
    io::Errno,
};

use super::{
    Done, Durability, Fault,
    lock::DirLock,
    resolve::{DIRECTORY, Place, Root},
    tree::{Cursor, Found, Trail},
};
use crate::blocking::Cancel;

/// How often a directory is emptied again that somebody else fills meanwhile.
const PASSES: usize = 64;

pub(super) fn remove(
    root: &Root,
    path: &ResourcePath,
    options: &RemoveOptions,
    durability: Durability,
    cancel: &Cancel,
) -> Done<()> {
    let done = root.place(path).map_err(Fault::of_lookup).and_then(|place| {
        remove_entry(root, &place, options, cancel)?;
        if durability == Durability::Full {
            fsync(&place.dir)?;
        }
        Ok(())
    });
    match done {
        Err(fault) if fault.kind() == ErrorKind::NotFound && options.force => Ok(()),
        done => done,
    }
}

fn remove_entry(root: &Root, place: &Place, options: &RemoveOptions, cancel: &Cancel) -> Done<()> {
    let stat = statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        let _lock = DirLock::shared(root, &place.dir)?;
        return Ok(unlinkat(&place.dir, &place.name, AtFlags::empty())?);
    }
    match unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) if options.recursive => {
            remove_tree(&place.dir, &place.name, cancel)
        }
        Err(Errno::NOTEMPTY | Errno::EXIST) => {
            if sweep(&place.dir, &place.name, cancel)? {
                Ok(unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR)?)
            } else {
                Err(Errno::NOTEMPTY.into())
            }
        }
        removed => Ok(removed?),
    }
}

/// Removes a directory with all that is in it, whatever the names. No link is followed.
pub(super) fn remove_tree(parent: &OwnedFd, name: &[u8], cancel: &Cancel) -> Done<()> {
    let mut trail = Trail::new(parent.try_clone()?);
    trail.enter(name)?;
    let mut levels = vec![Level::new(name.to_vec())];
    while let Some(level) = levels.last_mut() {
        cancel.check()?;
        if let Some(dir) = level.pending.pop() {
            match remove_one(trail.here(), &dir) {
                Ok(()) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => match trail.enter(&dir) {
                    Ok(()) => levels.push(Level::new(dir)),
                    Err(fault) if fault.is_gone() => level.pending.push(dir),
                    Err(fault) => return Err(fault),
                },
                Err(errno) => return Err(errno.into()),
            }
            continue;
        }
        let names = trail.names(&mut level.cursor)?;
        if !names.is_empty() {
            level.pending.extend(remove_files(&trail, names)?);
            level.touched = true;
        } else if level.touched {
            // Entries may be passed over while others are removed, so a directory is read until it is empty.
            level.touched = false;
            level.cursor = Cursor::default();
        } else {
            trail.leave()?;
            match remove_one(trail.here(), &level.name) {
                Ok(()) => {
                    levels.pop();
                }
                Err(Errno::NOTEMPTY | Errno::EXIST) if level.passes < PASSES => {
                    level.passes += 1;
                    level.cursor = Cursor::default();
                    trail.enter(&level.name)?;
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
    Ok(())
}

/// Empties a directory that holds nothing but unfinished writes, which no listing shows; false if it holds more.
pub(super) fn sweep(parent: &OwnedFd, name: &[u8], cancel: &Cancel) -> Done<bool> {
    let mut trail = Trail::new(parent.try_clone()?);
    trail.enter(name)?;
    let names = trail.names(&mut Cursor::default())?;
    if !names.iter().all(|found| found.hidden) {
        return Ok(false);
    }
    for found in names {
        match remove_one(trail.here(), &found.name) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => remove_tree(trail.here(), &found.name, cancel)?,
            removed => removed?,
        }
    }
    Ok(true)
}

/// Removes the unfinished writes that are directly in a directory, and counts them.
pub(super) fn clear_unfinished(root: &Root, path: &ResourcePath, cancel: &Cancel) -> Done<usize> {
    let trail = Trail::new(root.open(path.relative().as_bytes(), DIRECTORY).map_err(Fault::of_lookup)?);
    let (mut cursor, mut unfinished) = (Cursor::default(), Vec::new());
    loop {
        cancel.check()?;
        let names = trail.names(&mut cursor)?;
        if names.is_empty() {
            break;
        }
        unfinished.extend(names.into_iter().filter(|found| found.hidden));
    }
    for found in &unfinished {
        match remove_one(trail.here(), &found.name) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => remove_tree(trail.here(), &found.name, cancel)?,
            removed => removed?,
        }
    }
    Ok(unfinished.len())
}

struct Level {
    name: Vec<u8>,
    cursor: Cursor,
    /// Whether anything was removed since the cursor stood at the beginning.
    touched: bool,
    passes: usize,
    /// The directories that were found and are still there.
    pending: Vec<Vec<u8>>,
}

impl Level {
    fn new(name: Vec<u8>) -> Self {
        Self { name, cursor: Cursor::default(), touched: false, passes: 0, pending: Vec::new() }
    }
}

/// Removes what is no directory, and gives back the names of the rest.
fn remove_files(trail: &Trail, names: Vec<Found>) -> Done<Vec<Vec<u8>>> {
    let mut dirs = Vec::new();
    for found in names {
        if found.of == FileType::Directory {
            dirs.push(found.name);
            continue;
        }
        match unlinkat(trail.here(), &found.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR) => dirs.push(found.name),
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(dirs)
}

/// Removes an entry that is an empty directory, or no directory (any more); content with nothing being there.
fn remove_one(dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    let removed = match unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTDIR) => unlinkat(dir, name, AtFlags::empty()),
        removed => removed,
    };
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

//! Walks through a tree by directory handles, so that nothing which is renamed or replaced meanwhile leads astray.

use std::mem::MaybeUninit;

use agentx_resource::ErrorKind;
use rustix::{
    fd::OwnedFd,
    fs::{FileType, Mode, OFlags, RawDir, SeekFrom, fstat, openat, seek},
};

use super::{Done, Fault, metadata::identity, resolve::DIRECTORY, stage::is_staging_name};

/// How many handles a walk keeps open. A tree may be deeper: the way up is found by `..` then, and checked.
const HANDLES: usize = 32;
/// The buffer for names. One fill holds at most 1365 of them.
const NAMES: usize = 32 << 10;

/// A directory in a tree, and the way back to the top.
#[derive(Debug)]
pub(super) struct Trail {
    here: OwnedFd,
    above: Vec<Above>,
}

#[derive(Debug)]
struct Above {
    handle: Option<OwnedFd>,
    identity: (u64, u64),
}

/// A name as it was found in a directory.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: Vec<u8>,
    /// What the directory says it is; may be unknown.
    pub(super) of: FileType,
    /// Whether it is a staging name, which no caller sees.
    pub(super) hidden: bool,
}

/// Where reading a directory goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursor(u64);

impl Trail {
    pub(super) fn new(here: OwnedFd) -> Self {
        Self { here, above: Vec::new() }
    }

    /// The present directory.
    pub(super) fn here(&self) -> &OwnedFd {
        &self.here
    }

    /// Goes down into a directory, never through a link.
    pub(super) fn enter(&mut self, name: &[u8]) -> Done<()> {
        let identity = identity(&fstat(&self.here)?);
        let below = openat(&self.here, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        let handle = std::mem::replace(&mut self.here, below);
        self.above.push(Above { handle: Some(handle), identity });
        if let Some(far) = self.above.len().checked_sub(HANDLES).and_then(|index| self.above.get_mut(index)) {
            far.handle = None;
        }
        Ok(())
    }

    /// Goes back up; false at the top.
    pub(super) fn leave(&mut self) -> Done<bool> {
        let Some(above) = self.above.pop() else {
            return Ok(false);
        };
        self.here = match above.handle {
            Some(handle) => handle,
            None => {
                let parent = openat(&self.here, "..", DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
                if identity(&fstat(&parent)?) != above.identity {
                    return Err(Fault::new(
                        ErrorKind::Busy,
                        "a directory was moved while the tree was walked",
                    ));
                }
                parent
            }
        };
        Ok(true)
    }

    /// The next names of the present directory; none at its end.
    pub(super) fn names(&self, cursor: &mut Cursor) -> Done<Vec<Found>> {
        seek(&self.here, SeekFrom::Start(cursor.0))?;
        let mut buffer = vec![MaybeUninit::uninit(); NAMES];
        let mut dir = RawDir::new(&self.here, &mut buffer);
        let mut found = Vec::new();
        while let Some(entry) = dir.next() {
            let entry = entry?;
            cursor.0 = entry.next_entry_cookie();
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                found.push(Found {
                    name: name.to_vec(),
                    of: entry.file_type(),
                    hidden: is_staging_name(name),
                });
            }
            // A fill that held no more than the two dots is not the end.
            if dir.is_buffer_empty() && !found.is_empty() {
                break;
            }
        }
        Ok(found)
    }
}

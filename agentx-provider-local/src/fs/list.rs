use std::sync::Arc;

use agentx_resource::{DirEntry, EntryStream, ErrorKind, FileKind, Metadata, ResourcePath, StatOptions};
use futures::{StreamExt, TryStreamExt, stream};
use rustix::{
    fs::{AtFlags, statat},
    io::Errno,
};

use super::{
    Done,
    metadata::{describe, kind, stat},
    resolve::{DIRECTORY, Root},
    tree::{Cursor, Found, Trail},
};
use crate::blocking::{Cancel, blocking};

/// How many entries one hop gathers before it answers; it may be a directory read more.
const BATCH: usize = 512;

/// The entries below `path`, a batch each hop.
pub(super) fn list(root: Arc<Root>, path: ResourcePath, recursive: bool) -> EntryStream {
    let batches = stream::try_unfold(Step::Open, move |step| {
        let (root, path) = (Arc::clone(&root), path.clone());
        async move {
            if matches!(step, Step::End) {
                return Ok(None);
            }
            let top = path.clone();
            let next = blocking(move |cancel| step.next(&root, top, recursive, cancel)).await;
            next.map(Some).map_err(|fault| fault.told("list", &path))
        }
    });
    batches.map_ok(|batch| stream::iter(batch.into_iter().map(Ok))).try_flatten().boxed()
}

enum Step {
    Open,
    Walk(Walk),
    End,
}

impl Step {
    /// The next batch, and what comes after it.
    fn next(
        self,
        root: &Root,
        path: ResourcePath,
        recursive: bool,
        cancel: &Cancel,
    ) -> Done<(Vec<DirEntry>, Self)> {
        let mut batch = Vec::new();
        let mut walk = match self {
            Self::Open => {
                let dir = root.open(path.relative().as_bytes(), DIRECTORY).or_else(|fault| {
                    // The system has one word for a file at the path and for one on the way.
                    match fault.kind() {
                        ErrorKind::NotADirectory => {
                            stat(root, &path, &StatOptions::default()).and(Err(fault))
                        }
                        _ => Err(fault),
                    }
                })?;
                Walk { trail: Trail::new(dir), levels: vec![Level::new(Some(path))], recursive }
            }
            Self::Walk(walk) => walk,
            Self::End => return Ok((batch, Self::End)),
        };
        while batch.len() < BATCH {
            cancel.check()?;
            if !walk.step(&mut batch)? {
                return Ok((batch, Self::End));
            }
        }
        Ok((batch, Self::Walk(walk)))
    }
}

/// A listing under way: depth first, so that what it remembers is bounded by the depth.
struct Walk {
    trail: Trail,
    levels: Vec<Level>,
    recursive: bool,
}

struct Level {
    /// None where a name on the way can't be a path.
    path: Option<ResourcePath>,
    cursor: Cursor,
    /// The directories of the last batch that are not entered yet.
    pending: Vec<Vec<u8>>,
}

impl Level {
    fn new(path: Option<ResourcePath>) -> Self {
        Self { path, cursor: Cursor::default(), pending: Vec::new() }
    }

    fn child(&self, name: &[u8]) -> Option<ResourcePath> {
        self.path.as_ref()?.join(std::str::from_utf8(name).ok()?).ok()
    }
}

impl Walk {
    /// Enters a directory, reads a batch, or leaves a directory; false at the end.
    fn step(&mut self, batch: &mut Vec<DirEntry>) -> Done<bool> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(false);
        };
        if let Some(name) = level.pending.pop() {
            let path = level.child(&name);
            match self.trail.enter(&name) {
                Ok(()) => self.levels.push(Level::new(path)),
                // Removed, or replaced by something else, since it was listed.
                Err(fault) if fault.is_gone() => {}
                Err(fault) => return Err(fault),
            }
            return Ok(true);
        }
        let names = self.trail.names(&mut level.cursor)?;
        if names.is_empty() {
            self.levels.pop();
            return self.trail.leave();
        }
        for found in names.into_iter().filter(|found| !found.hidden) {
            let Some(metadata) = look(&self.trail, &found)? else {
                continue;
            };
            let enter = self.recursive && metadata.is_dir();
            batch.push(match level.child(&found.name) {
                Some(path) => DirEntry::new(path, metadata),
                None => DirEntry::unaddressable(String::from_utf8_lossy(&found.name), metadata),
            });
            if enter {
                level.pending.push(found.name);
            }
        }
        Ok(true)
    }
}

/// What is known of an entry; `None` when it is gone.
fn look(trail: &Trail, found: &Found) -> Done<Option<Metadata>> {
    match statat(trail.here(), &found.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(describe(&stat))),
        Err(Errno::NOENT) => Ok(None),
        // A directory may be read but not searched: its names and kinds are all that it tells.
        Err(Errno::ACCESS) => Ok(Some(match kind(found.of) {
            FileKind::File => Metadata::file(0),
            kind => Metadata::of(kind),
        })),
        Err(errno) => Err(errno.into()),
    }
}

//! The one way in which the tools go through a tree.

use agentx_core::{ErrorKind, Result};
use agentx_resource::{DirEntry, ListOptions};
use futures::TryStreamExt;

use crate::runtime::Place;

/// How many entries are looked at before a walk is given up.
const MAX_VISITED: usize = 200_000;

/// The tree below a directory, each directory's entries by name, `.git` left out. Symlinks are told and not entered.
///
/// It lists directory by directory, so that what is left out is never read.
pub(super) struct Walk {
    start: Place,
    /// The directory to enter next.
    next: Option<Place>,
    /// What is left of the directories that are open.
    open: Vec<std::vec::IntoIter<DirEntry>>,
    visited: usize,
    unreadable: usize,
    given_up: bool,
}

impl Walk {
    pub(super) fn new(start: Place) -> Self {
        let next = Some(start.clone());
        Self { start, next, open: Vec::new(), visited: 0, unreadable: 0, given_up: false }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// Those of the first directory, and any that says more than that one directory can't be read.
    pub(super) async fn next(&mut self) -> Result<Option<DirEntry>> {
        loop {
            if let Some(directory) = self.next.take() {
                self.enter(&directory).await?;
            }
            let Some(entries) = self.open.last_mut() else { return Ok(None) };
            let Some(entry) = entries.next() else {
                self.open.pop();
                continue;
            };
            if entry.name == ".git" {
                continue;
            }
            if entry.metadata.is_dir() {
                self.next = entry.path.clone().map(|path| self.start.at(path));
            }
            return Ok(Some(entry));
        }
    }

    async fn enter(&mut self, directory: &Place) -> Result<()> {
        let first = self.open.is_empty();
        match self.list(directory).await {
            Ok(mut entries) => {
                entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
                self.open.push(entries.into_iter());
            }
            Err(error) if first => return Err(directory.explain(error)),
            Err(error) => match error.kind() {
                // It was removed or replaced while the walk went on.
                ErrorKind::NotFound | ErrorKind::NotADirectory => {}
                ErrorKind::PermissionDenied | ErrorKind::Escapes => self.unreadable += 1,
                _ => return Err(directory.explain(error)),
            },
        }
        Ok(())
    }

    async fn list(&mut self, directory: &Place) -> Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        if self.given_up {
            return Ok(entries);
        }
        let mut listing = directory.fs.list(&directory.path, ListOptions::default());
        while let Some(entry) = listing.try_next().await? {
            if self.visited == MAX_VISITED {
                self.given_up = true;
                break;
            }
            self.visited += 1;
            entries.push(entry);
        }
        Ok(entries)
    }

    /// What a reader of the result must know of the walk: what was not seen.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.given_up {
            remarks.push(format!(
                "The search stopped after {MAX_VISITED} entries; name a smaller directory as the path."
            ));
        }
        if self.unreadable > 0 {
            remarks.push(format!("{} files or directories could not be read.", self.unreadable));
        }
        remarks
    }

    /// Counts a file that was found and could not be read.
    pub(super) fn count_unreadable(&mut self) {
        self.unreadable += 1;
    }
}

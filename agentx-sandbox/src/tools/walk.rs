//! The one way in which the tools go through a tree.

use agentx_core::{ErrorKind, Result};
use agentx_resource::{DirEntry, ListOptions};
use futures::TryStreamExt;

use super::gitignore::{Ignores, Marks};
use crate::runtime::Place;

/// How many entries are looked at before a walk is given up.
const MAX_VISITED: usize = 200_000;

/// The tree below a directory, each directory's entries by name, without `.git` and what git [ignores](Ignores).
/// Symlinks are told and not entered.
///
/// It lists directory by directory, so that what is left out is never read.
pub(super) struct Walk {
    start: Place,
    /// The directory to enter next.
    next: Option<Place>,
    /// What is left of the directories that are open.
    open: Vec<std::vec::IntoIter<DirEntry>>,
    ignores: Ignores,
    /// How many entries may still be looked at.
    left: usize,
    unreadable: usize,
    given_up: bool,
}

impl Walk {
    pub(super) fn new(start: Place) -> Self {
        let next = Some(start.clone());
        Self {
            start,
            next,
            open: Vec::new(),
            ignores: Ignores::default(),
            left: MAX_VISITED,
            unreadable: 0,
            given_up: false,
        }
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
                self.ignores.leave();
                continue;
            };
            let is_dir = entry.metadata.is_dir();
            let left_out = entry.path.as_ref().is_some_and(|path| self.ignores.leaves_out(path, is_dir));
            if left_out || entry.name == ".git" {
                continue;
            }
            if is_dir {
                self.next = entry.path.clone().map(|path| self.start.at(path));
            }
            return Ok(Some(entry));
        }
    }

    async fn enter(&mut self, directory: &Place) -> Result<()> {
        let first = self.open.is_empty();
        match self.list(directory).await {
            Ok(mut entries) => {
                let has = |name: &str| entries.iter().any(|entry| entry.name == name);
                let marks = Marks { git: has(".git"), gitignore: has(".gitignore") };
                if first && !marks.git {
                    self.ignores.enter_above(directory).await?;
                }
                self.ignores.enter(directory, marks).await?;
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
            if self.left == 0 {
                self.given_up = true;
                break;
            }
            self.left -= 1;
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
        let not_honoured = self.ignores.not_honoured();
        if not_honoured > 0 {
            remarks.push(format!("{not_honoured} .gitignore files were too large, and had no effect."));
        }
        if self.unreadable > 0 {
            remarks.push(format!("{} files or directories could not be read.", self.unreadable));
        }
        remarks
    }

    /// What a reader must know who was told nothing.
    pub(super) fn left_out(&self) -> Option<String> {
        let count = self.ignores.left_out();
        (count > 0).then(|| {
            format!("{count} files or directories that git ignores were left out; name one as the path to look there.")
        })
    }

    /// Counts a file that was found and could not be read.
    pub(super) fn count_unreadable(&mut self) {
        self.unreadable += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentx_resource::{
        FileSystem, ResourcePath, WriteOptions,
        memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess},
    };
    use futures::executor::block_on;

    use super::*;
    use crate::NodeRuntime;

    async fn walk(files: &[&str]) -> Walk {
        let fs = Arc::new(MemoryFileSystem::new());
        for file in files {
            let options = WriteOptions::default().with_create_parents();
            fs.write(&ResourcePath::new(file).unwrap(), "".into(), options).await.unwrap();
        }
        let process = MemoryProcess::new(Arc::new(ManualClock::default()));
        let runtime = NodeRuntime::new(fs, Arc::new(MemoryEnv::default()), Arc::new(process));
        Walk::new(runtime.readable("/").unwrap())
    }

    async fn names(walk: &mut Walk) -> String {
        let mut names = Vec::new();
        while let Some(entry) = walk.next().await.unwrap() {
            names.push(entry.path.unwrap().to_string());
        }
        names.join(" ")
    }

    #[test]
    fn a_tree_is_told_in_order_and_git_is_left_out() {
        block_on(async {
            let mut walk = walk(&["/b/2", "/b/1", "/a", "/c", "/.git/config", "/b/.git", "/b/.github"]).await;
            assert_eq!(names(&mut walk).await, "/a /b /b/.github /b/1 /b/2 /c");
            assert!(walk.remarks().is_empty());
        });
    }

    #[test]
    fn a_walk_that_sees_too_much_says_so() {
        block_on(async {
            let mut walk = walk(&["/a/1", "/a/2", "/a/3", "/b/1"]).await;
            walk.left = 4;
            assert_eq!(names(&mut walk).await, "/a /a/1 /a/2 /b");
            assert!(walk.remarks()[0].contains("stopped after"));
        });
    }
}

use std::collections::BTreeMap;

use futures::{StreamExt, stream};

use super::{WriteBack, fail, view::Seen};
use crate::{DirEntry, EntryStream, ErrorKind, ListOptions, Metadata, ResourcePath, Result};

impl WriteBack {
    /// What is known, or the store's entries with what is held in their place or behind them.
    pub(super) fn entries(&self, path: &ResourcePath, options: &ListOptions) -> EntryStream {
        let tree = options.recursive;
        let view = self.view();
        match view.look(path) {
            Some(Seen::Entry(metadata)) if !metadata.is_dir() => {
                return stream::iter([Err(fail(ErrorKind::NotADirectory, "list", path))]).boxed();
            }
            Some(Seen::Entry(_)) => {
                if let Some(entries) = view.entries(path, tree) {
                    let entries: Vec<_> =
                        entries.into_iter().map(|(path, it)| Ok(DirEntry::new(path, it))).collect();
                    return stream::iter(entries).boxed();
                }
            }
            _ => {}
        }
        let merge = Merge {
            layer: self.clone(),
            path: path.clone(),
            tree,
            inner: self.inner.list(path, options.clone()),
            held: view.held_below(path, tree).into_iter().collect(),
            changes: view.changes(),
            complete: true,
        };
        drop(view);
        stream::unfold(Some(merge), |merge| async { merge?.next().await }).boxed()
    }
}

/// A list under way.
struct Merge {
    layer: WriteBack,
    path: ResourcePath,
    tree: bool,
    inner: EntryStream,
    /// What is held, and has not been given yet.
    held: BTreeMap<ResourcePath, Metadata>,
    changes: u64,
    /// Whether all that was given is known.
    complete: bool,
}

impl Merge {
    async fn next(mut self) -> Option<(Result<DirEntry>, Option<Self>)> {
        match self.inner.next().await {
            Some(Ok(mut entry)) => {
                match &entry.path {
                    Some(path) => match self.held.remove(path) {
                        Some(metadata) => entry.metadata = metadata,
                        None => {
                            let found = Some(entry.metadata.clone());
                            self.complete &= self.layer.view().learn(path, found, None, self.changes);
                        }
                    },
                    None => self.complete = false,
                }
                Some((Ok(entry), Some(self)))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => {
                if self.complete {
                    self.layer.view().listed(&self.path, self.tree, self.changes);
                    self.complete = false;
                }
                let (path, metadata) = self.held.pop_first()?;
                self.inner = stream::empty().boxed();
                Some((Ok(DirEntry::new(path, metadata)), Some(self)))
            }
        }
    }
}

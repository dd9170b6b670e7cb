use futures::TryStreamExt;

use super::{
    Overlay,
    tree::{Tree, fail, found, is_reserved, retold},
};
use crate::{
    ErrorKind, FileKind, FileSystem, FileSystemExt, ListOptions, MkdirOptions, ReadOptions, ResourcePath,
    Result, StatOptions, WriteMode,
};

/// One difference between what an overlay shows and its base.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverlayChange {
    /// Where.
    pub path: ResourcePath,
    /// What is different.
    pub kind: OverlayChangeKind,
}

/// How something differs from the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OverlayChangeKind {
    /// The base has nothing there.
    Added,
    /// A file was written, also with the content that it had, or opened for appending; or a file took the place of a
    /// directory, or the other way round. What is below a directory that became a file is gone with it.
    Changed,
    /// It is gone, with all that was below it.
    Removed,
}

impl Overlay {
    /// What is different from the base, ordered by path. All of it is held in memory.
    ///
    /// # Errors
    /// What the base and the upper report.
    pub async fn diff(&self) -> Result<Vec<OverlayChange>> {
        let _all = self.tree.locks.lock(vec![ResourcePath::root()]).await;
        diff(&self.tree).await.map_err(|error| retold(error, "diff", &ResourcePath::root()))
    }

    /// Makes the base what the overlay shows, and empties the upper. Other changes wait until it is done.
    ///
    /// It takes many steps. One that fails or is dropped may have changed a part of the base; the overlay shows the same
    /// as before, and another `commit` does the rest, also after the overlay was opened anew.
    ///
    /// # Errors
    /// What the base and the upper report.
    pub async fn commit(&self) -> Result<()> {
        let _all = self.tree.locks.lock(vec![ResourcePath::root()]).await;
        commit(&self.tree).await.map_err(|error| retold(error, "commit", &ResourcePath::root()))
    }
}

async fn diff(tree: &Tree) -> Result<Vec<OverlayChange>> {
    let mut changes = Vec::new();
    for path in tree.removed.all() {
        add_removed(tree, &path, &mut changes).await?;
    }
    let mut entries = tree.upper.list(&ResourcePath::root(), ListOptions::recursive());
    while let Some(entry) = entries.try_next().await? {
        let Some(path) = entry.path.filter(|path| !is_reserved(path)) else { continue };
        let kind = match found(tree.base.stat(&path, StatOptions::no_follow()).await)? {
            None => OverlayChangeKind::Added,
            Some(base) if base.is_dir() && entry.metadata.is_dir() => continue,
            Some(_) => OverlayChangeKind::Changed,
        };
        changes.push(OverlayChange { path, kind });
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

/// Adds what is gone at the hidden place `path`, or below it.
async fn add_removed(tree: &Tree, path: &ResourcePath, changes: &mut Vec<OverlayChange>) -> Result<()> {
    let gone = |path| OverlayChange { path, kind: OverlayChangeKind::Removed };
    let Some(base) = found(tree.base.stat(path, StatOptions::no_follow()).await)? else { return Ok(()) };
    match found(tree.upper.metadata(path).await)? {
        None => changes.push(gone(path.clone())),
        Some(upper) if upper.is_dir() && base.is_dir() => {
            let mut entries = tree.base.list(path, ListOptions::recursive());
            let mut below = Vec::new();
            while let Some(entry) = entries.try_next().await? {
                if let Some(path) = entry.path
                    && found(tree.upper.metadata(&path).await)?.is_none()
                {
                    below.push(path);
                }
            }
            // Of what is gone whole, the topmost alone; and nothing below what became a file.
            for path in &below {
                let parent = path.parent().unwrap_or_else(ResourcePath::root);
                if found(tree.upper.metadata(&parent).await)?.is_some_and(|parent| parent.is_dir()) {
                    changes.push(gone(path.clone()));
                }
            }
        }
        Some(_) => {}
    }
    Ok(())
}

async fn commit(tree: &Tree) -> Result<()> {
    let changes = diff(tree).await?;
    for change in &changes {
        if change.kind == OverlayChangeKind::Removed {
            tree.base.rm_all(&change.path).await?;
        }
    }
    // Directories come before what is in them.
    for OverlayChange { path, kind } in &changes {
        if *kind != OverlayChangeKind::Removed {
            put(tree, path).await?;
        }
    }
    // The base is now what shows, so it doesn't matter which of them a place is read from. The base shows again before
    // the upper goes.
    tree.removed.clear().await?;
    for entry in tree.upper.readdir(&ResourcePath::root()).await? {
        if let Some(path) = entry.path.filter(|path| !is_reserved(path)) {
            tree.upper.rm_all(&path).await?;
        }
    }
    Ok(())
}

/// Puts into the base what the upper has at `path`.
async fn put(tree: &Tree, path: &ResourcePath) -> Result<()> {
    let kind = tree.upper.metadata(path).await?.kind;
    let base = found(tree.base.stat(path, StatOptions::no_follow()).await)?;
    // A write over a symlink would go where it leads.
    if base.is_some_and(|base| base.kind != kind) {
        tree.base.rm_all(path).await?;
    }
    if kind == FileKind::Directory {
        return tree.base.mkdir(path, MkdirOptions::recursive()).await;
    }
    let mut read = tree.upper.read(path, ReadOptions::default()).await?;
    let mut writer = tree.base.writer(path, WriteMode::Overwrite.into()).await?;
    let mut copied = 0_u64;
    while let Some(piece) = read.body.try_next().await? {
        copied = copied.saturating_add(piece.len() as u64);
        writer.write(piece).await?;
    }
    if copied != read.metadata.len {
        return Err(fail(ErrorKind::Truncated, "read", path).with_message("the file ended early"));
    }
    writer.close().await?;
    Ok(())
}

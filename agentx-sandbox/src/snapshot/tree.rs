use std::collections::{BTreeMap, VecDeque};

use agentx_core::{Error, ErrorKind, Result};
use agentx_resource::{DirEntry, FileKind, FileSystem, ListOptions, Metadata, ResourcePath, StatOptions};
use futures::TryStreamExt;
use globset::GlobSet;
use serde::{Deserialize, Serialize};

use super::SnapshotLimits;

/// What a tree holds, its root left out. Parents come before what is in them.
pub(crate) type Tree = BTreeMap<ResourcePath, Node>;

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Node {
    Directory,
    File {
        len: u64,
        version: Option<String>,
        /// Where its content is kept, where it is.
        blob: Option<Blob>,
    },
    /// It is told where it leads, and never made anew.
    Symlink(Option<String>),
}

/// A kept content: which run of copies it was made by, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Blob(pub(super) u64, pub(super) u64);

/// One difference between two states of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Where.
    pub path: ResourcePath,
    /// What is different.
    pub kind: ChangeKind,
}

/// How an entry differs from what was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChangeKind {
    /// Nothing was there.
    Added,
    /// Its content or its kind is another.
    Changed,
    /// It is gone. What was in a directory that is gone is told too.
    Removed,
}

impl Node {
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        Some(match metadata.kind {
            FileKind::Directory => Self::Directory,
            FileKind::File => Self::File {
                len: metadata.len,
                version: metadata.version.as_ref().map(|version| version.as_str().to_owned()),
                blob: None,
            },
            FileKind::Symlink => Self::Symlink(metadata.link_target.clone()),
            // A socket or a device holds nothing that could be kept.
            _ => return None,
        })
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::File { len, .. } => *len,
            _ => 0,
        }
    }

    pub(crate) fn version(&self) -> Option<&str> {
        match self {
            Self::File { version, .. } => version.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn blob(&self) -> Option<Blob> {
        match self {
            Self::File { blob, .. } => *blob,
            _ => None,
        }
    }

    /// Whether the two are known to be the same, without a look at the contents.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { version: Some(own), .. }, Self::File { version: Some(other), .. }) => own == other,
            (Self::File { .. }, _) => false,
            _ => self == other,
        }
    }
}

/// What may be different: all that is not known to be the same.
pub(crate) fn candidates(before: &Tree, after: &Tree) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    let mut add = |path: &ResourcePath, kind| changes.push(Change { path: path.clone(), kind });
    for (path, node) in before {
        match after.get(path) {
            None => add(path, ChangeKind::Removed),
            Some(now) if !node.is(now) => add(path, ChangeKind::Changed),
            Some(_) => {}
        }
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        add(path, ChangeKind::Added);
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

/// Looks at a whole tree, directory by directory, without what is excluded.
pub(crate) async fn scan(fs: &dyn FileSystem, excluded: &GlobSet, limits: &SnapshotLimits) -> Result<Tree> {
    let (mut tree, mut bytes) = (Tree::new(), 0_u64);
    let mut open = VecDeque::from([ResourcePath::root()]);
    while let Some(directory) = open.pop_front() {
        let mut entries = fs.list(&directory, ListOptions::default());
        loop {
            let entry = match entries.try_next().await {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // It went while the tree was looked at.
                Err(error) if gone(&error) && !directory.is_root() => break,
                Err(error) => return Err(error),
            };
            let DirEntry { path: Some(path), metadata, .. } = entry else { continue };
            if excluded.is_match(path.relative()) {
                continue;
            }
            let Some(node) = node(fs, &path, &metadata).await? else { continue };
            if metadata.is_dir() {
                open.push_back(path.clone());
            }
            bytes = bytes.saturating_add(metadata.len);
            tree.insert(path, node);
            if tree.len() > limits.entries || bytes > limits.bytes {
                return Err(Error::new(ErrorKind::LimitExceeded, "snapshot").with_message(format!(
                    "the tree has more than {} entries or {} bytes; exclude what need not be kept",
                    limits.entries, limits.bytes
                )));
            }
        }
    }
    Ok(tree)
}

async fn node(fs: &dyn FileSystem, path: &ResourcePath, listed: &Metadata) -> Result<Option<Node>> {
    if listed.kind != FileKind::Symlink {
        return Ok(Node::of(listed));
    }
    look(fs, path).await
}

/// What is at a place now, a symlink itself.
pub(crate) async fn look(fs: &dyn FileSystem, path: &ResourcePath) -> Result<Option<Node>> {
    match fs.stat(path, StatOptions::no_follow()).await {
        Ok(metadata) => Ok(Node::of(&metadata)),
        Err(error) if gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

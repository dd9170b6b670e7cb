use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use futures::TryStreamExt;

use super::{
    super::path_locks::PathLocks,
    removed::{RESERVED, Removed},
};
use crate::{
    ConditionStrength, Error, ErrorKind, FileKind, FileSystem, FileSystemExt, FsCapabilities, ListOptions,
    Metadata, MkdirOptions, RemoveOptions, ResourcePath, Result, StatOptions, Version, WriteMode,
    WriteOptions,
};

/// The two file systems, and what shows of them.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) base: Arc<dyn FileSystem>,
    pub(super) upper: Arc<dyn FileSystem>,
    pub(super) removed: Removed,
    pub(super) locks: PathLocks,
    next_stage: AtomicU64,
}

/// What is at a path.
pub(super) enum Place {
    /// The upper has it.
    Upper(Metadata),
    /// The base alone has it.
    Base(Metadata),
    /// Nothing is there, in a directory that is.
    Vacant,
    /// The directory is missing too.
    NoParent,
    /// On the way is something that is no directory.
    BelowFile,
}

impl Tree {
    pub(super) async fn open(base: Arc<dyn FileSystem>, upper: Arc<dyn FileSystem>) -> Result<Self> {
        let removed = Removed::load(Arc::clone(&upper)).await?;
        let tree =
            Self { base, upper, removed, locks: PathLocks::default(), next_stage: AtomicU64::default() };
        // What an earlier overlay was preparing when it ended.
        tree.upper.rm(&staging()?, RemoveOptions::recursive().with_force()).await?;
        Ok(tree)
    }

    pub(super) fn capabilities(&self) -> FsCapabilities {
        let (base, upper) = (self.base.capabilities(), self.upper.capabilities());
        FsCapabilities {
            append: upper.append,
            if_match: base.if_match.and(upper.if_match).map(|_| ConditionStrength::Cooperative),
            atomic_rename: false,
            atomic_dir_rename: false,
            mode_bits: false,
            symlinks: base.symlinks || upper.symlinks,
        }
    }

    /// What shows at `path`, if anything does.
    pub(super) async fn find(&self, path: &ResourcePath) -> Result<Option<Place>> {
        self.look(path, &StatOptions::default()).await
    }

    /// As [`Tree::find`], with a say on symlinks.
    pub(super) async fn look(&self, path: &ResourcePath, options: &StatOptions) -> Result<Option<Place>> {
        if is_reserved(path) {
            return Ok(None);
        }
        if let Some(metadata) = found(self.upper.stat(path, options.clone()).await)? {
            // The root is the base's as well.
            return Ok(Some(Place::Upper(tagged(metadata, 'u'))));
        }
        if self.removed.covers(path) {
            return Ok(None);
        }
        let base = found(self.base.stat(path, options.clone()).await)?;
        Ok(base.map(|metadata| Place::Base(tagged(metadata, 'b'))))
    }

    /// What the base has at `path`, unless it is hidden.
    pub(super) async fn in_base(&self, path: &ResourcePath) -> Result<Option<Metadata>> {
        if self.removed.covers(path) || is_reserved(path) {
            return Ok(None);
        }
        found(self.base.metadata(path).await)
    }

    /// The base's own entry at `path`, a symlink not followed, unless it is hidden.
    pub(super) async fn entry_in_base(&self, path: &ResourcePath) -> Result<Option<Metadata>> {
        if self.removed.covers(path) || is_reserved(path) {
            return Ok(None);
        }
        found(self.base.stat(path, StatOptions::no_follow()).await)
    }

    /// The first symlink of the base on the way to `path`, itself included. Where it leads is known to the base alone,
    /// so nothing can be changed there.
    pub(super) async fn base_link(&self, path: &ResourcePath) -> Result<Option<ResourcePath>> {
        if !self.base.capabilities().symlinks {
            return Ok(None);
        }
        let way: Vec<_> = std::iter::successors(Some(path.clone()), ResourcePath::parent).collect();
        for place in way.into_iter().rev().skip(1) {
            match self.entry_in_base(&place).await? {
                Some(entry) if entry.kind == FileKind::Symlink => return Ok(Some(place)),
                Some(_) => {}
                // So is all that is below.
                None => break,
            }
        }
        Ok(None)
    }

    /// The first symlink of the base above `path`.
    pub(super) async fn base_link_above(&self, path: &ResourcePath) -> Result<Option<ResourcePath>> {
        match path.parent() {
            Some(parent) => self.base_link(&parent).await,
            None => Ok(None),
        }
    }

    pub(super) async fn place(&self, path: &ResourcePath) -> Result<Place> {
        if let Some(place) = self.find(path).await? {
            return Ok(place);
        }
        let mut vacant = true;
        let mut above = path.parent();
        while let Some(directory) = above {
            match self.find(&directory).await? {
                Some(Place::Upper(metadata) | Place::Base(metadata)) if !metadata.is_dir() => {
                    return Ok(Place::BelowFile);
                }
                Some(_) if vacant => return Ok(Place::Vacant),
                Some(_) => return Ok(Place::NoParent),
                None => vacant = false,
            }
            above = directory.parent();
        }
        Ok(Place::NoParent)
    }

    /// Whether a write would succeed now.
    pub(super) async fn check_write(&self, path: &ResourcePath, options: &WriteOptions) -> Result<Place> {
        let offered = self.capabilities();
        not_reserved(path, "write")?;
        let place = match &options.mode {
            WriteMode::Append if !offered.append => return Err(fail(ErrorKind::Unsupported, "write", path)),
            WriteMode::IfMatch(_) if offered.if_match.is_none() => {
                return Err(fail(ErrorKind::Unsupported, "write", path));
            }
            _ => self.place(path).await.map_err(|error| retold(error, "write", path))?,
        };
        let kind = match (&place, &options.mode) {
            (Place::BelowFile, _) => ErrorKind::NotADirectory,
            (Place::NoParent, _) if !options.create_parents => ErrorKind::NotFound,
            (Place::Upper(_) | Place::Base(_), WriteMode::CreateNew) => ErrorKind::AlreadyExists,
            (Place::Upper(metadata) | Place::Base(metadata), _) if metadata.is_dir() => {
                ErrorKind::IsADirectory
            }
            (Place::Upper(metadata) | Place::Base(metadata), _) if !metadata.is_file() => {
                ErrorKind::InvalidInput
            }
            (Place::Upper(metadata) | Place::Base(metadata), WriteMode::IfMatch(version))
                if metadata.version.as_ref() != Some(version) =>
            {
                ErrorKind::ConditionFailed
            }
            (Place::Vacant | Place::NoParent, WriteMode::IfMatch(_)) => ErrorKind::ConditionFailed,
            _ => match self.base_link(path).await.map_err(|error| retold(error, "write", path))? {
                None => return Ok(place),
                Some(link) if link == *path && options.mode == WriteMode::CreateNew => {
                    ErrorKind::AlreadyExists
                }
                Some(link) => return Err(through_link("write", path, &link)),
            },
        };
        Err(fail(kind, "write", path))
    }

    /// Makes the directories above `path` in the upper: those that the base shows, or that are to be created.
    pub(super) async fn make_parents(&self, path: &ResourcePath) -> Result<()> {
        match path.parent().filter(|parent| !parent.is_root()) {
            Some(parent) => self.upper.mkdir(&parent, MkdirOptions::recursive()).await,
            None => Ok(()),
        }
    }

    /// Whether the directory `path` shows no entries.
    pub(super) async fn is_empty(self: &Arc<Self>, path: &ResourcePath) -> Result<bool> {
        let first = super::fs::list(self, path, &ListOptions::default()).try_next().await?;
        Ok(first.is_none())
    }

    /// A fresh place in the upper to prepare something at, out of sight.
    pub(super) async fn stage(&self) -> Result<ResourcePath> {
        let staging = staging()?;
        self.upper.mkdir(&staging, MkdirOptions::recursive()).await?;
        staging.join(self.next_stage.fetch_add(1, Relaxed).to_string())
    }
}

fn staging() -> Result<ResourcePath> {
    ResourcePath::new(format!("{RESERVED}/staging"))
}

/// Versions of the two sides don't mean the same.
pub(super) fn tagged(mut metadata: Metadata, side: char) -> Metadata {
    metadata.version = metadata.version.map(|version| Version::new(format!("{side}{version}")));
    metadata
}

/// The version of that side; one that it never had, for a version of the other.
pub(super) fn untagged(version: &Version, side: char) -> Option<Version> {
    version.as_str().strip_prefix(side).map(Version::new)
}

pub(super) fn is_reserved(path: &ResourcePath) -> bool {
    path.components().next() == RESERVED.strip_prefix('/')
}

pub(super) fn not_reserved(path: &ResourcePath, operation: &'static str) -> Result<()> {
    if is_reserved(path) {
        let error = fail(ErrorKind::PermissionDenied, operation, path);
        return Err(error.with_message("the overlay keeps its notes here"));
    }
    Ok(())
}

pub(super) fn found(stat: Result<Metadata>) -> Result<Option<Metadata>> {
    match stat {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn fail(kind: ErrorKind, operation: &'static str, path: &ResourcePath) -> Error {
    Error::new(kind, operation).with_path(path)
}

pub(super) fn through_link(operation: &'static str, path: &ResourcePath, link: &ResourcePath) -> Error {
    fail(ErrorKind::Unsupported, operation, path)
        .with_message(format!("nothing is changed through {link}, a symbolic link of the base"))
}

/// The error of a step, as one of the operation.
pub(super) fn retold(error: Error, operation: &'static str, path: &ResourcePath) -> Error {
    fail(error.kind(), operation, path).with_retry(error.retry()).with_source(error)
}

use std::{collections::BTreeSet, sync::Arc};

use crate::{ConditionStrength, Error, FileSystem, FsCapabilities, ResourcePath, Result};

/// Which file system a path belongs to.
#[derive(Debug)]
pub(super) struct Table {
    /// The longest places first; the root is the last.
    regions: Vec<Region>,
    /// The mount points and the directories above them.
    fixed: BTreeSet<ResourcePath>,
}

/// A file system, and where it is shown.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) place: ResourcePath,
    pub(super) fs: Arc<dyn FileSystem>,
}

impl Table {
    pub(super) fn new(root: Arc<dyn FileSystem>, mounts: Vec<(ResourcePath, Arc<dyn FileSystem>)>) -> Self {
        let mut fixed = BTreeSet::new();
        for (place, _) in &mounts {
            fixed.extend(std::iter::successors(Some(place.clone()), ResourcePath::parent));
        }
        let mut regions: Vec<_> = mounts.into_iter().map(|(place, fs)| Region { place, fs }).collect();
        regions.push(Region { place: ResourcePath::root(), fs: root });
        regions.sort_by_key(|region| std::cmp::Reverse(region.place.components().count()));
        Self { regions, fixed }
    }

    /// The region that holds `path`, and what the path is called there.
    pub(super) fn find(&self, path: &ResourcePath) -> Result<(Region, ResourcePath)> {
        let found = self.regions.iter().find(|region| path.starts_with(&region.place));
        let region = found.ok_or_else(|| {
            Error::new(crate::ErrorKind::Internal, "route").with_path(path).with_message("no region holds it")
        })?;
        let inner = ResourcePath::root().join(path.strip_prefix(&region.place).unwrap_or_default())?;
        Ok((region.clone(), inner))
    }

    /// Whether `path` is a mount point, or a directory above one.
    pub(super) fn is_fixed(&self, path: &ResourcePath) -> bool {
        self.fixed.contains(path)
    }

    /// The fixed directories below `path`: all, or those in it.
    pub(super) fn fixed_below(&self, path: &ResourcePath, recursive: bool) -> Vec<ResourcePath> {
        let below = self.fixed.iter().filter(|fixed| *fixed != path && fixed.starts_with(path));
        below.filter(|fixed| recursive || fixed.parent().as_ref() == Some(path)).cloned().collect()
    }

    /// The mounts below `path`.
    pub(super) fn mounts_below(&self, path: &ResourcePath) -> Vec<Region> {
        let below =
            self.regions.iter().filter(|region| region.place != *path && region.place.starts_with(path));
        below.cloned().collect()
    }

    /// What all can do.
    pub(super) fn capabilities(&self) -> FsCapabilities {
        let all = self.regions.iter().map(|region| region.fs.capabilities());
        all.reduce(|a, b| FsCapabilities {
            append: a.append && b.append,
            if_match: a.if_match.zip(b.if_match).map(|(a, b)| weaker(a, b)),
            atomic_rename: a.atomic_rename && b.atomic_rename,
            atomic_dir_rename: a.atomic_dir_rename && b.atomic_dir_rename,
            mode_bits: a.mode_bits && b.mode_bits,
            // A warning rather than an offer: the tree may hold some.
            symlinks: a.symlinks || b.symlinks,
        })
        .unwrap_or_default()
    }
}

fn weaker(a: ConditionStrength, b: ConditionStrength) -> ConditionStrength {
    match (a, b) {
        (ConditionStrength::Atomic, ConditionStrength::Atomic) => ConditionStrength::Atomic,
        _ => ConditionStrength::Cooperative,
    }
}

impl Region {
    /// What the caller calls the place `inner`.
    pub(super) fn outer(&self, inner: &ResourcePath) -> Option<ResourcePath> {
        self.place.join(inner.relative()).ok()
    }

    /// Makes an error speak of the caller's paths.
    pub(super) fn error(&self, error: Error, asked: &ResourcePath) -> Error {
        let Some(path) = error.path() else { return error };
        let shown = ResourcePath::new(path).ok().and_then(|path| self.outer(&path));
        error.with_path(shown.unwrap_or_else(|| asked.clone()))
    }
}

use std::{fmt, num::NonZeroUsize, sync::Arc};

use super::{MirrorEvent, name};
use crate::{FileSystem, MountPoint, ResourcePath};

/// How a [`MirrorDisk`](super::MirrorDisk) mirrors.
#[derive(Clone)]
#[non_exhaustive]
pub struct MirrorOptions {
    /// The disk's name; `mirror` by default.
    pub name: String,
    /// Where the host's processes see the local tree.
    pub mount_point: MountPoint,
    /// What is mirrored: these paths and all that is below them. Everything, where there is none. Both trees are listed
    /// whole all the same: to mirror a part of a large store, wrap it with [`Chroot`](crate::layer::Chroot).
    pub include: Vec<ResourcePath>,
    /// What is not mirrored: these paths and all that is below them.
    pub exclude: Vec<ResourcePath>,
    /// What is not mirrored: everything of these names, wherever it is, and all that is below (`node_modules`).
    pub exclude_names: Vec<String>,
    /// Where the state is kept; in the local tree, at `/.agentx-mirror/state`, where there is none. A place inside one
    /// of the trees must be below a name that begins with `.agentx-mirror`, or else it is mirrored, too.
    pub state: Option<(Arc<dyn FileSystem>, ResourcePath)>,
    /// How many files are transferred at a time; 8 by default. Each takes up to 1 MiB, and what a stream of each tree
    /// buffers.
    pub parallel: NonZeroUsize,
    /// How many files and directories each tree may hold; 200 000 by default. A few hundred bytes of memory are taken
    /// for each.
    pub max_entries: usize,
    /// How many bytes a sync may read to copy and compare, each time that it compares the trees (three times at most);
    /// 64 GiB by default.
    pub max_bytes: u64,
    pub(super) progress: Option<Progress>,
}

pub(super) type Progress = Arc<dyn Fn(&MirrorEvent) + Send + Sync>;

impl MirrorOptions {
    /// Everything is mirrored into a local tree that the host's processes see at `mount_point`.
    pub fn new(mount_point: impl Into<String>) -> Self {
        Self {
            name: "mirror".to_owned(),
            mount_point: MountPoint::new(mount_point),
            include: Vec::new(),
            exclude: Vec::new(),
            exclude_names: Vec::new(),
            state: None,
            parallel: NonZeroUsize::MIN.saturating_add(7),
            max_entries: 200_000,
            max_bytes: 64 << 30,
            progress: None,
        }
    }

    /// With this name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Mirrors `path` with all that is below it, and no longer everything.
    pub fn with_include(mut self, path: ResourcePath) -> Self {
        self.include.push(path);
        self
    }

    /// Leaves out `path` with all that is below it.
    pub fn with_exclude(mut self, path: ResourcePath) -> Self {
        self.exclude.push(path);
        self
    }

    /// Leaves out everything that is named `name`, with all that is below it.
    pub fn with_exclude_name(mut self, name: impl Into<String>) -> Self {
        self.exclude_names.push(name.into());
        self
    }

    /// Keeps the state in `fs` at `path`.
    pub fn with_state(mut self, fs: Arc<dyn FileSystem>, path: ResourcePath) -> Self {
        self.state = Some((fs, path));
        self
    }

    /// Transfers this many files at a time.
    pub fn with_parallel(mut self, parallel: NonZeroUsize) -> Self {
        self.parallel = parallel;
        self
    }

    /// Lets each tree hold this many files and directories.
    pub fn with_max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    /// Lets one sync read this many bytes.
    pub fn with_max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Calls `progress` with each event of a sync, in the task of the sync: it must not block.
    pub fn with_progress(mut self, progress: impl Fn(&MirrorEvent) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }

    /// Whether `path` is mirrored, as far as the options say.
    pub fn mirrors(&self, path: &ResourcePath) -> bool {
        let included = self.include.is_empty()
            // The directories on the way to what is included are needed, too.
            || self.include.iter().any(|base| path.starts_with(base) || base.starts_with(path));
        included
            && !self.exclude.iter().any(|base| path.starts_with(base))
            && !path.components().any(|name| self.exclude_names.iter().any(|excluded| excluded == name))
            && !name::is_reserved(path)
    }

    pub(super) fn tell(&self, event: &MirrorEvent) {
        if let Some(progress) = &self.progress {
            progress(event);
        }
    }
}

impl fmt::Debug for MirrorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorOptions")
            .field("name", &self.name)
            .field("mount_point", &self.mount_point)
            .field("include", &self.include)
            .field("exclude", &self.exclude)
            .field("exclude_names", &self.exclude_names)
            .field("state", &self.state)
            .field("parallel", &self.parallel)
            .field("max_entries", &self.max_entries)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mirrored() {
        let path = |path| ResourcePath::new(path).unwrap();
        let options = MirrorOptions::new("/m")
            .with_include(path("/src/app"))
            .with_exclude(path("/src/app/out"))
            .with_exclude_name("node_modules");
        for mirrored in ["/src", "/src/app", "/src/app/a.rs", "/src/app/outer"] {
            assert!(options.mirrors(&path(mirrored)), "{mirrored}");
        }
        for other in [
            "/a",
            "/src/b",
            "/src/app/out/a",
            "/src/app/x/node_modules/y",
            "/src/app/.agentx-mirror-removed.a",
        ] {
            assert!(!options.mirrors(&path(other)), "{other}");
        }
    }
}

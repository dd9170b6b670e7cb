//! Two trees, people who edit both, and what must never be lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex},
    time::Duration,
};

use agentx_resource::{
    FileKind, FileSystem, FileSystemExt, MkdirOptions, ResourcePath, TransferOptions, WriteOptions,
    memory::{ManualClock, MemoryFileSystem},
    mirror::{MirrorDisk, MirrorOptions, Side, SyncReport},
};
use futures::{
    FutureExt, TryStreamExt,
    executor::block_on,
    future::{Either, select},
};

use crate::tap::{Script, Tap, What};

/// What is in a tree, without what a mirror keeps for itself: contents of files, and `None` for directories.
pub(crate) type Tree = BTreeMap<String, Option<String>>;

/// How a mirror is made of the two trees: with what between them and it.
pub(crate) type Make = dyn Fn(Side, Arc<dyn FileSystem>) -> Arc<dyn FileSystem>;

/// Nothing between.
pub(crate) fn plain(_: Side, fs: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
    fs
}

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// A file gets a content that nothing had before.
    Write(Side, &'static str),
    /// Both get one content.
    WriteBoth(&'static str),
    /// A file of more than a megabyte.
    WriteLarge(Side, &'static str),
    Remove(Side, &'static str),
    Mkdir(Side, &'static str),
    Rename(Side, &'static str, &'static str),
}

/// A clone is the same world.
#[derive(Clone)]
pub(crate) struct World {
    local: MemoryFileSystem,
    remote: MemoryFileSystem,
    clock: ManualClock,
    people: Arc<Mutex<People>>,
}

#[derive(Default)]
struct People {
    written: BTreeSet<String>,
    /// What was written, and was not overwritten or removed by somebody who had it before them.
    live: BTreeSet<String>,
}

pub(crate) fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

/// In memory nothing waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::default();
        let fs = || MemoryFileSystem::new().with_clock(Arc::new(clock.clone()));
        Self { local: fs(), remote: fs(), clock: clock.clone(), people: Arc::default() }
    }

    pub(crate) fn fs(&self, side: Side) -> &MemoryFileSystem {
        match side {
            Side::Local => &self.local,
            Side::Remote => &self.remote,
        }
    }

    pub(crate) fn options() -> MirrorOptions {
        MirrorOptions::new("/mirror").with_parallel(NonZeroUsize::MIN)
    }

    pub(crate) fn disk(&self, make: &Make, script: &Arc<Script>, options: MirrorOptions) -> MirrorDisk {
        let remote = make(Side::Remote, Tap::around("remote", Arc::new(self.remote.clone()), script));
        let local = make(Side::Local, Tap::around("local", Arc::new(self.local.clone()), script));
        MirrorDisk::new(remote, local, options)
    }

    /// A sync that nobody disturbs, and that has to succeed.
    pub(crate) fn sync(&self, make: &Make) -> Result<SyncReport, String> {
        let disk = self.disk(make, &Script::nothing(), Self::options());
        let report = block_on(disk.sync()).map_err(|error| format!("{error:?}"))?;
        report.complete().map_err(|error| format!("{error:?}"))
    }

    /// A sync that goes as the script has it. None if it was killed, or failed.
    pub(crate) fn sync_as(
        &self,
        make: &Make,
        number: usize,
        what: What,
    ) -> (Arc<Script>, Option<SyncReport>) {
        let (script, died) = Script::new(number, what);
        let disk = self.disk(make, &script, Self::options());
        let report = match block_on(select(Box::pin(disk.sync()), died)) {
            Either::Left((report, _)) => report.ok(),
            Either::Right(_) => None,
        };
        (script, report)
    }

    pub(crate) fn edit_all(&self, edits: &[Edit]) {
        for edit in edits {
            self.edit(edit);
        }
    }

    pub(crate) fn edit(&self, edit: &Edit) {
        self.clock.advance(Duration::from_secs(1));
        match *edit {
            Edit::Write(side, at) => {
                self.write(side, at, self.content(&format!("{side} {at}")));
            }
            Edit::WriteBoth(at) => {
                let content = self.content(&format!("both {at}"));
                self.write(Side::Local, at, content.clone());
                self.write(Side::Remote, at, content);
            }
            Edit::WriteLarge(side, at) => {
                self.write(side, at, self.content(&format!("{side} {at} {}", "x".repeat(1 << 20))));
            }
            Edit::Remove(side, at) => self.remove(side, at),
            Edit::Mkdir(side, at) => {
                self.clear_way(side, at);
                if self.kind(side, at) == Some(FileKind::File) {
                    self.remove(side, at);
                }
                now(self.fs(side).mkdir(&path(at), MkdirOptions::recursive())).unwrap();
            }
            Edit::Rename(side, from, to) => {
                if self.kind(side, from).is_some() && !path(to).starts_with(&path(from)) {
                    self.clear_way(side, to);
                    // The way may have been what was to be moved.
                    if self.kind(side, from).is_some() && !path(from).starts_with(&path(to)) {
                        self.remove(side, to);
                        let parent = path(to).parent().unwrap();
                        now(self.fs(side).mkdir(&parent, MkdirOptions::recursive())).unwrap();
                        now(self.fs(side).rename(&path(from), &path(to), TransferOptions::default()))
                            .unwrap();
                    }
                }
            }
        }
    }

    fn content(&self, about: &str) -> String {
        let mut people = self.people.lock().unwrap();
        let content = format!("{} {about}", people.written.len());
        people.written.insert(content.clone());
        content
    }

    fn write(&self, side: Side, at: &str, content: String) {
        self.clear_way(side, at);
        self.remove(side, at);
        self.people.lock().unwrap().live.insert(content.clone());
        let options = WriteOptions::default().with_create_parents();
        now(self.fs(side).write(&path(at), content.into(), options)).unwrap();
    }

    /// Removes files where `at` needs directories.
    fn clear_way(&self, side: Side, at: &str) {
        let mut parent = path(at).parent();
        while let Some(above) = parent {
            if self.kind(side, above.as_str()) == Some(FileKind::File) {
                self.remove(side, above.as_str());
            }
            parent = above.parent();
        }
    }

    fn remove(&self, side: Side, at: &str) {
        let gone = self.everything(side);
        let mut people = self.people.lock().unwrap();
        for (_, content) in
            gone.range(at.to_owned()..).filter(|(found, _)| path(found).starts_with(&path(at)))
        {
            content.as_ref().map(|content| people.live.remove(content));
        }
        now(self.fs(side).rm_all(&path(at))).unwrap();
    }

    fn kind(&self, side: Side, at: &str) -> Option<FileKind> {
        now(self.fs(side).metadata(&path(at))).ok().map(|metadata| metadata.kind)
    }

    fn everything(&self, side: Side) -> Tree {
        let fs = self.fs(side);
        let entries: Vec<_> = now(fs.walk(&ResourcePath::root()).try_collect()).unwrap();
        let content = |entry: &ResourcePath| now(fs.read_to_string(entry)).unwrap();
        (entries.into_iter())
            .map(|entry| {
                let path = entry.path.unwrap();
                (path.to_string(), entry.metadata.is_file().then(|| content(&path)))
            })
            .collect()
    }

    pub(crate) fn tree(&self, side: Side) -> Tree {
        let mut tree = self.everything(side);
        tree.retain(|path, _| !path.starts_with("/.agentx-mirror"));
        tree
    }

    /// Whether the trees are alike, nothing is left of the work, and nothing that somebody wrote is lost.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (local, remote) = (self.tree(Side::Local), self.tree(Side::Remote));
        if local != remote {
            return Err(format!("the trees differ: local {local:#?}, remote {remote:#?}"));
        }
        if let Some(rest) = local.keys().find(|path| path.contains("/.agentx-mirror")) {
            return Err(format!("left behind: {rest}"));
        }
        let people = self.people.lock().unwrap();
        let found: BTreeSet<&String> = local.values().flatten().collect();
        if let Some(lost) = people.live.iter().find(|content| !found.contains(content)) {
            return Err(format!("lost: {lost:.60}"));
        }
        match found.iter().find(|content| !people.written.contains(**content)) {
            Some(content) => Err(format!("made up: {content:.60}")),
            None => Ok(()),
        }
    }
}

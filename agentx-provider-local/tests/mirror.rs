//! Two directories of the host as the trees of a mirror, and programs that know nothing of it.
#![cfg(test)]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    future::{Future, poll_fn},
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use agentx_conformance::Fresh;
use agentx_provider_local::LocalFileSystem;
use agentx_resource::{
    Disk, Mounted,
    mirror::{BaseState, ConflictKind, MirrorDisk, MirrorOptions},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;
use tokio::runtime::Runtime;

agentx_conformance::disk_suite!(directories, || async {
    let trees = Trees::new();
    Fresh::disk(trees.disk()).with_guard(trees)
});

struct Trees {
    local: TempDir,
    remote: TempDir,
}

impl Trees {
    fn new() -> Self {
        Self { local: tempfile::tempdir().unwrap(), remote: tempfile::tempdir().unwrap() }
    }

    fn disk(&self) -> MirrorDisk {
        let open = |tree: &TempDir| Arc::new(LocalFileSystem::open(tree.path()).unwrap());
        let options = MirrorOptions::new(self.local.path().to_str().unwrap());
        MirrorDisk::new(open(&self.remote), open(&self.local), options)
    }

    fn local(&self, path: &str) -> PathBuf {
        self.local.path().join(path)
    }

    fn remote(&self, path: &str) -> PathBuf {
        self.remote.path().join(path)
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// All files, by their length and first letter, and all directories, without what the mirror keeps at the root.
fn tree(root: &Path) -> BTreeMap<PathBuf, Option<(usize, String)>> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path == root.join(".agentx-mirror") {
                continue;
            }
            let content = path.is_file().then(|| fs::read_to_string(&path).unwrap());
            let content = content.map(|content| (content.len(), content.chars().take(1).collect()));
            if content.is_none() {
                open.push(path.clone());
            }
            found.insert(path.strip_prefix(root).unwrap().to_owned(), content);
        }
    }
    found
}

/// Two directories that were alike, and what programs did to both since.
async fn edited() -> Trees {
    let trees = Trees::new();
    for name in ["same", "here", "there", "both", "gone-here", "gone-there", "old/deep/a", "becomes/a"] {
        write(&trees.remote(name), "0");
    }
    trees.disk().sync().await.unwrap().complete().unwrap();
    write(&trees.local("here"), "1");
    write(&trees.remote("there"), "2");
    write(&trees.local("both"), "3");
    write(&trees.remote("both"), "4");
    fs::remove_file(trees.local("gone-here")).unwrap();
    fs::remove_file(trees.remote("gone-there")).unwrap();
    fs::remove_dir_all(trees.remote("old")).unwrap();
    fs::remove_dir_all(trees.local("becomes")).unwrap();
    write(&trees.local("becomes"), "5");
    write(&trees.local("large"), &"6".repeat(3 << 20));
    fs::create_dir_all(trees.remote("empty/deep")).unwrap();
    trees
}

fn expected() -> BTreeMap<PathBuf, Option<(usize, String)>> {
    let files = [("same", "0"), ("here", "1"), ("there", "2"), ("both.conflict-1", "3"), ("both", "4")];
    (files.into_iter())
        .chain([("becomes", "5")])
        .map(|(name, content)| (name.into(), Some((1, content.to_owned()))))
        .chain([("empty".into(), None), ("empty/deep".into(), None)])
        .chain([("large".into(), Some((3 << 20, "6".to_owned())))])
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_directories_are_made_alike() {
    let trees = edited().await;
    let report = trees.disk().sync().await.unwrap().complete().unwrap();
    assert_eq!(report.base, BaseState::Known);
    assert_eq!(report.conflicts.iter().next().unwrap().kind, ConflictKind::BothChanged);
    assert_eq!(tree(trees.local.path()), expected());
    assert_eq!(tree(trees.remote.path()), expected());
    let again = trees.disk().sync().await.unwrap().complete().unwrap();
    assert_eq!((again.pulled.files, again.pushed.files), (0, 0));
}

#[test]
fn a_sync_that_is_dropped_at_any_wait_loses_and_doubles_nothing() {
    // How many waits there are depends on the host. Those at the end are met at least now and then.
    for waits in 0.. {
        let runtime = || Runtime::new().unwrap();
        let trees = runtime().block_on(edited());
        let disk = trees.disk();
        let ended = runtime().block_on(async {
            let mut sync = pin!(disk.sync());
            let mut left = waits;
            poll_fn(|cx| match sync.as_mut().poll(cx) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if left == 0 => Poll::Ready(false),
                Poll::Pending => {
                    left -= 1;
                    Poll::Pending
                }
            })
            .await
        });
        // The runtime is gone, and what was under way on the host has ended.
        runtime().block_on(trees.disk().sync()).unwrap().complete().unwrap();
        assert_eq!(tree(trees.local.path()), expected(), "dropped at {waits}");
        assert_eq!(tree(trees.remote.path()), expected(), "dropped at {waits}");
        if ended {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn links_fifos_and_names_that_are_no_text_stay_where_they_are() {
    let trees = Trees::new();
    write(&trees.local("a"), "1");
    write(&trees.local("d/inside"), "2");
    symlink("/etc", trees.local("d/outside")).unwrap();
    mknodat(CWD, trees.local("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::write(trees.local.path().join(OsStr::from_bytes(b"\xff")), "3").unwrap();
    write(&trees.remote("d/outside/passwd"), "4");
    write(&trees.remote("fifo"), "5");
    let mounted = Mounted::attach(Arc::new(trees.disk()) as Arc<dyn Disk>).await.unwrap();
    assert_eq!(Path::new(mounted.point().as_str()), trees.local.path());
    mounted.unmount().await.unwrap();
    let skipped = trees.disk().sync().await.unwrap().complete().unwrap().skipped;
    assert_eq!((skipped.symlinks, skipped.special, skipped.unaddressable, skipped.blocked), (1, 1, 1, 3));
    let remote = tree(trees.remote.path());
    assert_eq!(
        remote.keys().map(|path| path.to_str().unwrap()).collect::<Vec<_>>(),
        ["a", "d", "d/inside", "d/outside", "d/outside/passwd", "fifo",]
    );
    assert!(fs::symlink_metadata(trees.local("d/outside")).unwrap().is_symlink());
    // A directory that holds such a thing stays when it is removed from the other tree, and is not made anew there.
    fs::remove_dir_all(trees.remote("d")).unwrap();
    let report = trees.disk().sync().await.unwrap().complete().unwrap();
    assert_eq!(report.skipped.held_directories, 1);
    assert!(!trees.local("d/inside").exists() && !trees.remote("d").exists());
    assert!(fs::symlink_metadata(trees.local("d/outside")).unwrap().is_symlink());
}

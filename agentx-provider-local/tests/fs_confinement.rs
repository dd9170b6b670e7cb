//! Attacks on the root of a local directory: whatever is in it, nothing outside is read, written or removed.
#![cfg(test)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use agentx_provider_local::{LocalFileSystem, Resolution};
use agentx_resource::{
    ErrorKind, FileSystem, FileSystemExt, MkdirOptions, RemoveOptions, ResourcePath, TransferOptions,
    WriteMode, WriteOptions,
};
use bytes::Bytes;
use futures::TryStreamExt;
use tempfile::TempDir;

const SECRET: &str = "not for the agent";

/// A root `in` beside a directory `out`, which holds `secret`.
struct World {
    dir: TempDir,
    fs: LocalFileSystem,
}

impl World {
    /// One for each way of resolution.
    fn each() -> [Self; 2] {
        [Resolution::Kernel, Resolution::Walk].map(Self::new)
    }

    fn new(resolution: Resolution) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        fs::write(dir.path().join("out/secret"), SECRET).unwrap();
        let fs = LocalFileSystem::open_with(dir.path().join("in"), resolution).unwrap();
        assert_eq!(fs.resolution(), resolution);
        Self { dir, fs }
    }

    fn host(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path)
    }

    fn link(&self, target: impl AsRef<Path>, name: &str) {
        symlink(target, self.host("in").join(name)).unwrap();
    }

    fn assert_untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.host("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read_to_string(self.host("out/secret")).unwrap(), SECRET);
    }
}

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

/// Every verb on `at`, and what it says.
async fn every_verb(fs: &LocalFileSystem, at: &ResourcePath) -> Vec<(&'static str, Option<ErrorKind>)> {
    fn kind<T>(result: agentx_resource::Result<T>) -> Option<ErrorKind> {
        result.err().map(|error| error.kind())
    }
    let data = || Bytes::from("x");
    fs.write_file(&path("/own"), "own").await.unwrap();
    let version = fs.metadata(&path("/own")).await.unwrap().version.unwrap();
    let parents = WriteOptions::default().with_create_parents();
    let transfer = TransferOptions::default;
    vec![
        ("read", kind(fs.read_file(at).await)),
        ("stat", kind(fs.metadata(at).await)),
        ("list", kind(fs.readdir(at).await)),
        ("write", kind(fs.write_file(at, "x").await)),
        ("write with parents", kind(fs.write(at, data(), parents).await)),
        ("create_new", kind(fs.create_new(at, "x").await)),
        ("append", kind(fs.append(at, "x").await)),
        ("if_match", kind(fs.write(at, data(), WriteMode::IfMatch(version).into()).await)),
        ("writer", kind(fs.writer(at, WriteOptions::default()).await)),
        ("copy from", kind(fs.copy(at, &path("/copied"), transfer()).await)),
        ("copy to", kind(fs.copy(&path("/own"), at, transfer()).await)),
    ]
}

/// Every verb on an entry below `at`.
async fn every_verb_below(fs: &LocalFileSystem, at: &ResourcePath) -> Vec<(&'static str, Option<ErrorKind>)> {
    let below = at.join("secret").unwrap();
    let mut all = every_verb(fs, &below).await;
    let kind = |result: agentx_resource::Result<()>| result.err().map(|error| error.kind());
    let transfer = TransferOptions::default;
    all.extend([
        ("mkdir", kind(fs.mkdir(&at.join("new").unwrap(), MkdirOptions::default()).await)),
        ("mkdir -p", kind(fs.mkdir(&at.join("new/dir").unwrap(), MkdirOptions::recursive()).await)),
        ("rm", kind(fs.rm(&below, RemoveOptions::recursive().with_force()).await)),
        ("rename from", kind(fs.rename(&below, &path("/stolen"), transfer()).await)),
        ("rename to", kind(fs.rename(&path("/own"), &below, transfer()).await)),
    ]);
    all
}

#[tokio::test]
async fn a_link_that_leads_out_escapes_in_every_verb() {
    for world in World::each() {
        let out = world.host("out");
        world.link("../out/secret", "relative");
        world.link(out.join("secret"), "absolute");
        world.link("../../../../../../../../../../etc/passwd", "far");
        world.link("relative", "chain");
        world.link("../out/not yet", "dangling");
        world.link("/proc/self/root/etc/passwd", "proc");
        world.link("/proc/self/fd/0", "fd");
        world.link("/dev/stdin", "stdin");
        for name in ["/relative", "/absolute", "/far", "/chain", "/dangling", "/proc", "/fd", "/stdin"] {
            for (verb, kind) in every_verb(&world.fs, &path(name)).await {
                assert_eq!(kind, Some(ErrorKind::Escapes), "{verb} {name}");
            }
        }
        world.link("../out", "d-relative");
        world.link(&out, "d-absolute");
        world.link("..", "d-up");
        world.link("/proc/self/root", "d-proc");
        for name in ["/d-relative", "/d-absolute", "/d-up", "/d-proc"] {
            for (verb, kind) in every_verb_below(&world.fs, &path(name)).await {
                assert_eq!(kind, Some(ErrorKind::Escapes), "{verb} {name}");
            }
        }
        world.assert_untouched();
        // The root's own name as a prefix of another is not the root.
        fs::create_dir(world.host("inside-out")).unwrap();
        world.link(world.host("inside-out"), "prefix");
        let error = world.fs.readdir(&path("/prefix")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Escapes);
        let error = world.fs.readdir(&path("/prefix/..a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Escapes);
    }
}

#[tokio::test]
async fn removing_copying_and_listing_a_tree_follow_no_link_out_of_it() {
    for world in World::each() {
        fs::create_dir(world.host("in/tree")).unwrap();
        world.link(world.host("out"), "tree/absolute");
        world.link("../../out", "tree/relative");
        world.link("../../out/secret", "tree/file");
        let entries: Vec<_> = world.fs.walk(&path("/tree")).try_collect().await.unwrap();
        assert_eq!(entries.len(), 3);
        world.fs.copy(&path("/tree"), &path("/copy"), TransferOptions::default()).await.unwrap();
        assert!(fs::symlink_metadata(world.host("in/copy/file")).unwrap().is_symlink());
        for tree in ["/tree", "/copy"] {
            world.fs.rm(&path(tree), RemoveOptions::recursive()).await.unwrap();
        }
        world.link("../out", "top");
        world.fs.rm(&path("/top"), RemoveOptions::recursive()).await.unwrap();
        world.assert_untouched();
        assert_eq!(fs::read_dir(world.host("in")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn links_inside_are_followed_absolute_ones_too() {
    for world in World::each() {
        // The root as it was given goes through a link itself.
        symlink("in", world.host("alias")).unwrap();
        let fs = LocalFileSystem::open_with(world.host("alias"), world.fs.resolution()).unwrap();
        fs.write(&path("/d/f"), Bytes::from("1"), WriteOptions::default().with_create_parents())
            .await
            .unwrap();
        world.link("d/../d/./f", "relative");
        world.link(world.host("in/d/f"), "absolute");
        world.link(world.host("alias/d/f"), "as given");
        world.link(world.host("in"), "root");
        world.link("/root", "not the host's root");
        for name in ["/relative", "/absolute", "/as given", "/root/d/f", "/root/root/relative"] {
            assert_eq!(fs.read_to_string(&path(name)).await.unwrap(), "1", "{name}");
            assert_eq!(fs.metadata(&path(name)).await.unwrap().len, 1, "{name}");
        }
        let error = fs.metadata(&path("/not the host's root")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Escapes);
        fs.write_file(&path("/absolute"), "22").await.unwrap();
        fs.write(&path("/root/new/f"), Bytes::from("3"), WriteOptions::default().with_create_parents())
            .await
            .unwrap();
        assert_eq!(fs::read_to_string(world.host("in/d/f")).unwrap(), "22");
        assert_eq!(fs::read_to_string(world.host("in/new/f")).unwrap(), "3");
        assert_eq!(fs.readdir(&path("/root/d")).await.unwrap()[0].path, Some(path("/root/d/f")));
    }
}

#[tokio::test]
async fn loops_and_dangling_links_end() {
    for world in World::each() {
        world.link("b", "a");
        world.link("a", "b");
        world.link("self/x", "self");
        world.link("nowhere", "dangling");
        world.link("nowhere/../../out/secret", "sly");
        for name in ["/a", "/b/c", "/self"] {
            let error = world.fs.read_file(&path(name)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidPath, "{error}");
            let error = world.fs.write_file(&path(name), "x").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidPath, "{error}");
        }
        assert!(!world.fs.exists(&path("/dangling")).await.unwrap());
        let error = world.fs.mkdir(&path("/dangling"), MkdirOptions::recursive()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(world.fs.read_file(&path("/sly")).await.is_err());
        assert!(world.fs.write_file(&path("/sly"), "x").await.is_err());
        world.assert_untouched();
    }
}

#[tokio::test]
async fn what_is_no_file_is_refused_without_a_wait() {
    for world in World::each() {
        let fifo = world.host("in/fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(world.host("in/socket")).unwrap();
        for name in ["/fifo", "/socket"] {
            let at = path(name);
            let verbs = tokio::time::timeout(Duration::from_secs(50), every_verb(&world.fs, &at));
            for (verb, kind) in verbs.await.expect("a verb waits for the other end") {
                let expected = match verb {
                    "stat" => None,
                    "list" => Some(ErrorKind::NotADirectory),
                    "create_new" => Some(ErrorKind::AlreadyExists),
                    _ => Some(ErrorKind::InvalidInput),
                };
                assert_eq!(kind, expected, "{verb} {name}");
            }
            world.fs.rm(&path(name), RemoveOptions::default()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_hard_link_out_is_broken_by_a_write() {
    for world in World::each() {
        fs::hard_link(world.host("out/secret"), world.host("in/hard")).unwrap();
        world.fs.write_file(&path("/hard"), "mine").await.unwrap();
        world.assert_untouched();
    }
}

/// One thread swaps a directory and a link to the outside as fast as it can, while every verb goes through the name.
#[tokio::test]
async fn a_link_swapped_in_during_a_call_gains_nothing() {
    for world in World::each() {
        fs::create_dir(world.host("in/real")).unwrap();
        fs::write(world.host("in/real/secret"), "inside").unwrap();
        world.link("../out", "evil");
        fs::create_dir(world.host("in/spare")).unwrap();
        symlink("real", world.host("in/door")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let swapper = thread::spawn({
            let (root, stop) = (world.host("in"), Arc::clone(&stop));
            move || {
                let mut swaps = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    for target in ["../out", "real", "spare"] {
                        let next = root.join("next");
                        symlink(target, &next).unwrap();
                        fs::rename(&next, root.join("door")).unwrap();
                        swaps += 1;
                    }
                }
                swaps
            }
        });
        let mut told = [0_u32; 3];
        let door = path("/door/secret");
        for _ in 0..300 {
            match world.fs.read_to_string(&door).await {
                Ok(content) => {
                    assert_ne!(content, SECRET);
                    told[0] += 1;
                }
                Err(error) if error.kind() == ErrorKind::Escapes => told[1] += 1,
                Err(error) => {
                    assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Busy), "{error}");
                    told[2] += 1;
                }
            }
            let _ = world.fs.write_file(&door, "inside").await;
            let _ = world.fs.append(&path("/door/appended"), "x").await;
            let _ = world.fs.mkdir(&path("/door/made/deep"), MkdirOptions::recursive()).await;
            let _ = world.fs.rm(&path("/door/made"), RemoveOptions::recursive()).await;
            let _ =
                world.fs.copy(&path("/door/secret"), &path("/door/copied"), TransferOptions::default()).await;
            if let Ok(content) = world.fs.read_to_string(&path("/door/copied")).await {
                assert_ne!(content, SECRET);
            }
            let _ = world
                .fs
                .rename(&path("/door/copied"), &path("/door/moved"), TransferOptions::default())
                .await;
        }
        stop.store(true, Ordering::Relaxed);
        assert!(swapper.join().unwrap() > 100);
        assert!(told[0] > 0 && told[1] > 0, "the race was not met: {told:?}");
        world.assert_untouched();
    }
}

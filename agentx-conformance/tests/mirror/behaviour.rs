//! What a mirror promises beside that nothing is lost.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, UNIX_EPOCH},
};

use agentx_resource::{
    ConditionStrength, DirEntry, Disk, Error, ErrorKind, FileKind, FileSystem, FileSystemExt, FsCapabilities,
    Layer, Metadata, MkdirOptions, Mounted, Result, WriteOptions,
    layer::{Meter, ReadOnly},
    memory::{ManualClock, MemoryFileSystem},
    mirror::{BaseState, ConflictKind, MirrorDisk, MirrorEvent, MirrorOptions, Side, SyncReport, Told},
};
use futures::{FutureExt, executor::block_on};

use crate::{
    broken::{self, Fault},
    hook::Hook,
    world::path,
};

/// Both trees, and what is put between them and a mirror.
struct Trees {
    local: MemoryFileSystem,
    remote: MemoryFileSystem,
}

impl Trees {
    fn new() -> Self {
        Self { local: MemoryFileSystem::new(), remote: MemoryFileSystem::new() }
    }

    fn disk(&self, options: MirrorOptions) -> MirrorDisk {
        MirrorDisk::new(Arc::new(self.remote.clone()), Arc::new(self.local.clone()), options)
    }

    fn sync(&self) -> Result<SyncReport> {
        block_on(self.disk(options()).sync())
    }
}

fn options() -> MirrorOptions {
    MirrorOptions::new("/mirror")
}

fn write(fs: &MemoryFileSystem, at: &str, content: &str) {
    let options = WriteOptions::default().with_create_parents();
    // It is called while a sync runs, too. In memory nothing waits.
    fs.write(&path(at), content.to_owned().into(), options).now_or_never().unwrap().unwrap();
}

fn read(fs: &MemoryFileSystem, at: &str) -> Option<String> {
    match block_on(fs.read_to_string(&path(at))) {
        Ok(content) => Some(content),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn ten_thousand_files_without_changes_cost_a_read_and_two_lists() {
    let trees = Trees::new();
    for number in 0..10_000 {
        write(&trees.remote, &format!("/d{}/f{number}.md", number % 100), &format!("content {number}"));
    }
    trees.sync().unwrap().complete().unwrap();
    let meters = [(); 2].map(|()| Meter::new(Arc::new(ManualClock::default())));
    let [local, remote] = [&trees.local, &trees.remote].map(|fs| Arc::new(fs.clone()) as Arc<dyn FileSystem>);
    let disk = MirrorDisk::new(meters[1].layer(remote), meters[0].layer(local), options());
    let report = block_on(disk.sync()).unwrap().complete().unwrap();
    assert_eq!(report.base, BaseState::Known);
    let [local, remote] = meters.each_ref().map(Meter::snapshot);
    assert_eq!((local.total().operations, local.read.operations, local.list.operations), (2, 1, 1));
    assert_eq!((remote.total().operations, remote.list.operations), (1, 1));
    assert_eq!(remote.total().bytes_received, 0);
    assert_eq!(local.total().bytes_sent + remote.total().bytes_sent, 0);
    // One change costs what it takes to copy it, and the state.
    write(&trees.local, "/d7/f7.md", "changed");
    block_on(disk.sync()).unwrap().complete().unwrap();
    let again = meters[1].snapshot();
    assert_eq!((again.total().operations, again.list.operations, again.write.operations), (3, 2, 1));
    assert_eq!(meters[0].snapshot().total().operations, 2 + 4);
    assert_eq!(read(&trees.remote, "/d7/f7.md").unwrap(), "changed");
}

#[test]
fn a_mount_pulls_an_unmount_pushes_and_what_is_released_is_pushed_by_the_next_mount() {
    let trees = Trees::new();
    write(&trees.remote, "/a.md", "1");
    let disk: Arc<dyn Disk> = Arc::new(trees.disk(options().with_name("work")));
    assert_eq!(disk.name(), "work");
    let mounted = block_on(Mounted::attach(Arc::clone(&disk))).unwrap();
    assert_eq!(mounted.point().as_str(), "/mirror");
    assert_eq!(read(&trees.local, "/a.md").unwrap(), "1");
    write(&trees.local, "/a.md", "2");
    block_on(mounted.unmount()).unwrap();
    assert_eq!(read(&trees.remote, "/a.md").unwrap(), "2");
    let mounted = block_on(Mounted::attach(Arc::clone(&disk))).unwrap();
    write(&trees.local, "/a.md", "3");
    drop(mounted);
    assert_eq!(read(&trees.remote, "/a.md").unwrap(), "2");
    block_on(disk.mount()).unwrap();
    assert_eq!(read(&trees.remote, "/a.md").unwrap(), "3");
}

#[test]
fn one_file_that_fails_does_not_stop_the_others_and_is_told() {
    let trees = Trees::new();
    for number in 0..1500 {
        write(&trees.local, &format!("/bad/{number}"), "x");
    }
    write(&trees.local, "/good.md", "good");
    let remote = Hook::new(trees.remote.clone()).before(|verb, at| {
        let fails = verb == "write" && at.as_str().starts_with("/bad/");
        async move { if fails { Err(Error::new(ErrorKind::PermissionDenied, "write")) } else { Ok(()) } }
    });
    let disk = MirrorDisk::new(Arc::new(remote), Arc::new(trees.local.clone()), options());
    let report = block_on(disk.sync()).unwrap();
    assert_eq!(read(&trees.remote, "/good.md").unwrap(), "good");
    assert_eq!((report.failures.count(), report.failures.iter().count()), (1500, Told::<()>::LIMIT));
    let first = report.failures.iter().next().unwrap();
    assert!(first.path.as_str().starts_with("/bad/"));
    assert_eq!(first.error.kind(), ErrorKind::PermissionDenied);
    let error = block_on(disk.mount()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("1500 in all"), "{error}");
    assert_eq!(block_on(disk.unmount()).unwrap_err().kind(), ErrorKind::InvalidInput, "it was not mounted");
    assert_eq!(block_on(disk.last_report()).unwrap().failures.count(), 1500);
    // They are tried again when the cause is gone.
    assert_eq!(trees.sync().unwrap().complete().unwrap().pushed.files, 1500);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again_and_told_if_it_never_ends() {
    for (changes, complete) in [(2, true), (usize::MAX, false)] {
        let trees = Trees::new();
        write(&trees.local, "/log", "0");
        write(&trees.local, "/other", "x");
        let (writer, left) = (trees.local.clone(), AtomicUsize::new(changes));
        // Its reads are no snapshots, as those of a directory of the host are not.
        let weaker = FsCapabilities::new().with_if_match(ConditionStrength::Cooperative);
        let local = Hook::new(trees.local.clone()).with_capabilities(weaker).before(move |verb, at| {
            let change = verb == "stat" && at.as_str() == "/log" && left.load(Relaxed) > 0;
            if change {
                let number = left.fetch_sub(1, Relaxed);
                write(&writer, "/log", &number.to_string());
            }
            async { Ok(()) }
        });
        let disk = MirrorDisk::new(Arc::new(trees.remote.clone()), Arc::new(local), options());
        let report = block_on(disk.sync()).unwrap();
        assert_eq!(report.is_complete(), complete);
        assert_eq!(read(&trees.remote, "/other").unwrap(), "x");
        if complete {
            assert_eq!(read(&trees.remote, "/log").unwrap(), "1");
        } else {
            assert_eq!(read(&trees.remote, "/log"), None);
            let failure = report.failures.iter().next().unwrap();
            assert_eq!((failure.path.as_str(), failure.error.kind()), ("/log", ErrorKind::Busy));
        }
    }
}

#[test]
fn no_more_files_are_transferred_at_a_time_than_allowed() {
    let trees = Trees::new();
    for number in 0..20 {
        write(&trees.remote, &format!("/{number}"), "x");
    }
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let local = {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        Hook::new(trees.local.clone()).before(move |verb, at| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            let counts = verb == "write" && !at.as_str().starts_with("/.agentx");
            async move {
                if counts {
                    most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                    for _ in 0..10 {
                        tokio::task::yield_now().await;
                    }
                    now.fetch_sub(1, Relaxed);
                }
                Ok(())
            }
        })
    };
    let options = options().with_parallel(NonZeroUsize::new(3).unwrap());
    let disk = MirrorDisk::new(Arc::new(trees.remote.clone()), Arc::new(local), options);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(disk.sync()).unwrap().complete().unwrap();
    assert_eq!(most.load(Relaxed), 3);
}

#[test]
fn a_damaged_state_costs_a_comparison_and_nothing_else() {
    let trees = Trees::new();
    for name in ["/same", "/gone", "/edited"] {
        write(&trees.local, name, "1");
    }
    trees.sync().unwrap();
    block_on(trees.local.rm_all(&path("/gone"))).unwrap();
    write(&trees.local, "/edited", "2");
    for damaged in ["", "agentx-mirror 1\n", "agentx-mirror 1\nf 3 v1 v2 /same\nend 0\n", "what is this?"] {
        write(&trees.local, "/.agentx-mirror/state", damaged);
        let report = trees.sync().unwrap().complete().unwrap();
        assert_eq!(report.base, BaseState::Damaged);
        assert_eq!(report.removed_local + report.removed_remote, 0);
        assert_eq!(read(&trees.remote, "/same").unwrap(), "1");
    }
    // What was removed is back, and what was edited is there twice.
    for fs in [&trees.local, &trees.remote] {
        assert_eq!(read(fs, "/gone").unwrap(), "1");
        assert_eq!(read(fs, "/edited").unwrap(), "1");
        assert_eq!(read(fs, "/edited.conflict-1").unwrap(), "2");
    }
    assert_eq!(trees.sync().unwrap().base, BaseState::Known);
}

#[test]
fn a_state_of_a_newer_program_is_left_as_it_is() {
    let trees = Trees::new();
    write(&trees.local, "/a", "1");
    let newer = "agentx-mirror 2\nsomething else\n";
    write(&trees.local, "/.agentx-mirror/state", newer);
    let error = trees.sync().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(error.path(), Some("/.agentx-mirror/state"));
    assert_eq!(read(&trees.local, "/.agentx-mirror/state").unwrap(), newer);
    assert_eq!(read(&trees.remote, "/a"), None);
}

#[test]
fn another_tree_in_the_place_of_one_removes_nothing_from_the_other() {
    for remote_is_replaced in [false, true] {
        let (mut trees, state) = (Trees::new(), MemoryFileSystem::new());
        let elsewhere = || options().with_state(Arc::new(state.clone()), path("/states/1"));
        write(&trees.local, "/a/b.md", "1");
        write(&trees.remote, "/c.md", "2");
        block_on(trees.disk(elsewhere()).sync()).unwrap().complete().unwrap();
        assert_eq!(read(&trees.local, "/.agentx-mirror/state"), None);
        // An empty directory, or a bucket that another mirror has used already.
        if remote_is_replaced {
            trees.remote = MemoryFileSystem::new();
            Trees { local: MemoryFileSystem::new(), remote: trees.remote.clone() }.sync().unwrap();
        } else {
            trees.local = MemoryFileSystem::new();
        }
        write(&trees.local, "/new.md", "3");
        let report = block_on(trees.disk(elsewhere()).sync()).unwrap().complete().unwrap();
        assert_eq!(report.base, BaseState::OtherTrees);
        for fs in [&trees.local, &trees.remote] {
            assert_eq!(read(fs, "/a/b.md").unwrap(), "1");
            assert_eq!(read(fs, "/c.md").unwrap(), "2");
            assert_eq!(read(fs, "/new.md").unwrap(), "3");
        }
        let again = block_on(trees.disk(elsewhere()).sync()).unwrap().complete().unwrap();
        assert_eq!(again.base, BaseState::Known);
    }
}

#[test]
fn bounds_are_looked_at_before_anything_is_changed() {
    let trees = Trees::new();
    for name in ["/a", "/b", "/c"] {
        write(&trees.local, name, "12345");
    }
    for bounded in [options().with_max_entries(2), options().with_max_bytes(14)] {
        let error = block_on(trees.disk(bounded).sync()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert_eq!(read(&trees.remote, "/a"), None);
    }
    let enough = options().with_max_entries(3).with_max_bytes(15);
    assert_eq!(block_on(trees.disk(enough).sync()).unwrap().complete().unwrap().pushed.bytes, 15);
}

#[test]
fn links_special_files_and_names_that_are_no_path_are_told_and_kept_out_of_the_way() {
    let trees = Trees::new();
    for (at, content) in [("/link/below.md", "1"), ("/fifo", "2"), ("/other.md", "3")] {
        write(&trees.remote, at, content);
    }
    let local = Hook::new(trees.local.clone())
        .with_entry(DirEntry::new(path("/link"), Metadata::of(FileKind::Symlink)))
        .with_entry(DirEntry::new(path("/fifo"), Metadata::of(FileKind::Other)))
        .with_entry(DirEntry::unaddressable("\u{fffd}", Metadata::file(1)));
    let disk = MirrorDisk::new(Arc::new(trees.remote.clone()), Arc::new(local), options());
    let report = block_on(disk.sync()).unwrap().complete().unwrap();
    let skipped = report.skipped;
    assert_eq!((skipped.symlinks, skipped.special, skipped.unaddressable, skipped.blocked), (1, 1, 1, 3));
    assert_eq!(read(&trees.local, "/link/below.md"), None, "nothing is written through a link");
    assert_eq!(read(&trees.local, "/other.md").unwrap(), "3");
    // What a link has taken the place of is not taken for removed.
    assert_eq!(read(&trees.remote, "/link/below.md").unwrap(), "1");
    block_on(disk.sync()).unwrap().complete().unwrap();
    assert_eq!(read(&trees.remote, "/link/below.md").unwrap(), "1");
}

#[test]
fn a_link_in_the_place_of_a_file_removes_nothing_from_the_other_tree() {
    let trees = Trees::new();
    write(&trees.remote, "/d/a.md", "1");
    trees.sync().unwrap().complete().unwrap();
    block_on(trees.local.rm_all(&path("/d"))).unwrap();
    let link = DirEntry::new(path("/d"), Metadata::of(FileKind::Symlink));
    let local = Hook::new(trees.local.clone()).with_entry(link);
    let disk = MirrorDisk::new(Arc::new(trees.remote.clone()), Arc::new(local), options());
    block_on(disk.sync()).unwrap().complete().unwrap();
    assert_eq!(read(&trees.remote, "/d/a.md").unwrap(), "1");
}

#[test]
fn what_is_left_out_is_neither_copied_nor_removed() {
    let trees = Trees::new();
    for at in ["/src/a.rs", "/src/node_modules/x.js", "/out/b.o", "/old/a.md", "/old/keep/b.md"] {
        write(&trees.local, at, "1");
    }
    let some = || options().with_exclude(path("/out")).with_exclude_name("node_modules");
    let report = block_on(trees.disk(some()).sync()).unwrap().complete().unwrap();
    assert_eq!(report.skipped.excluded, 4);
    assert_eq!(read(&trees.remote, "/src/a.rs").unwrap(), "1");
    assert_eq!(read(&trees.remote, "/src/node_modules/x.js"), None);
    assert_eq!(read(&trees.remote, "/out/b.o"), None);
    // What was mirrored once and is left out now stays where it is, and keeps its directory.
    let fewer = || some().with_exclude(path("/old/keep"));
    block_on(trees.disk(fewer()).sync()).unwrap().complete().unwrap();
    block_on(trees.remote.rm_all(&path("/old"))).unwrap();
    let report = block_on(trees.disk(fewer()).sync()).unwrap().complete().unwrap();
    assert_eq!((report.removed_local, report.skipped.held_directories), (1, 1));
    assert_eq!(read(&trees.local, "/old/a.md"), None);
    assert_eq!(read(&trees.local, "/old/keep/b.md").unwrap(), "1");
    assert_eq!(read(&trees.remote, "/old/keep/b.md"), None);
    // And when it is mirrored again, it is new.
    block_on(trees.disk(some()).sync()).unwrap().complete().unwrap();
    assert_eq!(read(&trees.remote, "/old/keep/b.md").unwrap(), "1");
}

#[test]
fn progress_is_told_as_it_happens() {
    let trees = Trees::new();
    write(&trees.local, "/a", "1");
    write(&trees.local, "/b", "1");
    trees.sync().unwrap();
    write(&trees.local, "/a", "22");
    write(&trees.remote, "/a", "333");
    block_on(trees.remote.rm_all(&path("/b"))).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let progress = {
        let told = Arc::clone(&told);
        move |event: &MirrorEvent| {
            told.lock().unwrap().push(match event {
                MirrorEvent::Compared { steps, bytes } => format!("compared {steps} {bytes}"),
                MirrorEvent::Copied { path, to, bytes } => format!("copied {path} {to} {bytes}"),
                MirrorEvent::Removed { path, from } => format!("removed {path} {from}"),
                MirrorEvent::Conflict(conflict) => format!("conflict {}", conflict.path),
                MirrorEvent::Failed(failure) => format!("failed {}", failure.path),
                _ => "other".to_owned(),
            });
        }
    };
    block_on(trees.disk(options().with_progress(progress)).sync()).unwrap();
    assert_eq!(
        *told.lock().unwrap(),
        [
            "compared 2 5",
            "removed /b local",
            "copied /a local 3",
            "conflict /a",
            "compared 1 2",
            "copied /a.conflict-1 remote 2",
        ]
    );
}

#[test]
fn two_machines_with_one_remote_tree_come_to_the_same() {
    let (first, bucket) = (Trees::new(), MemoryFileSystem::new());
    let trees = [
        Trees { local: first.local, remote: bucket.clone() },
        Trees { local: MemoryFileSystem::new(), remote: bucket },
    ];
    write(&trees[0].local, "/notes.md", "0");
    for trees in &trees {
        trees.sync().unwrap().complete().unwrap();
    }
    write(&trees[0].local, "/notes.md", "one");
    write(&trees[1].local, "/notes.md", "two");
    write(&trees[0].local, "/mine.md", "mine");
    assert!(trees[0].sync().unwrap().complete().unwrap().conflicts.is_empty());
    let report = trees[1].sync().unwrap().complete().unwrap();
    let conflict = report.conflicts.iter().next().unwrap();
    assert_eq!((conflict.path.as_str(), conflict.kind), ("/notes.md", ConflictKind::BothChanged));
    let report = trees[0].sync().unwrap().complete().unwrap();
    assert_eq!(report.conflicts.iter().next().unwrap().kind, ConflictKind::Found);
    for trees in &trees {
        assert_eq!(read(&trees.local, "/notes.md").unwrap(), "one");
        assert_eq!(read(&trees.local, "/notes.conflict-1.md").unwrap(), "two");
        assert_eq!(read(&trees.local, "/mine.md").unwrap(), "mine");
    }
}

#[test]
fn a_remote_tree_that_can_not_be_written_is_mirrored_one_way() {
    let trees = Trees::new();
    write(&trees.remote, "/a.md", "1");
    block_on(trees.remote.mkdir(&path("/empty"), MkdirOptions::default())).unwrap();
    let remote = ReadOnly.layer(Arc::new(trees.remote.clone()) as Arc<dyn FileSystem>);
    let disk = MirrorDisk::new(remote, Arc::new(trees.local.clone()), options());
    block_on(disk.mount()).unwrap();
    assert_eq!(read(&trees.local, "/a.md").unwrap(), "1");
    write(&trees.local, "/b.md", "2");
    let error = block_on(disk.unmount()).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::PermissionDenied, Some("/b.md")));
    assert_eq!(read(&trees.local, "/b.md").unwrap(), "2");
}

/// Without versions, so that the times alone tell what has changed.
#[test]
fn clocks_that_are_wrong_and_set_back_change_nothing() {
    let trees = Trees::new();
    let at = |fs: &MemoryFileSystem, days: u64| {
        let time = UNIX_EPOCH + Duration::from_secs(days * 24 * 60 * 60);
        fs.clone().with_clock(Arc::new(ManualClock::new(time)))
    };
    let sync = || {
        let lesser = broken::with(Fault::Lesser);
        let remote = lesser(Side::Remote, Arc::new(at(&trees.remote, 2000)));
        let local = lesser(Side::Local, Arc::new(at(&trees.local, 40_000)));
        block_on(MirrorDisk::new(remote, local, options()).sync()).unwrap().complete().unwrap()
    };
    // One clock is decades behind the other.
    write(&at(&trees.local, 40_000), "/l.md", "1");
    write(&at(&trees.remote, 1000), "/r.md", "1");
    sync();
    // Each tree's newer content is the one with the older time, or the other tree has a newer one.
    write(&at(&trees.local, 39_000), "/l.md", "2");
    write(&at(&trees.remote, 10), "/r.md", "2");
    sync();
    write(&at(&trees.remote, 5), "/l.md", "3");
    write(&at(&trees.local, 41_000), "/r.md", "3");
    let report = sync();
    assert!(report.conflicts.is_empty());
    for fs in [&trees.local, &trees.remote] {
        assert_eq!((read(fs, "/l.md").unwrap(), read(fs, "/r.md").unwrap()), ("3".into(), "3".into()));
    }
    let report = sync();
    assert_eq!((report.pushed.files, report.pulled.files), (0, 0));
}

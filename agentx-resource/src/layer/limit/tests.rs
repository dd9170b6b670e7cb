use futures::{FutureExt, StreamExt, executor::block_on};

use super::*;
use crate::{
    ExecRequest, FileSystemExt, ListOptions, ReadOptions, ResourcePath, StatOptions, WriteOptions,
    memory::{ManualClock, MemoryFileSystem, MemoryProcess},
};

fn limited(concurrent: usize) -> (Limit, Arc<dyn FileSystem>) {
    let limit = Limit::new(NonZeroUsize::new(concurrent).unwrap());
    let fs = limit.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
    block_on(fs.write_file(&path("/a"), "hello")).unwrap();
    (limit, fs)
}

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

#[test]
fn bodies_lists_and_writers_hold_their_permit_until_they_end_or_drop() {
    let (limit, fs) = limited(3);
    block_on(async {
        let mut read = fs.read(&path("/a"), ReadOptions::default()).await.unwrap();
        let mut entries = fs.list(&path("/"), ListOptions::default());
        assert!(entries.next().await.is_some());
        let writer = fs.writer(&path("/b"), WriteOptions::default()).await.unwrap();
        assert_eq!(limit.free(), 0);
        let a = path("/a");
        let mut waiting = fs.stat(&a, StatOptions::default());
        assert!((&mut waiting).now_or_never().is_none());
        // The body ends: its permit goes to who waits.
        while read.body.next().await.is_some() {}
        assert!(waiting.now_or_never().is_some());
        drop(entries);
        writer.abort().await.unwrap();
        assert_eq!(limit.free(), 3);
    });
}

#[test]
fn a_body_that_is_dropped_gives_its_permit_back() {
    let (limit, fs) = limited(1);
    let read = block_on(fs.read(&path("/a"), ReadOptions::default())).unwrap();
    assert!(fs.metadata(&path("/a")).now_or_never().is_none());
    drop(read);
    assert_eq!(limit.free(), 1);
    block_on(fs.metadata(&path("/a"))).unwrap();
}

#[test]
fn a_child_holds_its_permit_until_its_events_end() {
    let (limit, fs) = limited(1);
    let inner = MemoryProcess::new(Arc::new(ManualClock::default())).program("true", |_| async { 0 });
    let process = limit.layer(Arc::new(inner) as Arc<dyn Process>);
    block_on(async {
        let child = process.spawn(ExecRequest::program("true", [""; 0])).await.unwrap();
        assert!(fs.metadata(&path("/a")).now_or_never().is_none());
        while child.next_event().await.unwrap().is_some() {}
        assert_eq!(limit.free(), 1);
        assert_eq!(child.next_event().await.unwrap(), None);
        let child = process.spawn(ExecRequest::program("true", [""; 0])).await.unwrap();
        drop(child);
        assert_eq!(limit.free(), 1);
    });
}

use futures::executor::block_on;

use super::*;
use crate::{
    FileSystemExt, ReadRange, RemoveOptions, ResourcePath, TransferOptions, WriteOptions,
    layer::{Meter, tests::Basic},
    memory::{ManualClock, MemoryFileSystem},
};

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

struct Bench {
    fs: Arc<dyn FileSystem>,
    below: MemoryFileSystem,
    meter: Meter,
    clock: ManualClock,
}

impl Bench {
    fn new(freshness: Freshness, total: u64, largest: u64) -> Self {
        let (below, clock) = (MemoryFileSystem::new(), ManualClock::default());
        let meter = Meter::new(Arc::new(clock.clone()));
        let cache = Cache::new(freshness, Arc::new(clock.clone())).with_bytes(total, largest);
        let fs = cache.layer(meter.layer(Arc::new(below.clone()) as Arc<dyn FileSystem>));
        Self { fs, below, meter, clock }
    }

    async fn read(&self, at: &str) -> String {
        self.fs.read_to_string(&path(at)).await.unwrap()
    }

    /// How often the resource was read, and asked by `stat`.
    fn asked(&self) -> (u64, u64) {
        let counted = self.meter.snapshot();
        (counted.read.operations, counted.stat.operations)
    }
}

const HOUR: Freshness = Freshness::For(Duration::from_hours(1));

#[test]
fn validation_costs_a_stat_and_misses_nothing() {
    let bench = Bench::new(Freshness::Validate, 100, 100);
    block_on(async {
        bench.below.write_file(&path("/a"), "one").await.unwrap();
        assert_eq!((bench.read("/a").await, bench.read("/a").await), ("one".into(), "one".into()));
        assert_eq!(bench.asked(), (1, 1));
        bench.below.write_file(&path("/a"), "two").await.unwrap();
        assert_eq!(bench.read("/a").await, "two");
        bench.below.rm(&path("/a"), RemoveOptions::default()).await.unwrap();
        let error = bench.fs.read_file(&path("/a")).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (crate::ErrorKind::NotFound, "read"));
    });
}

#[test]
fn for_a_time_nobody_is_asked() {
    let bench = Bench::new(HOUR, 100, 100);
    block_on(async {
        bench.below.write_file(&path("/a"), "0123456789").await.unwrap();
        bench.read("/a").await;
        assert_eq!(bench.fs.read_range(&path("/a"), ReadRange::Last(3)).await.unwrap(), "789");
        assert_eq!(bench.fs.metadata(&path("/a")).await.unwrap().len, 10);
        assert_eq!(bench.asked(), (1, 0));
        bench.below.write_file(&path("/a"), "new").await.unwrap();
        bench.clock.advance(Duration::from_mins(59));
        assert_eq!(bench.read("/a").await, "0123456789");
        bench.clock.advance(Duration::from_mins(1));
        assert_eq!(bench.read("/a").await, "new");
    });
}

#[test]
fn a_caller_sees_its_own_changes() {
    let bench = Bench::new(HOUR, 100, 100);
    block_on(async {
        let (a, b) = (path("/d/a"), path("/d/b"));
        bench.fs.mkdir(&path("/d"), crate::MkdirOptions::default()).await.unwrap();
        bench.fs.write_file(&a, "one").await.unwrap();
        assert_eq!(bench.read("/d/a").await, "one");
        bench.fs.append(&a, "+").await.unwrap();
        assert_eq!(bench.read("/d/a").await, "one+");
        let mut writer = bench.fs.writer(&a, WriteOptions::default()).await.unwrap();
        writer.write("two".into()).await.unwrap();
        assert_eq!(bench.read("/d/a").await, "one+");
        writer.close().await.unwrap();
        assert_eq!(bench.read("/d/a").await, "two");
        bench.fs.rename(&a, &b, TransferOptions::default()).await.unwrap();
        assert!(!bench.fs.exists(&a).await.unwrap());
        assert_eq!(bench.read("/d/b").await, "two");
        bench.fs.rm(&path("/d"), RemoveOptions::recursive()).await.unwrap();
        assert!(!bench.fs.exists(&b).await.unwrap());
    });
}

#[test]
fn a_read_that_a_change_overtakes_is_not_kept() {
    let store = Store::new(9, 9, 9);
    let key = || (0, path("/a"));
    let kept = |content: &'static str| store::Kept {
        metadata: crate::Metadata::file(1),
        content: Some(content.into()),
        since: std::time::SystemTime::UNIX_EPOCH,
    };
    let changes = store.changes();
    store.forget(0, &[path("/a")]);
    store.keep(key(), kept("x"), changes);
    assert!(store.get(&key()).is_none());
    store.keep(key(), kept("y"), store.changes());
    assert_eq!(store.get(&key()).unwrap().content.unwrap(), "y");
}

#[test]
fn what_was_used_least_recently_goes_and_large_files_never_come() {
    let bench = Bench::new(HOUR, 10, 5);
    block_on(async {
        for (at, content) in [("/a", "aaaa"), ("/b", "bbbb"), ("/c", "cccc"), ("/large", "123456")] {
            bench.below.write_file(&path(at), content).await.unwrap();
        }
        for at in ["/a", "/b", "/a", "/c", "/large", "/large"] {
            bench.read(at).await;
        }
        assert_eq!(bench.asked().0, 5);
        bench.read("/a").await;
        assert_eq!(bench.asked().0, 5);
        bench.read("/b").await;
        assert_eq!(bench.asked().0, 6);
    });
}

#[test]
fn without_versions_nothing_is_kept() {
    let below: Arc<dyn FileSystem> = Arc::new(Basic(MemoryFileSystem::new()));
    let cache = Cache::new(HOUR, Arc::new(ManualClock::default()));
    assert!(Arc::ptr_eq(&cache.layer(Arc::clone(&below)), &below));
}

use futures::{FutureExt, executor::block_on};

use super::{
    super::around::{self, Around, Operation, Verb},
    *,
};
use crate::{
    ErrorKind, FileSystemExt, MkdirOptions, RemoveOptions, ResourcePath, TransferOptions, WriteMode,
    WriteOptions, memory::MemoryFileSystem,
};

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

/// A quota over a tree that holds 4 bytes in 2 files already.
fn quota(bytes: u64, files: u64) -> (Quota, Arc<dyn FileSystem>, MemoryFileSystem) {
    let below = MemoryFileSystem::new();
    block_on(async {
        below.mkdir(&path("/d"), MkdirOptions::default()).await.unwrap();
        below.write_file(&path("/d/old"), "abc").await.unwrap();
        below.write_file(&path("/one"), "d").await.unwrap();
    });
    let quota = Quota::new().with_bytes(bytes).with_files(files);
    let fs = block_on(quota.open(Arc::new(below.clone()))).unwrap();
    (quota, fs, below)
}

fn used(quota: &Quota) -> (u64, u64) {
    (quota.used().bytes, quota.used().files)
}

fn refused<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn every_change_is_counted() {
    let (quota, fs, below) = quota(1000, 100);
    block_on(async {
        assert_eq!(used(&quota), (4, 2));
        fs.write_file(&path("/d/old"), "abcdef").await.unwrap();
        fs.append(&path("/d/old"), "gh").await.unwrap();
        fs.append(&path("/new"), "x").await.unwrap();
        assert_eq!(used(&quota), (10, 3));
        fs.copy(&path("/d"), &path("/e"), TransferOptions::default()).await.unwrap();
        assert_eq!(used(&quota), (18, 4));
        fs.copy(&path("/one"), &path("/e/old"), TransferOptions::default()).await.unwrap();
        assert_eq!(used(&quota), (11, 4));
        fs.rename(&path("/e/old"), &path("/d/old"), TransferOptions::default()).await.unwrap();
        assert_eq!(used(&quota), (3, 3));
        let mut writer = fs.writer(&path("/d/old"), WriteMode::Append.into()).await.unwrap();
        writer.write("12".into()).await.unwrap();
        assert_eq!(used(&quota), (3, 3));
        writer.close().await.unwrap();
        assert_eq!(used(&quota), (5, 3));
        fs.rm(&path("/d"), RemoveOptions::recursive()).await.unwrap();
        assert_eq!(used(&quota), (2, 2));
        fs.rm(&path("/one"), RemoveOptions::default()).await.unwrap();
        fs.rm(&path("/one"), RemoveOptions::default()).await.unwrap_err();
        fs.create_new(&path("/new"), "zzz").await.unwrap_err();
        assert_eq!(used(&quota), (1, 1));
        let again = Quota::new();
        again.open(Arc::new(below)).await.unwrap();
        assert_eq!(again.used(), quota.used());
    });
}

#[test]
fn what_exceeds_is_refused_and_changes_nothing() {
    let (quota, fs, below) = quota(6, 3);
    block_on(async {
        refused(fs.write_file(&path("/a"), "123").await);
        refused(fs.append(&path("/one"), "123").await);
        refused(fs.copy(&path("/d/old"), &path("/b"), TransferOptions::default()).await);
        let mut writer = fs.writer(&path("/a"), WriteOptions::default()).await.unwrap();
        writer.write("12".into()).await.unwrap();
        refused(writer.write("3".into()).await);
        refused(writer.close().await);
        assert!(!below.exists(&path("/a")).await.unwrap());
        assert_eq!(below.read_to_string(&path("/one")).await.unwrap(), "d");
        assert_eq!(used(&quota), (4, 2));
        fs.write_file(&path("/a"), "12").await.unwrap();
        refused(fs.write_file(&path("/empty"), "").await);
        fs.write_file(&path("/d/old"), "xyz").await.unwrap();
    });
}

#[test]
fn writers_do_not_exceed_together() {
    let (quota, fs, _) = quota(10, 9);
    block_on(async {
        let mut first = fs.writer(&path("/a"), WriteOptions::default()).await.unwrap();
        let mut second = fs.writer(&path("/b"), WriteOptions::default()).await.unwrap();
        first.write("1234".into()).await.unwrap();
        refused(second.write("123".into()).await);
        refused(fs.write_file(&path("/c"), "123").await);
        drop(first);
        fs.write_file(&path("/c"), "123456").await.unwrap();
        assert_eq!(used(&quota), (10, 3));
        // What the writer replaces is room for it, until another takes that away.
        let mut third = fs.writer(&path("/c"), WriteOptions::default()).await.unwrap();
        third.write("654321".into()).await.unwrap();
        fs.write_file(&path("/c"), "").await.unwrap();
        fs.write_file(&path("/e"), "1").await.unwrap();
        refused(third.close().await);
    });
}

/// Changes take effect, and are never answered.
#[derive(Clone, Debug)]
struct Unanswered;

impl Around for Unanswered {
    type Operation = Verb;

    async fn begin(&self, verb: Verb, _subject: &str) -> Verb {
        verb
    }
}

impl Operation for Verb {
    async fn step<T, F>(&self, step: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let result = step.await;
        if *self == Verb::Write { std::future::pending().await } else { result }
    }
}

#[test]
fn a_change_of_unknown_outcome_is_counted_again() {
    let below = MemoryFileSystem::new();
    let quota = Quota::new().with_bytes(10);
    let unanswered = around::file_system(Arc::new(below.clone()), Unanswered);
    block_on(async {
        let fs = quota.open(unanswered).await.unwrap();
        assert!(fs.write_file(&path("/a"), "12345").now_or_never().is_none());
        below.write_file(&path("/a"), "123").await.unwrap();
        fs.rm(&path("/missing"), RemoveOptions::default().with_force()).await.unwrap();
        assert_eq!(used(&quota), (3, 1));
    });
}

#[test]
fn a_tree_that_is_too_large_may_shrink() {
    let (quota, fs, _) = quota(2, 1);
    block_on(async {
        refused(fs.append(&path("/one"), "1").await);
        fs.write_file(&path("/d/old"), "ab").await.unwrap();
        fs.rename(&path("/one"), &path("/d/old"), TransferOptions::default()).await.unwrap();
        assert_eq!(used(&quota), (1, 1));
    });
}

#[test]
fn a_layer_counts_before_the_first_change() {
    let below = MemoryFileSystem::new();
    block_on(async {
        below.write_file(&path("/a"), "1234").await.unwrap();
        let quota = Quota::new().with_bytes(5);
        let fs = quota.layer(Arc::new(below) as Arc<dyn FileSystem>);
        refused(fs.write_file(&path("/b"), "12").await);
        assert_eq!(quota.used().bytes, 4);
    });
}

#[test]
fn a_copy_by_way_of_a_link_counts_what_is_copied() {
    block_on(async {
        let below = MemoryFileSystem::new().with_symlinks("/");
        below.mkdir(&path("/d"), MkdirOptions::default()).await.unwrap();
        below.write_file(&path("/d/f"), "12345").await.unwrap();
        for (target, at) in [("d/f", "/fl"), ("d", "/dl"), ("new", "/nowhere")] {
            below.symlink(target, &path(at)).unwrap();
        }
        let quota = Quota::new().with_bytes(20).with_files(7);
        let fs = quota.open(Arc::new(below)).await.unwrap();
        assert_eq!(used(&quota), (5, 4));
        let copy = |from, to| {
            let fs = Arc::clone(&fs);
            async move { fs.copy(&path(from), &path(to), TransferOptions::default()).await }
        };
        copy("/fl", "/one").await.unwrap();
        copy("/dl", "/two").await.unwrap();
        assert_eq!(used(&quota), (15, 6));
        // Onto what a link leads to, and what is not there yet.
        copy("/one", "/fl").await.unwrap();
        assert_eq!(used(&quota), (15, 6));
        copy("/one", "/nowhere").await.unwrap();
        assert_eq!(used(&quota), (20, 7));
        refused(copy("/fl", "/three").await);
        refused(copy("/dl", "/three").await);
        // As a count from the beginning has it.
        let anew = Quota::new();
        anew.open(fs).await.unwrap();
        assert_eq!(used(&anew), (20, 7));
    });
}

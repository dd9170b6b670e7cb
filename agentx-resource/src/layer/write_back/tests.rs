use std::sync::Arc;

use futures::{TryStreamExt, executor::block_on};

use super::WriteBack;
use crate::{
    ErrorKind, FileSystem, FileSystemExt, Layer, ListOptions, MkdirOptions, RemoveOptions, ResourcePath,
    TransferOptions, WriteMode, WriteOptions,
    layer::Meter,
    memory::{ManualClock, MemoryFileSystem},
};

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

/// A store with `/d` in it, what was asked of it, and a view of it.
async fn world() -> (MemoryFileSystem, Meter, WriteBack) {
    let store = MemoryFileSystem::new();
    store.mkdir(&path("/d"), MkdirOptions::default()).await.unwrap();
    let meter = Meter::new(Arc::new(ManualClock::default()));
    let layer = WriteBack::open(meter.layer(Arc::new(store.clone()) as Arc<dyn FileSystem>)).unwrap();
    (store, meter, layer)
}

async fn names(fs: &dyn FileSystem, at: &str, options: ListOptions) -> Vec<String> {
    let entries: Vec<_> = fs.list(&path(at), options).try_collect().await.unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.path.unwrap().to_string()).collect();
    names.sort();
    names
}

#[test]
fn many_writes_are_one_and_are_saved_by_the_flush_alone() {
    block_on(async {
        let (store, meter, fs) = world().await;
        let file = path("/d/f");
        let mut version =
            fs.write(&file, "0".into(), WriteMode::CreateNew.into()).await.unwrap().version.unwrap();
        for text in ["1", "2", "3"] {
            let mode = WriteMode::IfMatch(version.clone());
            version = fs.write(&file, text.into(), mode.into()).await.unwrap().version.unwrap();
        }
        assert_eq!(fs.read_to_string(&file).await.unwrap(), "3");
        assert_eq!(names(&fs, "/d", ListOptions::default()).await, ["/d/f"]);
        assert_eq!(names(&fs, "/", ListOptions::recursive()).await, ["/d", "/d/f"]);
        assert!(!store.exists(&file).await.unwrap());
        assert_eq!(fs.pending(), std::slice::from_ref(&file));
        let report = fs.flush().await.complete().unwrap();
        assert_eq!((report.written, meter.snapshot().write.operations), (vec![file.clone()], 1));
        assert_eq!(store.read_to_string(&file).await.unwrap(), "3");
        // The version that was given while it was held is still good, and one before it is not.
        let mode = WriteMode::IfMatch(version.clone());
        fs.write(&file, "4".into(), mode.clone().into()).await.unwrap();
        assert_eq!(
            fs.write(&file, "5".into(), mode.into()).await.unwrap_err().kind(),
            ErrorKind::ConditionFailed
        );
        fs.flush().await.complete().unwrap();
        assert_eq!(store.read_to_string(&file).await.unwrap(), "4");
        assert!(fs.flush().await.complete().unwrap().written.is_empty());
    });
}

#[test]
fn what_is_known_is_not_asked_again() {
    block_on(async {
        let (store, meter, fs) = world().await;
        for name in 0..20 {
            store.write_file(&path(&format!("/d/{name}")), name.to_string()).await.unwrap();
        }
        for _ in 0..3 {
            assert_eq!(names(&fs, "/", ListOptions::recursive()).await.len(), 21);
            assert_eq!(names(&fs, "/d", ListOptions::default()).await.len(), 20);
            for name in 0..20 {
                let file = path(&format!("/d/{name}"));
                assert_eq!(fs.metadata(&file).await.unwrap().len, name.to_string().len() as u64);
                assert_eq!(fs.read_to_string(&file).await.unwrap(), name.to_string());
            }
            assert!(!fs.exists(&path("/d/none")).await.unwrap());
            assert_eq!(fs.read_file(&path("/e/none")).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
        let used = meter.snapshot();
        assert_eq!((used.list.operations, used.stat.operations, used.read.operations), (1, 0, 20));
        store.write_file(&path("/d/0"), "other").await.unwrap();
        assert_eq!(fs.read_to_string(&path("/d/0")).await.unwrap(), "0");
        fs.refresh();
        assert_eq!(fs.read_to_string(&path("/d/0")).await.unwrap(), "other");
    });
}

#[test]
fn what_others_changed_is_told_at_the_flush_and_not_overwritten() {
    block_on(async {
        let (store, _, fs) = world().await;
        let (changed, created, other) = (path("/d/changed"), path("/d/created"), path("/d/other"));
        let version = store.write_file(&changed, "old").await.unwrap().version.unwrap();
        fs.write(&changed, "mine".into(), WriteMode::IfMatch(version).into()).await.unwrap();
        fs.write(&created, "mine".into(), WriteMode::CreateNew.into()).await.unwrap();
        fs.write_file(&other, "mine").await.unwrap();
        for file in [&changed, &created] {
            store.write_file(file, "theirs").await.unwrap();
        }
        let report = fs.flush().await;
        assert_eq!(report.written, [other]);
        let mut failures: Vec<_> =
            report.failures.iter().map(|error| (error.path().unwrap(), error.kind())).collect();
        failures.sort_by_key(|(path, _)| *path);
        let expected = [("/d/changed", ErrorKind::ConditionFailed), ("/d/created", ErrorKind::AlreadyExists)];
        assert_eq!(failures, expected);
        assert!(report.complete().is_err());
        assert_eq!(store.read_to_string(&changed).await.unwrap(), "theirs");
        // It stays held until somebody decides.
        assert_eq!(fs.read_to_string(&changed).await.unwrap(), "mine");
        assert!(fs.discard(&changed).await && fs.discard(&created).await && !fs.discard(&created).await);
        assert_eq!(fs.read_to_string(&changed).await.unwrap(), "theirs");
        fs.flush().await.complete().unwrap();
    });
}

#[test]
fn what_an_earlier_flush_wrote_unnoticed_is_known_again() {
    block_on(async {
        let (store, _, fs) = world().await;
        let file = path("/d/f");
        fs.write(&file, "mine".into(), WriteMode::CreateNew.into()).await.unwrap();
        // As a flush that was dropped when the store had written, and had not answered.
        store.write_file(&file, "mine").await.unwrap();
        assert_eq!(fs.flush().await.complete().unwrap().written, [file]);
        assert!(fs.pending().is_empty());
    });
}

#[test]
fn other_changes_are_done_at_once_and_in_order() {
    block_on(async {
        let (store, meter, fs) = world().await;
        fs.write_file(&path("/d/a"), "a").await.unwrap();
        fs.rename(&path("/d/a"), &path("/d/b"), TransferOptions::default()).await.unwrap();
        assert_eq!(store.read_to_string(&path("/d/b")).await.unwrap(), "a");
        fs.write_file(&path("/d/b"), "b").await.unwrap();
        fs.copy(&path("/d"), &path("/e"), TransferOptions::default()).await.unwrap();
        assert_eq!(store.read_to_string(&path("/e/b")).await.unwrap(), "b");
        // What is only here goes without a word to the store.
        fs.write_file(&path("/d/temporary"), "x").await.unwrap();
        let before = meter.snapshot().rm.operations;
        fs.rm(&path("/d/temporary"), RemoveOptions::default()).await.unwrap();
        assert_eq!(meter.snapshot().rm.operations, before);
        assert!(!fs.exists(&path("/d/temporary")).await.unwrap());
        // A directory that holds something here alone is not empty.
        fs.mkdir(&path("/n"), MkdirOptions::default()).await.unwrap();
        fs.write_file(&path("/n/f"), "x").await.unwrap();
        let error = fs.rm(&path("/n"), RemoveOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DirectoryNotEmpty);
        fs.rm_all(&path("/n")).await.unwrap();
        assert!(fs.pending().is_empty() && !store.exists(&path("/n")).await.unwrap());
        // Beyond the bound, and with missing parents, it is the store that writes.
        fs.write_file(&path("/d/large"), vec![0; (1 << 20) + 1]).await.unwrap();
        fs.write(&path("/p/q/f"), "x".into(), WriteOptions::default().with_create_parents()).await.unwrap();
        assert!(
            store.exists(&path("/d/large")).await.unwrap() && store.exists(&path("/p/q/f")).await.unwrap()
        );
        assert!(fs.pending().is_empty());
    });
}

#[test]
fn what_is_held_is_bounded() {
    block_on(async {
        let (store, _, fs) = world().await;
        for name in 0..80 {
            fs.write_file(&path(&format!("/d/{name}")), vec![0; 1 << 20]).await.unwrap();
        }
        assert_eq!(fs.pending().len(), 64);
        assert_eq!(store.readdir(&path("/d")).await.unwrap().len(), 16);
        fs.flush().await.complete().unwrap();
        assert_eq!(store.readdir(&path("/d")).await.unwrap().len(), 80);
    });
}

#[test]
fn it_is_refused_where_a_flush_could_not_compare() {
    block_on(async {
        let store = MemoryFileSystem::new().with_symlinks("/");
        assert_eq!(WriteBack::open(Arc::new(store)).unwrap_err().kind(), ErrorKind::Unsupported);
    });
}

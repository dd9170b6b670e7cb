//! What the conformance kit can't see: what is in the store, and what other programs put there.

use std::sync::Arc;

use agentx_resource::{
    BoxFuture, DirEntry, ErrorKind, FileSystem, FileSystemExt, ListOptions, MkdirOptions, ReadOptions,
    RemoveOptions, ResourcePath, Spawn, TransferOptions, Version, WriteMode, WriteOptions,
};
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, local::LocalFileSystem, memory::InMemory, path::Path};

use super::{R2FileSystem, writer};

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

fn memory() -> (R2FileSystem, Arc<InMemory>) {
    let store = Arc::new(InMemory::new());
    (R2FileSystem::new(Arc::clone(&store) as Arc<dyn ObjectStore>).with_if_match(), store)
}

async fn keys(store: &dyn ObjectStore) -> Vec<String> {
    let objects = store.list(None).map_ok(|object| object.location.to_string());
    let mut keys: Vec<_> = objects.try_collect().await.unwrap();
    keys.sort();
    keys
}

async fn tree(fs: &R2FileSystem, root: &str) -> Vec<(String, bool)> {
    let entries: Vec<DirEntry> = fs.list(&path(root), ListOptions::recursive()).try_collect().await.unwrap();
    let mut shown: Vec<_> = entries
        .into_iter()
        .map(|entry| (entry.path.map_or(entry.name, |path| path.to_string()), entry.metadata.is_dir()))
        .collect();
    shown.sort();
    shown
}

#[tokio::test]
async fn directories_are_markers() {
    let (fs, store) = memory();
    fs.mkdir(&path("/a/b"), MkdirOptions::recursive()).await.unwrap();
    let options = WriteOptions::default().with_create_parents();
    fs.write(&path("/c/d/e"), "x".into(), options).await.unwrap();
    assert_eq!(
        keys(&*store).await,
        ["a/.agentx-dir", "a/b/.agentx-dir", "c/.agentx-dir", "c/d/.agentx-dir", "c/d/e"]
    );
    fs.rm(&path("/c/d/e"), RemoveOptions::default()).await.unwrap();
    assert!(fs.metadata(&path("/c/d")).await.unwrap().is_dir());
    fs.rm_all(&path("/c")).await.unwrap();
    fs.rm_all(&path("/a")).await.unwrap();
    assert!(keys(&*store).await.is_empty());
}

#[tokio::test]
async fn objects_of_other_programs_imply_directories() {
    let (fs, store) = memory();
    for key in ["x/y/one", "x/y%41/two", "x/y%41/.agentx-dir"] {
        store.put(&Path::parse(key).unwrap(), "1".into()).await.unwrap();
    }
    assert!(fs.metadata(&path("/x/y")).await.unwrap().is_dir());
    assert_eq!(
        tree(&fs, "/").await,
        [("/x".into(), true), ("/x/y".into(), true), ("/x/y/one".into(), false)]
            .into_iter()
            .chain([("two".into(), false), ("y%41".into(), true)])
            .collect::<Vec<_>>()
    );
    fs.write_file(&path("/x/y/three"), "3").await.unwrap();
    fs.rename(&path("/x"), &path("/z"), TransferOptions::default()).await.unwrap();
    assert_eq!(
        keys(&*store).await,
        ["z/.agentx-dir", "z/y%41/.agentx-dir", "z/y%41/two", "z/y/one", "z/y/three"]
    );
    fs.rm_all(&path("/z")).await.unwrap();
    assert!(keys(&*store).await.is_empty());
}

#[tokio::test]
async fn a_file_hides_what_another_program_put_below_it() {
    let (fs, store) = memory();
    for key in ["a", "a/b"] {
        store.put(&Path::from(key), "1".into()).await.unwrap();
    }
    assert!(fs.metadata(&path("/a")).await.unwrap().is_file());
    let entries = fs.readdir(&path("/")).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.metadata.is_file()).collect::<Vec<_>>(), [true]);
}

#[tokio::test]
async fn a_range_behind_the_end_is_empty() {
    let (fs, _) = memory();
    let file = path("/f");
    fs.write_file(&file, "0123456789").await.unwrap();
    for range in [3..3, 10..20, 100..u64::MAX] {
        assert_eq!(fs.read_range(&file, range).await.unwrap(), "");
    }
    assert_eq!(fs.read_range(&file, 8..u64::MAX).await.unwrap(), "89");
    #[expect(clippy::reversed_empty_ranges, reason = "the case under test")]
    let inverted = ReadOptions::default().with_range(5..2);
    assert_eq!(fs.read(&file, inverted.clone()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(fs.read(&path("/g"), inverted).await.unwrap_err().kind(), ErrorKind::NotFound);
    let other = ReadOptions::default().with_range(20..30).with_if_match(Version::new("other"));
    assert_eq!(fs.read(&file, other).await.unwrap_err().kind(), ErrorKind::ConditionFailed);
}

#[tokio::test]
async fn a_large_write_goes_in_parts_and_is_seen_at_close() {
    for size in [writer::PART, writer::PART + 1, 2 * writer::PART, 2 * writer::PART + 7] {
        let (fs, store) = memory();
        let file = path("/large");
        let content: Bytes = (0..=250).cycle().take(size).collect::<Vec<u8>>().into();
        let mut writer = fs.writer(&file, WriteOptions::default()).await.unwrap();
        for piece in content.chunks(writer::PART / 3 + 1) {
            writer.write(content.slice_ref(piece)).await.unwrap();
        }
        assert!(keys(&*store).await.is_empty());
        let metadata = writer.close().await.unwrap();
        assert_eq!(metadata.len, size as u64);
        assert_eq!(metadata.version, fs.metadata(&file).await.unwrap().version);
        assert_eq!(fs.read_file(&file).await.unwrap(), content);
    }
}

#[tokio::test]
async fn a_conditional_writer_is_bounded() {
    let (fs, store) = memory();
    let piece = Bytes::from(vec![7; writer::MAX_CONDITIONAL / 2]);
    let mut writer = fs.writer(&path("/f"), WriteMode::CreateNew.into()).await.unwrap();
    writer.write(piece.clone()).await.unwrap();
    writer.write(piece).await.unwrap();
    let error = writer.write("x".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert_eq!(writer.close().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(keys(&*store).await.is_empty());
}

#[tokio::test]
async fn a_conditional_writer_checks_at_close() {
    let (fs, _) = memory();
    let file = path("/f");
    let first = fs.write_file(&file, "1").await.unwrap().version.unwrap();
    let mut writer = fs.writer(&file, WriteMode::IfMatch(first).into()).await.unwrap();
    writer.write("mine".into()).await.unwrap();
    fs.write_file(&file, "theirs").await.unwrap();
    assert_eq!(writer.close().await.unwrap_err().kind(), ErrorKind::ConditionFailed);
    assert_eq!(fs.read_file(&file).await.unwrap(), "theirs");
}

#[derive(Debug)]
struct TokioSpawn(tokio::sync::mpsc::UnboundedSender<tokio::task::JoinHandle<()>>);

impl Spawn for TokioSpawn {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.0.send(tokio::spawn(task)).unwrap();
    }
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(directory.path()).unwrap());
    let (sender, mut tasks) = tokio::sync::mpsc::unbounded_channel();
    let fs = R2FileSystem::new(store).with_spawn(Arc::new(TokioSpawn(sender)));
    let staged = || std::fs::read_dir(directory.path()).unwrap().count();

    let mut writer = fs.writer(&path("/large"), WriteOptions::default()).await.unwrap();
    writer.write(vec![1; writer::PART + 1].into()).await.unwrap();
    assert_eq!(staged(), 1, "the upload has begun");
    drop(writer);
    tasks.recv().await.unwrap().await.unwrap();
    assert_eq!(staged(), 0);

    let mut writer = fs.writer(&path("/large"), WriteOptions::default()).await.unwrap();
    writer.write(vec![1; writer::PART + 1].into()).await.unwrap();
    writer.abort().await.unwrap();
    assert_eq!(staged(), 0);

    let mut writer = fs.writer(&path("/large"), WriteOptions::default()).await.unwrap();
    writer.write(vec![1; writer::PART + 1].into()).await.unwrap();
    fs.mkdir(&path("/large"), MkdirOptions::default()).await.unwrap();
    assert_eq!(writer.close().await.unwrap_err().kind(), ErrorKind::IsADirectory);
    fs.rm(&path("/large"), RemoveOptions::default()).await.unwrap();
    assert_eq!(staged(), 1, "the empty directory on the disk");
    assert!(tasks.try_recv().is_err(), "nothing was left to clear away");
}

#[tokio::test]
async fn what_is_not_declared_changes_nothing() {
    let (_, store) = memory();
    let fs = R2FileSystem::new(Arc::clone(&store) as Arc<dyn ObjectStore>);
    let version = fs.write_file(&path("/f"), "1").await.unwrap().version.unwrap();
    for mode in [WriteMode::IfMatch(version), WriteMode::Append] {
        let error = fs.write(&path("/f"), "2".into(), mode.clone().into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(fs.writer(&path("/f"), mode.into()).await.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert_eq!(fs.read_file(&path("/f")).await.unwrap(), "1");
}

#[tokio::test]
async fn a_wrongly_declared_store_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let fs = R2FileSystem::new(Arc::new(store)).with_if_match();
    let version = fs.write_file(&path("/f"), "1").await.unwrap().version.unwrap();
    let error = fs.write(&path("/f"), "2".into(), WriteMode::IfMatch(version).into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(fs.read_file(&path("/f")).await.unwrap(), "1");
}

#[tokio::test]
async fn one_of_many_renames_wins() {
    let (fs, _) = memory();
    let racers = 16;
    for racer in 0..racers {
        fs.write_file(&path(&format!("/{racer}")), racer.to_string()).await.unwrap();
    }
    let target = path("/target");
    let results = futures::future::join_all((0..racers).map(|racer| {
        let (fs, from, to) = (fs.clone(), path(&format!("/{racer}")), target.clone());
        async move { fs.rename(&from, &to, TransferOptions::create_new()).await }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(fs.readdir(&path("/")).await.unwrap().len(), racers);
}

#[tokio::test]
async fn a_transfer_to_where_keys_end_copies_nothing() {
    let (fs, store) = memory();
    let options = WriteOptions::default().with_create_parents();
    let deep = path(&format!("/a{}", "/x".repeat(300)));
    fs.write(&deep, "x".into(), options).await.unwrap();
    let far = path(&format!("/b{}", "/y".repeat(400)));
    fs.mkdir(&far, MkdirOptions::recursive()).await.unwrap();
    let before = keys(&*store).await;
    let result = fs.rename(&path("/a"), &far.join("a").unwrap(), TransferOptions::default()).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidPath);
    assert_eq!(keys(&*store).await, before);
}

#[tokio::test]
async fn the_copy_of_a_directory_tells_how_far_it_is() {
    let (fs, _) = memory();
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    let fs = fs.with_progress(move |progress| sender.send(progress.clone()).unwrap());
    let options = WriteOptions::default().with_create_parents();
    for name in ["/a/1", "/a/2", "/a/b/3"] {
        fs.write(&path(name), "x".into(), options.clone()).await.unwrap();
    }
    fs.rename(&path("/a"), &path("/z"), TransferOptions::default()).await.unwrap();
    // Three files, and the marker of the directory in it.
    for copied in 1..=4 {
        let progress = told.try_recv().unwrap();
        assert_eq!((progress.copied, progress.total), (copied, 4));
        assert_eq!((progress.from, progress.to), (path("/a"), path("/z")));
    }
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn debug_shows_no_settings() {
    let (fs, _) = memory();
    assert_eq!(format!("{fs:?}"), "R2FileSystem { store: InMemory, if_match: true, .. }");
}

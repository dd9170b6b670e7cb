//! What a local directory does beyond the conformance kit: modes, links, durability, what it leaves on the disk.
#![cfg(test)]

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
    sync::Arc,
};

use agentx_provider_local::{Durability, LocalFileSystem};
use agentx_resource::{
    ConditionStrength, ErrorKind, FileKind, FileSystem, FileSystemExt, ListOptions, MkdirOptions,
    ReadOptions, RemoveOptions, ResourcePath, TransferOptions, WriteMode, WriteOptions,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tempfile::TempDir;

fn fresh() -> (TempDir, LocalFileSystem) {
    let dir = tempfile::tempdir().unwrap();
    let fs = LocalFileSystem::open(dir.path()).unwrap();
    (dir, fs)
}

fn path(text: &str) -> ResourcePath {
    ResourcePath::new(text).unwrap()
}

/// All names in a directory, hidden ones too.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn only_a_directory_can_be_opened() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("a/b");
    let error = LocalFileSystem::open(&missing).unwrap_err();
    assert_eq!((error.kind(), error.operation(), error.provider()), (ErrorKind::NotFound, "open", "local"));
    assert_eq!(error.path(), missing.to_str());
    LocalFileSystem::create(&missing).unwrap();
    assert!(missing.is_dir());
    fs::write(dir.path().join("file"), "").unwrap();
    let error = LocalFileSystem::open(dir.path().join("file")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotADirectory);
}

#[tokio::test]
async fn an_error_tells_operation_path_provider_and_cause() {
    let (_dir, fs) = fresh();
    let error = fs.metadata(&path("/a/b")).await.unwrap_err();
    assert_eq!(error.to_string(), r#"stat "/a/b" (local): not found"#);
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    let error = fs.rename(&path("/a"), &path("/b"), TransferOptions::default()).await.unwrap_err();
    assert_eq!(error.path(), Some("/a"));
    fs.write_file(&path("/a"), "").await.unwrap();
    let error = fs.rename(&path("/a"), &path("/none/b"), TransferOptions::default()).await.unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::NotFound, Some("/none/b")));
}

#[tokio::test]
async fn a_replaced_file_keeps_its_mode_and_loses_its_hard_links() {
    let (dir, fs) = fresh();
    let (script, other) = (dir.path().join("run.sh"), dir.path().join("other"));
    fs::write(&script, "old").unwrap();
    fs::hard_link(&script, &other).unwrap();
    set_mode(&script, 0o751);
    let metadata = fs.write_file(&path("/run.sh"), "new").await.unwrap();
    assert_eq!(metadata.mode, Some(0o751));
    assert_eq!((mode(&script), fs::read_to_string(&script).unwrap()), (0o751, "new".to_owned()));
    assert_eq!(fs::read_to_string(&other).unwrap(), "old");
    assert_eq!(fs::metadata(&script).unwrap().nlink(), 1);
}

#[tokio::test]
async fn a_setuid_bit_is_not_passed_to_new_content() {
    let (dir, fs) = fresh();
    fs::write(dir.path().join("tool"), "old").unwrap();
    set_mode(dir.path().join("tool"), 0o4755);
    fs.write_file(&path("/tool"), "new").await.unwrap();
    let bits = fs::metadata(dir.path().join("tool")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(bits, 0o755);
}

#[tokio::test]
async fn a_file_without_write_permission_is_not_replaced() {
    let (dir, fs) = fresh();
    fs::write(dir.path().join("sealed"), "old").unwrap();
    set_mode(dir.path().join("sealed"), 0o444);
    let written = fs.write_file(&path("/sealed"), "new").await;
    if rustix::process::geteuid().is_root() {
        // To the superuser the bits mean nothing, here as everywhere.
        assert_eq!(written.unwrap().mode, Some(0o444));
    } else {
        assert_eq!(written.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(fs.read_to_string(&path("/sealed")).await.unwrap(), "old");
    }
}

#[tokio::test]
async fn new_files_and_directories_obey_the_umask() {
    let (dir, fs) = fresh();
    fs::write(dir.path().join("by std"), "").unwrap();
    fs::create_dir(dir.path().join("dir by std")).unwrap();
    fs.write_file(&path("/by us"), "").await.unwrap();
    fs.mkdir(&path("/dir by us"), MkdirOptions::default()).await.unwrap();
    assert_eq!(mode(dir.path().join("by us")), mode(dir.path().join("by std")));
    assert_eq!(mode(dir.path().join("dir by us")), mode(dir.path().join("dir by std")));
}

#[tokio::test]
async fn a_write_through_a_link_inside_writes_the_target() {
    let (dir, fs) = fresh();
    fs::create_dir(dir.path().join("sub")).unwrap();
    symlink("sub/target", dir.path().join("link")).unwrap();
    // Dangling at first: the target is created, as with open(2).
    let versions = [
        fs.write_file(&path("/link"), "1").await.unwrap().version.unwrap(),
        fs.append(&path("/link"), "2").await.unwrap().version.unwrap(),
    ];
    assert_ne!(versions[0], versions[1]);
    let matching = WriteMode::IfMatch(versions[1].clone());
    fs.write(&path("/link"), Bytes::from("3"), matching.into()).await.unwrap();
    assert!(fs::symlink_metadata(dir.path().join("link")).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(dir.path().join("sub/target")).unwrap(), "3");
    let error = fs.create_new(&path("/link"), "4").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn rm_and_rename_take_the_link_itself() {
    let (dir, fs) = fresh();
    fs.write_file(&path("/target"), "t").await.unwrap();
    fs.mkdir(&path("/dir"), MkdirOptions::default()).await.unwrap();
    fs.write_file(&path("/dir/kept"), "k").await.unwrap();
    symlink("target", dir.path().join("link")).unwrap();
    symlink("dir", dir.path().join("dirlink")).unwrap();
    fs.rename(&path("/link"), &path("/moved"), TransferOptions::default()).await.unwrap();
    assert_eq!(fs::read_link(dir.path().join("moved")).unwrap(), Path::new("target"));
    fs.rm(&path("/moved"), RemoveOptions::default()).await.unwrap();
    fs.rm(&path("/dirlink"), RemoveOptions::recursive()).await.unwrap();
    assert_eq!(fs.read_to_string(&path("/target")).await.unwrap(), "t");
    assert_eq!(fs.read_to_string(&path("/dir/kept")).await.unwrap(), "k");
}

#[tokio::test]
async fn a_rename_onto_another_name_of_the_same_file_leaves_one_name() {
    let (dir, fs) = fresh();
    fs.write_file(&path("/a"), "x").await.unwrap();
    fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
    fs.rename(&path("/a"), &path("/b"), TransferOptions::default()).await.unwrap();
    assert_eq!(names(dir.path()), ["b"]);
    // One entry by two paths is not two names.
    fs::create_dir(dir.path().join("d")).unwrap();
    symlink("d", dir.path().join("l")).unwrap();
    fs::hard_link(dir.path().join("b"), dir.path().join("d/f")).unwrap();
    fs.rename(&path("/l/f"), &path("/d/f"), TransferOptions::default()).await.unwrap();
    assert_eq!(names(&dir.path().join("d")), ["f"]);
}

#[tokio::test]
async fn a_listing_shows_links_as_links_and_does_not_enter_them() {
    let (dir, fs) = fresh();
    fs.write(&path("/d/file"), Bytes::from("12345"), WriteOptions::default().with_create_parents())
        .await
        .unwrap();
    symlink("..", dir.path().join("d/up")).unwrap();
    symlink("/nowhere", dir.path().join("dangling")).unwrap();
    let mut seen: Vec<_> = fs
        .walk(&ResourcePath::root())
        .map_ok(|entry| (entry.path.unwrap().to_string(), entry.metadata.kind, entry.metadata.len))
        .try_collect()
        .await
        .unwrap();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let kinds: Vec<_> = seen.iter().map(|(path, kind, _)| (path.as_str(), *kind)).collect();
    let expected = [
        ("/d", FileKind::Directory),
        ("/d/file", FileKind::File),
        ("/d/up", FileKind::Symlink),
        ("/dangling", FileKind::Symlink),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(seen[1].2, 5);
}

#[tokio::test]
async fn ten_thousand_entries_are_listed_once_each() {
    let (dir, fs) = fresh();
    fs::create_dir(dir.path().join("d")).unwrap();
    for i in 0..10_000 {
        fs::File::create(dir.path().join(format!("d/entry number {i}"))).unwrap();
    }
    let entries: Vec<_> = fs.list(&path("/d"), ListOptions::default()).try_collect().await.unwrap();
    let mut numbers: Vec<usize> =
        entries.iter().map(|entry| entry.name.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10_000).collect::<Vec<_>>());
    let mut listing = fs.list(&ResourcePath::root(), ListOptions::recursive());
    assert!(listing.next().await.unwrap().is_ok());
    drop(listing);
    fs.rm(&path("/d"), RemoveOptions::recursive()).await.unwrap();
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn names_that_are_no_paths_are_listed_copied_and_removed() {
    let (dir, fs) = fresh();
    let odd = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::create_dir_all(dir.path().join("d").join(odd)).unwrap();
    fs::write(dir.path().join("d").join(odd).join("inner"), "content").unwrap();
    let entries: Vec<_> = fs.walk(&path("/d")).try_collect().await.unwrap();
    let mut shown: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.path.clone())).collect();
    shown.sort_by_key(|(name, _)| *name);
    assert_eq!(shown, [("caf\u{fffd}", None), ("inner", None)]);
    fs.copy(&path("/d"), &path("/e"), TransferOptions::default()).await.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("e").join(odd).join("inner")).unwrap(), "content");
    fs.rm(&path("/d"), RemoveOptions::recursive()).await.unwrap();
    assert_eq!(names(dir.path()), ["e"]);
}

#[tokio::test]
async fn a_tree_deeper_than_any_path_can_be_walked_copied_and_removed() {
    let (dir, fs) = fresh();
    // 1100 levels of four letters: no path of the host reaches the bottom, nor would 1024 open files.
    let top = dir.path().join("deep");
    fs::create_dir(&top).unwrap();
    let mut at = rustix::fs::open(&top, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    for _ in 0..1100 {
        rustix::fs::mkdirat(&at, "down", rustix::fs::Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "down", rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    }
    let count = |fs: LocalFileSystem, top: &'static str| async move {
        fs.walk(&path(top)).map(Result::unwrap).count().await
    };
    assert_eq!(count(fs.clone(), "/deep").await, 1100);
    fs.copy(&path("/deep"), &path("/copy"), TransferOptions::default()).await.unwrap();
    assert_eq!(count(fs.clone(), "/copy").await, 1100);
    for tree in ["/deep", "/copy"] {
        fs.rm(&path(tree), RemoveOptions::recursive()).await.unwrap();
    }
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn a_copy_keeps_links_modes_and_special_files() {
    let (dir, fs) = fresh();
    fs::create_dir_all(dir.path().join("a/sealed")).unwrap();
    fs::write(dir.path().join("a/run.sh"), "#!").unwrap();
    set_mode(dir.path().join("a/run.sh"), 0o700);
    symlink("/etc/passwd", dir.path().join("a/link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("a/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    set_mode(dir.path().join("a/sealed"), 0o500);
    fs.copy(&path("/a"), &path("/b"), TransferOptions::default()).await.unwrap();
    assert_eq!(names(&dir.path().join("b")), ["fifo", "link", "run.sh", "sealed"]);
    assert_eq!(mode(dir.path().join("b/run.sh")), 0o700);
    assert_eq!(mode(dir.path().join("b/sealed")), 0o500);
    assert_eq!(fs::read_link(dir.path().join("b/link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs.metadata(&path("/b/fifo")).await.unwrap().kind, FileKind::Other);
    let error = fs.copy(&path("/a"), &path("/b"), TransferOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(dir.path()), ["a", "b"]);
}

#[tokio::test]
async fn a_directory_is_not_copied_into_itself_by_way_of_a_link() {
    let (dir, fs) = fresh();
    fs::create_dir(dir.path().join("a")).unwrap();
    fs::write(dir.path().join("a/f"), "").unwrap();
    symlink("a", dir.path().join("l")).unwrap();
    for to in ["/a/copy", "/l/copy"] {
        let error = fs.copy(&path("/a"), &path(to), TransferOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{to}");
        let error = fs.rename(&path("/a"), &path(to), TransferOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{to}");
    }
    assert_eq!(names(&dir.path().join("a")), ["f"]);
}

#[tokio::test]
async fn a_large_copy_and_a_large_read_are_whole() {
    let (dir, fs) = fresh();
    let content: Vec<u8> = (0..5_000_003_u32).map(|i| (i % 251) as u8).collect();
    let mut writer = fs.writer(&path("/big"), WriteOptions::default()).await.unwrap();
    for piece in content.chunks(70_001) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert!(fs.readdir(&ResourcePath::root()).await.unwrap().is_empty());
    assert_eq!(writer.close().await.unwrap().len, 5_000_003);
    fs.copy(&path("/big"), &path("/copy"), TransferOptions::default()).await.unwrap();
    assert!(fs::read(dir.path().join("copy")).unwrap() == content);
    assert!(fs.read_file(&path("/big")).await.unwrap() == content);
    let part = fs.read_range(&path("/big"), 1_000_001..4_000_000).await.unwrap();
    assert!(part == content[1_000_001..4_000_000]);
}

#[tokio::test]
async fn a_body_comes_in_one_piece_or_in_pieces_of_a_mebibyte() {
    let (dir, fs) = fresh();
    let content: Vec<u8> = (0..(17_u32 << 20) + 3).map(|i| (i % 251) as u8).collect();
    fs::write(dir.path().join("f"), &content).unwrap();
    for (range, pieces) in [(0..17 << 20, 17), (5..(17 << 20) + 3, 17), (3..(16 << 20) + 3, 1), (7..7, 0)] {
        let options = ReadOptions::default().with_range(range.clone());
        let read = fs.read(&path("/f"), options).await.unwrap();
        assert_eq!(read.range, range);
        let body: Vec<Bytes> = read.body.try_collect().await.unwrap();
        assert_eq!(body.len(), pieces);
        let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        assert!(body.concat() == content[start..end]);
    }
    assert!(fs.read_file(&path("/f")).await.unwrap() == content);
}

#[tokio::test]
async fn a_file_that_shrinks_under_a_reader_is_truncated() {
    let (dir, fs) = fresh();
    for size in [4, 20] {
        fs::write(dir.path().join("f"), vec![7; size << 20]).unwrap();
        let mut read = fs.read(&path("/f"), ReadOptions::default()).await.unwrap();
        if size == 20 {
            assert_eq!(read.body.next().await.unwrap().unwrap().len(), 1 << 20);
        }
        fs::File::options().write(true).open(dir.path().join("f")).unwrap().set_len(10).unwrap();
        // What was read ahead is still given.
        let mut pieces = read.body.by_ref().skip_while(|piece| std::future::ready(piece.is_ok()));
        let error = pieces.next().await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Truncated, Some("/f")));
        assert!(pieces.next().await.is_none());
    }
}

#[tokio::test]
async fn a_replaced_file_is_still_read_as_it_was() {
    let (_dir, fs) = fresh();
    fs.write_file(&path("/f"), vec![1; 3 << 20]).await.unwrap();
    let read = fs.read(&path("/f"), ReadOptions::default()).await.unwrap();
    fs.write_file(&path("/f"), vec![2; 5 << 20]).await.unwrap();
    assert!(read.bytes(u64::MAX).await.unwrap() == vec![1; 3 << 20]);
}

#[tokio::test]
async fn unfinished_and_failed_writes_leave_nothing() {
    let (dir, fs) = fresh();
    fs.write_file(&path("/taken"), "1").await.unwrap();
    let options = WriteOptions::default().with_create_parents();
    let mut dropped = fs.writer(&path("/new/dir/file"), options.clone()).await.unwrap();
    dropped.write(Bytes::from(vec![0; 1 << 20])).await.unwrap();
    drop(dropped);
    let mut aborted = fs.writer(&path("/new/dir/file"), options.clone()).await.unwrap();
    aborted.write(Bytes::from(vec![0; 1 << 20])).await.unwrap();
    aborted.abort().await.unwrap();
    fs.create_new(&path("/taken"), "2").await.unwrap_err();
    let late = fs.writer(&path("/late"), WriteMode::CreateNew.into()).await.unwrap();
    fs.write_file(&path("/late"), "first").await.unwrap();
    assert_eq!(late.close().await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let stale = fs.metadata(&path("/taken")).await.unwrap().version.unwrap();
    fs.write_file(&path("/taken"), "3").await.unwrap();
    let condition = options.with_mode(WriteMode::IfMatch(stale));
    let error = fs.write(&path("/taken"), Bytes::from("4"), condition.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConditionFailed);
    let error = fs.write(&path("/no/such"), Bytes::from("4"), condition).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConditionFailed);
    assert_eq!(names(dir.path()), ["late", "taken"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_racers_one_wins_and_no_increment_is_lost() {
    let (dir, fs) = fresh();
    let fs = Arc::new(fs);
    let racers = (0..16).map(|i| {
        let fs = Arc::clone(&fs);
        tokio::spawn(async move { fs.create_new(&path("/one"), format!("racer {i}")).await })
    });
    let results: Vec<_> = futures::future::join_all(racers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let losers = results.iter().filter_map(|result| result.as_ref().err());
    assert!(losers.into_iter().all(|error| error.kind() == ErrorKind::AlreadyExists));

    assert_eq!(fs.capabilities().if_match, Some(ConditionStrength::Cooperative));
    fs.write_file(&path("/count"), "0").await.unwrap();
    let counters = (0..16).map(|_| {
        let fs = Arc::clone(&fs);
        tokio::spawn(async move {
            let mut added = 0;
            while added < 20 {
                let read = fs.read(&path("/count"), ReadOptions::default()).await.unwrap();
                let version = read.metadata.version.clone().unwrap();
                let bytes = read.bytes(100).await.unwrap();
                let count: u32 = std::str::from_utf8(&bytes).unwrap().parse().unwrap();
                let next = Bytes::from((count + 1).to_string());
                match fs.write(&path("/count"), next, WriteMode::IfMatch(version).into()).await {
                    Ok(_) => added += 1,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ConditionFailed),
                }
            }
        })
    });
    for counter in futures::future::join_all(counters).await {
        counter.unwrap();
    }
    assert_eq!(fs.read_to_string(&path("/count")).await.unwrap(), "320");

    let appenders = (0..16).map(|i| {
        let fs = Arc::clone(&fs);
        tokio::spawn(async move {
            for _ in 0..20 {
                fs.append(&path("/log"), format!("{}\n", i.to_string().repeat(5000))).await.unwrap();
            }
        })
    });
    for appender in futures::future::join_all(appenders).await {
        appender.unwrap();
    }
    let log = fs.read_to_string(&path("/log")).await.unwrap();
    assert_eq!(log.lines().count(), 320);
    for line in log.lines() {
        let number = &line[..line.len() / 5000];
        assert_eq!(line, number.repeat(5000));
    }
    assert_eq!(names(dir.path()), ["count", "log", "one"]);
}

#[tokio::test]
async fn versions_never_repeat_though_inodes_do() {
    let (_dir, fs) = fresh();
    let mut seen = std::collections::HashSet::new();
    for i in 0..300 {
        let written = fs.write_file(&path("/f"), (i % 10).to_string()).await.unwrap();
        let found = fs.metadata(&path("/f")).await.unwrap();
        assert_eq!(written, found);
        assert!(seen.insert(written.version.unwrap()));
    }
}

#[tokio::test]
async fn a_stranger_with_the_lock_makes_changes_busy_but_not_reads() {
    use rustix::fs::{FlockOperation, flock};
    let (dir, fs) = fresh();
    fs.write_file(&path("/f"), "1").await.unwrap();
    let stranger = fs::File::open(dir.path()).unwrap();
    flock(&stranger, FlockOperation::LockExclusive).unwrap();
    assert_eq!(fs.read_to_string(&path("/f")).await.unwrap(), "1");
    // Nothing else writes in a sub-directory's way.
    let options = WriteOptions::default().with_create_parents();
    fs.write(&path("/sub/f"), Bytes::from("2"), options).await.unwrap();
    let fs = Arc::new(fs);
    let writing = tokio::spawn({
        let fs = Arc::clone(&fs);
        async move { fs.append(&path("/f"), "2").await }
    });
    tokio::task::yield_now().await;
    assert!(!writing.is_finished());
    flock(&stranger, FlockOperation::Unlock).unwrap();
    writing.await.unwrap().unwrap();
    assert_eq!(fs.read_to_string(&path("/f")).await.unwrap(), "12");
}

#[tokio::test]
async fn unfinished_writes_of_others_are_hidden_and_go_with_their_directory() {
    let (dir, fs) = fresh();
    let left = ".agentx-0123456789abcdef.tmp";
    fs::create_dir(dir.path().join("d")).unwrap();
    fs::write(dir.path().join("d").join(left), "killed half way").unwrap();
    assert!(fs.readdir(&path("/d")).await.unwrap().is_empty());
    let reserved = path("/d").join(left).unwrap();
    assert_eq!(fs.write_file(&reserved, "").await.unwrap_err().kind(), ErrorKind::InvalidPath);
    let error = fs.mkdir(&path(&format!("/{left}/x")), MkdirOptions::recursive()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPath);
    fs.rm(&path("/d"), RemoveOptions::default()).await.unwrap();
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn full_durability_does_the_same() {
    let (dir, fs) = fresh();
    for durability in [Durability::Data, Durability::Full] {
        let fs = fs.clone().with_durability(durability);
        let options = WriteOptions::default().with_create_parents();
        fs.write(&path("/a/b/c"), Bytes::from("1"), options).await.unwrap();
        fs.append(&path("/a/b/c"), "2").await.unwrap();
        fs.mkdir(&path("/a/d"), MkdirOptions::default()).await.unwrap();
        fs.mkdir(&path("/a/d/e/f"), MkdirOptions::recursive()).await.unwrap();
        fs.rm(&path("/a/d/e/f"), RemoveOptions::default()).await.unwrap();
        fs.rename(&path("/a/b/c"), &path("/a/c"), TransferOptions::default()).await.unwrap();
        fs.copy(&path("/a"), &path("/copy"), TransferOptions::default()).await.unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("copy/c")).unwrap(), "12");
        assert_eq!(names(&dir.path().join("copy/d")), ["e"]);
        fs.rm_all(&path("/a")).await.unwrap();
        fs.rm_all(&path("/copy")).await.unwrap();
    }
}

#[test]
fn it_works_without_a_tokio_runtime() {
    let (_dir, fs) = fresh();
    futures::executor::block_on(async {
        fs.write_file(&path("/f"), vec![1; 3 << 20]).await.unwrap();
        assert_eq!(fs.read_file(&path("/f")).await.unwrap().len(), 3 << 20);
        assert_eq!(fs.readdir(&ResourcePath::root()).await.unwrap().len(), 1);
    });
}

#[tokio::test]
async fn what_a_killed_host_left_unfinished_is_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let files = LocalFileSystem::open(dir.path()).unwrap();
    let left = dir.path().join("a/.agentx-0123456789abcdef.tmp");
    fs::create_dir_all(left.join("deep/er")).unwrap();
    fs::write(left.join("deep/er/file"), "x").unwrap();
    fs::write(dir.path().join("a/.agentx-fedcba9876543210.tmp"), "x").unwrap();
    // What only looks like it, and what is elsewhere, stays.
    for kept in ["a/.agentx-0123.tmp", ".agentx-0123456789abcdef.tmp"] {
        fs::write(dir.path().join(kept), "x").unwrap();
    }
    let path = ResourcePath::new("/a").unwrap();
    assert_eq!(files.clear_unfinished(&path).await.unwrap(), 2);
    assert_eq!(files.clear_unfinished(&path).await.unwrap(), 0);
    assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
    assert!(dir.path().join(".agentx-0123456789abcdef.tmp").exists());
    let missing = files.clear_unfinished(&ResourcePath::new("/b").unwrap()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

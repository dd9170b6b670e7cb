use futures::{StreamExt, TryStreamExt, executor::block_on};

use super::*;
use crate::{
    ErrorKind, FileSystemExt, ListOptions, MkdirOptions, RemoveOptions, TransferOptions, WriteMode,
    layer::ReadOnly, memory::MemoryFileSystem,
};

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

struct Trees {
    fs: Arc<dyn FileSystem>,
    root: MemoryFileSystem,
    one: MemoryFileSystem,
    two: MemoryFileSystem,
}

/// `one` at `/m/one` and `two` below it, at `/m/one/in/two`.
fn trees() -> Trees {
    let (root, one, two) = (MemoryFileSystem::new(), MemoryFileSystem::new(), MemoryFileSystem::new());
    let route = Route::new()
        .with_mount(path("/m/one"), Arc::new(one.clone()))
        .with_mount(path("/m/one/in/two"), Arc::new(two.clone()));
    Trees { fs: route.layer(Arc::new(root.clone())), root, one, two }
}

async fn tree(fs: &impl FileSystem, at: &str) -> Vec<String> {
    let entries: Vec<_> = fs.walk(&path(at)).try_collect().await.unwrap();
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path.unwrap().to_string()).collect();
    paths.sort_unstable();
    paths
}

#[test]
fn the_longest_place_decides() {
    let Trees { fs, root, one, two } = trees();
    block_on(async {
        for at in ["/m/one/a", "/m/one/in/two/a", "/m/onea", "/a"] {
            fs.write_file(&path(at), at).await.unwrap();
        }
        assert_eq!(one.read_to_string(&path("/a")).await.unwrap(), "/m/one/a");
        assert_eq!(two.read_to_string(&path("/a")).await.unwrap(), "/m/one/in/two/a");
        assert_eq!(root.read_to_string(&path("/m/onea")).await.unwrap(), "/m/onea");
        let error = fs.read_file(&path("/m/one/in/two/x")).await.unwrap_err();
        assert_eq!(error.path(), Some("/m/one/in/two/x"));
    });
}

#[test]
fn mounts_and_the_ways_to_them_are_listed_once() {
    let Trees { fs, root, one, two } = trees();
    block_on(async {
        assert_eq!(tree(&fs, "/").await, ["/m", "/m/one", "/m/one/in", "/m/one/in/two"]);
        two.write_file(&path("/f"), "x").await.unwrap();
        one.mkdir(&path("/in/two/hidden"), MkdirOptions::recursive()).await.unwrap();
        one.write_file(&path("/in/beside"), "x").await.unwrap();
        root.write_file(&path("/m"), "a file in the way").await.unwrap();
        let expected = ["/m", "/m/one", "/m/one/in", "/m/one/in/beside", "/m/one/in/two", "/m/one/in/two/f"];
        assert_eq!(tree(&fs, "/").await, expected);
        assert_eq!(tree(&fs, "/m/one/in").await, expected[3..]);
        let names: Vec<_> =
            fs.readdir(&path("/m/one/in")).await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["beside", "two"]);
        assert!(fs.metadata(&path("/m")).await.unwrap().is_dir());
        let mut missing = fs.list(&path("/x"), ListOptions::recursive());
        assert_eq!(missing.next().await.unwrap().unwrap_err().kind(), ErrorKind::NotFound);
        assert!(missing.next().await.is_none());
    });
}

#[test]
fn mounts_and_the_ways_to_them_stay() {
    let Trees { fs, one, .. } = trees();
    block_on(async {
        for at in ["/m", "/m/one", "/m/one/in", "/m/one/in/two"] {
            let at = path(at);
            let removed = fs.rm(&at, RemoveOptions::recursive().with_force()).await.unwrap_err();
            assert_eq!((removed.kind(), removed.path()), (ErrorKind::InvalidInput, Some(at.as_str())));
            let moved = fs.rename(&at, &path("/x"), TransferOptions::default()).await.unwrap_err();
            assert_eq!(moved.kind(), ErrorKind::InvalidInput);
            assert_eq!(fs.write_file(&at, "x").await.unwrap_err().kind(), ErrorKind::IsADirectory);
            assert_eq!(fs.create_new(&at, "x").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(fs.read_file(&at).await.unwrap_err().kind(), ErrorKind::IsADirectory);
            let made = fs.mkdir(&at, MkdirOptions::default()).await.unwrap_err();
            assert_eq!(made.kind(), ErrorKind::AlreadyExists);
            fs.mkdir(&at, MkdirOptions::recursive()).await.unwrap();
        }
        assert_eq!(tree(&one, "/").await, [""; 0]);
    });
}

#[test]
fn a_copy_goes_from_one_file_system_to_another() {
    let Trees { fs, root, one, two } = trees();
    block_on(async {
        root.mkdir(&path("/d/empty"), MkdirOptions::recursive()).await.unwrap();
        root.write_file(&path("/d/f"), "content").await.unwrap();
        fs.copy(&path("/d"), &path("/m/one/d"), TransferOptions::default()).await.unwrap();
        assert_eq!(tree(&one, "/").await, ["/d", "/d/empty", "/d/f"]);
        fs.copy(&path("/d/f"), &path("/m/one/in/two/f"), TransferOptions::default()).await.unwrap();
        assert_eq!(two.read_to_string(&path("/f")).await.unwrap(), "content");
        let error =
            fs.copy(&path("/d/f"), &path("/m/one/d/f"), TransferOptions::create_new()).await.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::AlreadyExists, "copy"));
        let error = fs.copy(&path("/d"), &path("/m/one/d"), TransferOptions::default()).await.unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::AlreadyExists, Some("/m/one/d")));
        // A directory that holds mounts is copied with what they show.
        fs.copy(&path("/m"), &path("/whole"), TransferOptions::default()).await.unwrap();
        let expected = ["/whole", "/whole/one", "/whole/one/d", "/whole/one/d/empty", "/whole/one/d/f"];
        assert_eq!(tree(&root, "/").await[3..8], expected);
        assert_eq!(root.read_to_string(&path("/whole/one/in/two/f")).await.unwrap(), "content");
        let into = fs.copy(&path("/m"), &path("/m/one/x"), TransferOptions::default()).await.unwrap_err();
        assert_eq!(into.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_rename_from_one_file_system_to_another_is_refused() {
    let Trees { fs, root, one, .. } = trees();
    block_on(async {
        root.write_file(&path("/f"), "x").await.unwrap();
        let error = fs.rename(&path("/f"), &path("/m/one/f"), TransferOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("\"/m/one\""), "{error}");
        assert!(root.exists(&path("/f")).await.unwrap() && !one.exists(&path("/f")).await.unwrap());
    });
}

#[test]
fn the_way_to_a_mount_is_a_directory_to_write_in() {
    let Trees { fs, root, one, .. } = trees();
    block_on(async {
        fs.write_file(&path("/m/f"), "x").await.unwrap();
        fs.rename(&path("/m/f"), &path("/m/g"), TransferOptions::default()).await.unwrap();
        fs.mkdir(&path("/m/one/in/d"), MkdirOptions::default()).await.unwrap();
        assert_eq!(tree(&root, "/").await, ["/m", "/m/g"]);
        assert_eq!(tree(&one, "/").await, ["/in", "/in/d"]);
        let missing = fs.rename(&path("/m/x"), &path("/m/y"), TransferOptions::default()).await.unwrap_err();
        assert_eq!((missing.kind(), missing.operation()), (ErrorKind::NotFound, "rename"));
    });
}

#[test]
fn capabilities_are_those_that_all_have() {
    let root: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
    let limited: Arc<dyn FileSystem> = Arc::new(crate::layer::tests::Basic(MemoryFileSystem::new()));
    let fs = Route::new().with_mount(path("/m"), ReadOnly.layer(limited)).layer(root);
    assert_eq!(fs.capabilities(), crate::FsCapabilities::new());
    block_on(async {
        assert_eq!(fs.append(&path("/a"), "x").await.unwrap_err().kind(), ErrorKind::Unsupported);
        let version = fs.write_file(&path("/a"), "x").await.unwrap().version.unwrap();
        let written = fs.write(&path("/a"), "y".into(), WriteMode::IfMatch(version).into()).await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::Unsupported);
    });
}

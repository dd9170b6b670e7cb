use futures::{TryStreamExt, executor::block_on};

use super::*;
use crate::{
    ErrorKind, FileSystemExt, MkdirOptions, RemoveOptions, ResourcePath, TransferOptions, WriteMode,
    memory::MemoryFileSystem,
};

fn path(path: &str) -> ResourcePath {
    ResourcePath::new(path).unwrap()
}

async fn put(fs: &dyn FileSystem, at: &str, content: &'static str) {
    let options = crate::WriteOptions::default().with_create_parents();
    fs.write(&path(at), content.into(), options).await.unwrap();
}

/// All files with their content, and all directories.
async fn tree(fs: &impl FileSystem) -> Vec<String> {
    let entries: Vec<_> = fs.walk(&path("/")).try_collect().await.unwrap();
    let mut lines = Vec::new();
    for entry in entries {
        let at = entry.path.unwrap();
        if entry.metadata.is_dir() {
            lines.push(format!("{at}/"));
        } else {
            lines.push(format!("{at}={}", fs.read_to_string(&at).await.unwrap()));
        }
    }
    lines.sort_unstable();
    lines
}

async fn changes(overlay: &Overlay) -> Vec<String> {
    let changes = overlay.diff().await.unwrap();
    changes.into_iter().map(|change| format!("{:?} {}", change.kind, change.path)).collect()
}

/// A base with some files, an overlay of it, and its upper.
async fn overlay() -> (MemoryFileSystem, Overlay, MemoryFileSystem) {
    let (base, upper) = (MemoryFileSystem::new(), MemoryFileSystem::new());
    for (at, content) in [("/a", "a"), ("/d/one", "1"), ("/d/two", "2"), ("/d/e/three", "3"), ("/f", "f")] {
        put(&base, at, content).await;
    }
    let overlay = Overlay::open(Arc::new(base.clone()), Arc::new(upper.clone())).await.unwrap();
    (base, overlay, upper)
}

/// Changes of every kind.
async fn change(overlay: &Overlay) {
    put(overlay, "/new/file", "n").await;
    put(overlay, "/d/one", "one").await;
    overlay.append(&path("/a"), "+").await.unwrap();
    overlay.rm(&path("/d/two"), RemoveOptions::default()).await.unwrap();
    overlay.rename(&path("/d/e"), &path("/moved"), TransferOptions::default()).await.unwrap();
    overlay.rm(&path("/f"), RemoveOptions::default()).await.unwrap();
    overlay.mkdir(&path("/f"), MkdirOptions::default()).await.unwrap();
    put(overlay, "/f/in", "i").await;
}

const CHANGED: [&str; 9] =
    ["/a=a+", "/d/", "/d/one=one", "/f/", "/f/in=i", "/moved/", "/moved/three=3", "/new/", "/new/file=n"];

#[test]
fn the_base_is_untouched_until_it_is_committed() {
    block_on(async {
        let (base, overlay, upper) = overlay().await;
        let before = tree(&base).await;
        change(&overlay).await;
        assert_eq!(tree(&overlay).await, CHANGED);
        assert_eq!(tree(&base).await, before);
        assert_eq!(
            changes(&overlay).await,
            [
                "Changed /a",
                "Removed /d/e",
                "Changed /d/one",
                "Removed /d/two",
                "Changed /f",
                "Added /f/in",
                "Added /moved",
                "Added /moved/three",
                "Added /new",
                "Added /new/file",
            ]
        );
        overlay.commit().await.unwrap();
        assert_eq!(tree(&base).await, CHANGED);
        assert_eq!(tree(&overlay).await, CHANGED);
        assert_eq!(changes(&overlay).await, [""; 0]);
        assert!(tree(&upper).await.iter().all(|line| line.starts_with("/.agentx-overlay")));
    });
}

#[test]
fn changes_outlive_the_overlay() {
    block_on(async {
        let (base, overlay, upper) = overlay().await;
        change(&overlay).await;
        let before = changes(&overlay).await;
        drop(overlay);
        let again = Overlay::open(Arc::new(base), Arc::new(upper)).await.unwrap();
        assert_eq!(tree(&again).await, CHANGED);
        assert_eq!(changes(&again).await, before);
    });
}

#[test]
fn what_was_removed_does_not_come_back_with_its_directory() {
    block_on(async {
        let (base, overlay, _) = overlay().await;
        overlay.rm(&path("/d"), RemoveOptions::recursive()).await.unwrap();
        assert_eq!(changes(&overlay).await, ["Removed /d"]);
        put(&overlay, "/d/two", "again").await;
        assert_eq!(tree(&overlay).await, ["/a=a", "/d/", "/d/two=again", "/f=f"]);
        assert_eq!(changes(&overlay).await, ["Removed /d/e", "Removed /d/one", "Changed /d/two"]);
        overlay.commit().await.unwrap();
        assert_eq!(tree(&base).await, ["/a=a", "/d/", "/d/two=again", "/f=f"]);
    });
}

#[test]
fn a_directory_may_become_a_file() {
    block_on(async {
        let (base, overlay, _) = overlay().await;
        overlay.rm(&path("/d"), RemoveOptions::recursive()).await.unwrap();
        put(&overlay, "/d", "file").await;
        assert_eq!(changes(&overlay).await, ["Changed /d"]);
        assert_eq!(overlay.metadata(&path("/d/one")).await.unwrap_err().kind(), ErrorKind::NotFound);
        overlay.commit().await.unwrap();
        assert_eq!(tree(&base).await, ["/a=a", "/d=file", "/f=f"]);
    });
}

#[test]
fn what_comes_and_goes_is_no_change() {
    block_on(async {
        let (_, overlay, _) = overlay().await;
        put(&overlay, "/x/y", "y").await;
        overlay.rm(&path("/x"), RemoveOptions::recursive()).await.unwrap();
        assert_eq!(changes(&overlay).await, [""; 0]);
    });
}

#[test]
fn versions_of_the_two_sides_differ() {
    block_on(async {
        let (base, overlay, _) = overlay().await;
        let old = overlay.metadata(&path("/a")).await.unwrap().version.unwrap();
        let new = overlay.write_file(&path("/a"), "b").await.unwrap().version.unwrap();
        assert_ne!(old, new);
        let stale = overlay.write(&path("/a"), "c".into(), WriteMode::IfMatch(old).into()).await;
        assert_eq!(stale.unwrap_err().kind(), ErrorKind::ConditionFailed);
        overlay.write(&path("/a"), "c".into(), WriteMode::IfMatch(new).into()).await.unwrap();
        // A condition of the base holds for the first change, too.
        let base_version = overlay.metadata(&path("/f")).await.unwrap().version.unwrap();
        overlay.write(&path("/f"), "g".into(), WriteMode::IfMatch(base_version).into()).await.unwrap();
        assert_eq!(base.read_to_string(&path("/f")).await.unwrap(), "f");
    });
}

#[test]
fn the_notes_are_out_of_reach() {
    block_on(async {
        let (_, overlay, upper) = overlay().await;
        overlay.rm(&path("/a"), RemoveOptions::default()).await.unwrap();
        let notes = path("/.agentx-overlay/removed");
        assert!(upper.exists(&notes).await.unwrap());
        assert!(!overlay.exists(&notes).await.unwrap());
        assert_eq!(overlay.read_file(&notes).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(overlay.write_file(&notes, "").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
        let moved = overlay.rename(&path("/f"), &notes, TransferOptions::default()).await;
        assert_eq!(moved.unwrap_err().kind(), ErrorKind::PermissionDenied);
        overlay.rm(&path("/.agentx-overlay"), RemoveOptions::recursive().with_force()).await.unwrap();
        assert!(upper.exists(&notes).await.unwrap());
    });
}

#[test]
fn a_note_that_was_cut_is_corrupt() {
    block_on(async {
        let (base, _, upper) = overlay().await;
        put(&upper, "/.agentx-overlay/removed", "/a\0/d/on").await;
        let error = Overlay::open(Arc::new(base), Arc::new(upper)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    });
}

/// A base with links to a file, to a directory and to nowhere.
async fn linked() -> (MemoryFileSystem, Overlay, MemoryFileSystem) {
    let (base, upper) = (MemoryFileSystem::new().with_symlinks("/"), MemoryFileSystem::new());
    put(&base, "/d/one", "1").await;
    for (target, at) in [("d/one", "/fl"), ("d", "/dl"), ("new", "/nowhere")] {
        base.symlink(target, &path(at)).unwrap();
    }
    let overlay = Overlay::open(Arc::new(base.clone()), Arc::new(upper.clone())).await.unwrap();
    (base, overlay, upper)
}

#[test]
fn nothing_is_changed_through_a_link_of_the_base() {
    block_on(async {
        let (base, overlay, upper) = linked().await;
        put(&overlay, "/file", "f").await;
        let before = (tree(&upper).await, changes(&overlay).await);
        for at in ["/fl", "/nowhere", "/dl/one", "/dl/new", "/dl/far/new", "/nowhere/new"] {
            for mode in [WriteMode::Overwrite, WriteMode::Append] {
                let options = crate::WriteOptions::from(mode).with_create_parents();
                let written = overlay.write(&path(at), "x".into(), options.clone()).await;
                assert_eq!(written.unwrap_err().kind(), ErrorKind::Unsupported, "{at} {options:?}");
                let writer = overlay.writer(&path(at), options).await;
                assert_eq!(writer.unwrap_err().kind(), ErrorKind::Unsupported, "{at}");
            }
            let moved = overlay.rename(&path("/file"), &path(at), TransferOptions::default()).await;
            let kind = moved.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::Unsupported | ErrorKind::NotFound), "{at}: {kind}");
            let copied = overlay.copy(&path("/file"), &path(at), TransferOptions::default()).await;
            let kind = copied.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::Unsupported | ErrorKind::NotFound), "{at}: {kind}");
        }
        let link = path("/nowhere");
        assert_eq!(overlay.create_new(&link, "x").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let made = overlay.mkdir(&link, MkdirOptions::recursive()).await;
        assert_eq!(made.unwrap_err().kind(), ErrorKind::AlreadyExists);
        let made = overlay.mkdir(&path("/dl/new"), MkdirOptions::default()).await;
        assert_eq!(made.unwrap_err().kind(), ErrorKind::Unsupported);
        let removed = overlay.rm(&path("/dl/one"), RemoveOptions::default()).await;
        assert_eq!(removed.unwrap_err().kind(), ErrorKind::Unsupported);
        let moved = overlay.rename(&path("/dl/one"), &path("/x"), TransferOptions::default()).await;
        assert_eq!(moved.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!((tree(&upper).await, changes(&overlay).await), before);
        // To read through one is another thing.
        overlay.copy(&path("/dl"), &path("/copy"), TransferOptions::default()).await.unwrap();
        assert_eq!(overlay.read_to_string(&path("/copy/one")).await.unwrap(), "1");
        assert_eq!(overlay.read_to_string(&path("/fl")).await.unwrap(), "1");
        assert_eq!(base.read_to_string(&path("/d/one")).await.unwrap(), "1");
    });
}

#[test]
fn what_is_no_file_is_not_written() {
    block_on(async {
        let (base, overlay, upper) = overlay().await;
        base.special(&path("/fifo")).unwrap();
        let written = overlay.write_file(&path("/fifo"), "x").await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::InvalidInput);
        let writer = overlay.writer(&path("/fifo"), crate::WriteOptions::default()).await;
        assert_eq!(writer.unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(tree(&upper).await, [""; 0]);
    });
}

#[test]
fn what_takes_the_place_of_a_link_is_not_committed_through_it() {
    block_on(async {
        let (base, overlay, _) = linked().await;
        for at in ["/fl", "/nowhere", "/dl"] {
            overlay.rm(&path(at), RemoveOptions::default()).await.unwrap();
        }
        put(&overlay, "/fl", "own").await;
        put(&overlay, "/nowhere", "own").await;
        put(&overlay, "/dl/one", "own").await;
        overlay.commit().await.unwrap();
        let expected = ["/d/", "/d/one=1", "/dl/", "/dl/one=own", "/fl=own", "/nowhere=own"];
        assert_eq!(tree(&base).await, expected);
        assert_eq!(tree(&overlay).await, expected);
    });
}

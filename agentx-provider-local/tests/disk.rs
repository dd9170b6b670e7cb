//! Directories as disks: what a mount makes, and what is left when it is given back.
#![cfg(test)]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use agentx_provider_local::{LocalDisk, LocalFileSystem};
use agentx_resource::{Disk, ErrorKind, FileSystemExt, Mounted, ResourcePath};

/// Until nothing is left in `parent`: a release does not wait for that.
async fn emptied(parent: &Path) {
    while fs::read_dir(parent).unwrap().count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_temporary_directory_lives_from_the_first_mount_to_the_last() {
    let parent = tempfile::tempdir().unwrap();
    let count = || fs::read_dir(parent.path()).unwrap().count();
    let disk = Arc::new(LocalDisk::temporary_in(parent.path()));
    assert_eq!(count(), 0);
    let first = Mounted::attach(disk.clone()).await.unwrap();
    let second = Mounted::attach(disk.clone()).await.unwrap();
    assert_eq!(first.point(), second.point());
    let dir = Path::new(first.point().as_str()).to_owned();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let fs = LocalFileSystem::open(&dir).unwrap();
    fs.write_file(&ResourcePath::new("/f").unwrap(), "x").await.unwrap();
    first.unmount().await.unwrap();
    assert!(dir.exists());
    drop(second);
    emptied(parent.path()).await;
    let third = Mounted::attach(disk.clone()).await.unwrap();
    assert_ne!(Path::new(third.point().as_str()), dir);
    third.unmount().await.unwrap();
    assert_eq!(count(), 0);
    assert_eq!(disk.unmount().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    disk.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_at_the_same_time_share_one_directory() {
    let parent = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::temporary_in(parent.path()));
    let mounts =
        futures::future::join_all((0..16).map(|_| tokio::spawn(Mounted::attach(disk.clone())))).await;
    let mounts: Vec<_> = mounts.into_iter().map(|mounted| mounted.unwrap().unwrap()).collect();
    assert!(mounts.iter().all(|mounted| mounted.point() == mounts[0].point()));
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    drop(mounts);
    emptied(parent.path()).await;
}

#[tokio::test]
async fn a_dropped_unmount_counts() {
    let parent = tempfile::tempdir().unwrap();
    let disk = LocalDisk::temporary_in(parent.path());
    disk.mount().await.unwrap();
    disk.mount().await.unwrap();
    let mut unmount = Box::pin(disk.unmount());
    let _ = futures::poll!(&mut unmount);
    drop(unmount);
    disk.unmount().await.unwrap();
    assert_eq!(disk.unmount().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_stays() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/b");
    let disk = LocalDisk::directory(&dir).with_name("workspace");
    assert_eq!(disk.name(), "workspace");
    assert_eq!(disk.unmount().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let point = disk.mount().await.unwrap();
    assert_eq!(Path::new(point.as_str()), dir.canonicalize().unwrap());
    disk.unmount().await.unwrap();
    assert!(dir.is_dir());
}

#[tokio::test]
async fn a_mount_that_fails_does_not_count() {
    let parent = tempfile::tempdir().unwrap();
    fs::write(parent.path().join("file"), "").unwrap();
    let disk = LocalDisk::directory(parent.path().join("file/x"));
    assert_eq!(disk.mount().await.unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(disk.unmount().await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let missing = LocalDisk::temporary_in(parent.path().join("missing"));
    assert_eq!(missing.mount().await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_release_leaves_nothing_whether_the_runtime_is_there_or_gone() {
    let parent = tempfile::tempdir().unwrap();
    let count = || fs::read_dir(parent.path()).unwrap().count();
    for inside in [true, false] {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let disk = Arc::new(LocalDisk::temporary_in(parent.path()));
        let mounted = runtime.block_on(Mounted::attach(disk)).unwrap();
        for index in 0..100 {
            fs::write(Path::new(mounted.point().as_str()).join(index.to_string()), "x").unwrap();
        }
        assert_eq!(count(), 1);
        if inside {
            runtime.block_on(async { drop(mounted) });
            drop(runtime);
        } else {
            drop(runtime);
            drop(mounted);
        }
        assert_eq!(count(), 0);
    }
}

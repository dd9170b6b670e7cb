//! A bucket as a directory that processes see.

use std::sync::Arc;

use agentx_provider_cloudflare::R2Disk;
use agentx_resource::{
    Disk, FileSystem, FileSystemExt, RemoveOptions, WriteOptions, memory::MemoryFileSystem,
    mirror::MirrorOptions,
};
use futures::{StreamExt, TryStreamExt, stream};

use crate::{fresh, path};

/// More than the 1000 objects of one page.
const FILES: usize = 1100;

#[tokio::test]
#[ignore = "needs workerd: cargo xtask test cloudflare"]
async fn a_sync_costs_by_the_page_and_brings_both_sides_together() {
    let bucket = fresh();
    bucket.write(&path("/a/0"), "0".into(), WriteOptions::default().with_create_parents()).await.unwrap();
    stream::iter(1..FILES)
        .map(|file| {
            let (bucket, at) = (bucket.clone(), path(&format!("/a/{file}")));
            async move { bucket.write_file(&at, file.to_string()).await }
        })
        .buffer_unordered(16)
        .try_for_each(|_| async { Ok(()) })
        .await
        .unwrap();
    let local = MemoryFileSystem::new();
    let disk = R2Disk::new(Arc::new(bucket.clone()), Arc::new(local.clone()), MirrorOptions::new("/m"));
    disk.mount().await.unwrap();
    assert_eq!(local.read_to_string(&path("/a/1099")).await.unwrap(), "1099");

    let before = bucket.usage().unwrap();
    disk.sync().await.unwrap().complete().unwrap();
    let used = bucket.usage().unwrap().since(&before);
    println!("a sync of {FILES} unchanged files: {used:?}");
    assert!((1..=4).contains(&used.billed()), "{used:?}");

    local.write_file(&path("/a/1"), "changed here").await.unwrap();
    bucket.write_file(&path("/a/2"), "changed there").await.unwrap();
    local.rm(&path("/a/3"), RemoveOptions::default()).await.unwrap();
    disk.unmount().await.unwrap();
    assert_eq!(bucket.read_to_string(&path("/a/1")).await.unwrap(), "changed here");
    assert_eq!(local.read_to_string(&path("/a/2")).await.unwrap(), "changed there");
    assert!(!bucket.exists(&path("/a/3")).await.unwrap());
}

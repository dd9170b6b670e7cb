use std::sync::Arc;

use agentx_resource::{
    Disk, FileSystem, Layer, MkdirOptions, MountPoint, ResourcePath, Result,
    layer::Chroot,
    mirror::{MirrorDisk, MirrorOptions, SyncReport},
};
use async_trait::async_trait;

/// A bucket as a directory that processes can see: a [`MirrorDisk`], which says what a sync does and what is never lost,
/// over a bucket and a local directory.
///
/// Lists and versions tell what has changed, so that a sync without changes costs one class A operation for each 1000
/// objects, and one read: of 10,000 files, eleven operations.
///
/// # Large trees
/// A mount copies everything that is new. Of a large bucket, mount the parts as they are needed: [`R2Disk::below`] is the
/// disk of one directory, which is listed and copied alone. Nothing is fetched when a process opens a file that is not
/// there yet; that takes a file system in the kernel.
///
/// ```
/// use std::sync::Arc;
///
/// use agentx_provider_cloudflare::{R2Disk, R2FileSystem, object_store::memory::InMemory};
/// use agentx_resource::{
///     FileSystemExt, Mounted, ResourcePath, WriteOptions, FileSystem,
///     memory::MemoryFileSystem,
///     mirror::MirrorOptions,
/// };
///
/// # futures::executor::block_on(async {
/// let bucket = R2FileSystem::new(Arc::new(InMemory::new())).with_if_match();
/// let (large, small) = (ResourcePath::new("/data/all.csv")?, ResourcePath::new("/src/a.rs")?);
/// for path in [&large, &small] {
///     bucket.write(path, "x".into(), WriteOptions::default().with_create_parents()).await?;
/// }
/// // In a program, a `LocalFileSystem` of the directory `/srv/work`.
/// let directory = MemoryFileSystem::new();
/// let disk = R2Disk::new(Arc::new(bucket), Arc::new(directory.clone()), MirrorOptions::new("/srv/work"));
/// let sources = Mounted::attach(Arc::new(disk.below(&ResourcePath::new("/src")?))).await?;
/// assert_eq!(sources.point().as_str(), "/srv/work/src");
/// assert!(directory.exists(&small).await? && !directory.exists(&large).await?);
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct R2Disk {
    bucket: Arc<dyn FileSystem>,
    local: Arc<dyn FileSystem>,
    options: MirrorOptions,
    mirror: MirrorDisk,
}

impl R2Disk {
    /// Mirrors `bucket`, an [`R2FileSystem`](super::R2FileSystem) or one with layers, into `local` and back. Nothing is
    /// done before the first mount or sync.
    pub fn new(bucket: Arc<dyn FileSystem>, local: Arc<dyn FileSystem>, options: MirrorOptions) -> Self {
        let mirror = MirrorDisk::new(Arc::clone(&bucket), Arc::clone(&local), options.clone());
        Self { bucket, local, options, mirror }
    }

    /// The disk of the directory `path` alone, which must be in the bucket: its files, its mount point below that of this
    /// one, its state in its own local tree. What the options include and exclude, it takes from this one.
    ///
    /// A directory belongs to one disk at a time: do not mount this one and one that holds it at once.
    pub fn below(&self, path: &ResourcePath) -> Self {
        let chroot = Chroot::new(path.clone());
        let mut options = self.options.clone();
        options.exclude = options.exclude.iter().filter_map(|other| inside(other, path)).collect();
        // What is included whole needs no word for its parts.
        let whole = options.include.iter().any(|other| path.starts_with(other));
        options.include.retain(|other| !whole && other.starts_with(path));
        options.include = options.include.iter().filter_map(|other| inside(other, path)).collect();
        if !path.is_root() {
            options.name = format!("{}/{}", options.name, path.relative());
            let point = options.mount_point.as_str().trim_end_matches('/');
            options.mount_point = MountPoint::new(format!("{point}/{}", path.relative()));
            options.state = None;
        }
        Self::new(chroot.layer(Arc::clone(&self.bucket)), chroot.layer(Arc::clone(&self.local)), options)
    }

    /// Makes both trees alike, mounted or not: as [`MirrorDisk::sync`].
    ///
    /// # Errors
    /// Those of [`MirrorDisk::sync`].
    pub async fn sync(&self) -> Result<SyncReport> {
        self.prepare().await?;
        self.mirror.sync().await
    }

    /// The report of the last sync that ended, be it of a mount, an unmount or by itself. Waits for one that runs.
    pub async fn last_report(&self) -> Option<SyncReport> {
        self.mirror.last_report().await
    }

    /// A local directory that is not there yet is one that nothing was copied to.
    async fn prepare(&self) -> Result<()> {
        self.local.mkdir(&ResourcePath::root(), MkdirOptions::recursive()).await
    }
}

/// What `path` is called below `base`.
fn inside(path: &ResourcePath, base: &ResourcePath) -> Option<ResourcePath> {
    ResourcePath::root().join(path.strip_prefix(base)?).ok()
}

#[async_trait]
impl Disk for R2Disk {
    fn name(&self) -> &str {
        &self.options.name
    }

    async fn mount(&self) -> Result<MountPoint> {
        self.prepare().await?;
        self.mirror.mount().await
    }

    async fn unmount(&self) -> Result<()> {
        self.mirror.unmount().await
    }

    fn release(&self) {
        self.mirror.release();
    }
}

#[cfg(test)]
mod tests {
    use agentx_resource::{
        FileSystemExt, WriteOptions,
        layer::Meter,
        memory::{ManualClock, MemoryFileSystem},
    };
    use futures::{StreamExt, TryStreamExt, stream};
    use object_store::memory::InMemory;

    use super::*;
    use crate::R2FileSystem;

    fn path(path: &str) -> ResourcePath {
        ResourcePath::new(path).unwrap()
    }

    async fn bucket(files: usize) -> Arc<dyn FileSystem> {
        let bucket = R2FileSystem::new(Arc::new(InMemory::new())).with_if_match();
        stream::iter(0..files)
            .map(|file| {
                let (bucket, options) = (bucket.clone(), WriteOptions::default().with_create_parents());
                async move { bucket.write(&path(&format!("/{}/{file}", file % 10)), "x".into(), options).await }
            })
            .buffered(1)
            .try_for_each(|_| async { Ok(()) })
            .await
            .unwrap();
        Arc::new(bucket)
    }

    #[tokio::test]
    async fn a_sync_of_ten_thousand_unchanged_files_is_a_handful_of_operations() {
        let meter = Meter::new(Arc::new(ManualClock::default()));
        let metered = meter.layer(bucket(10_000).await);
        let disk = R2Disk::new(metered, Arc::new(MemoryFileSystem::new()), MirrorOptions::new("/m"));
        assert_eq!(disk.sync().await.unwrap().pulled.files, 10_000);
        let before = meter.snapshot().total().operations;
        let report = disk.sync().await.unwrap();
        assert_eq!((report.pulled.files, report.pushed.files), (0, 0));
        let operations = meter.snapshot().total().operations - before;
        assert!((1..=3).contains(&operations), "{operations}: {:?}", meter.snapshot());
    }

    #[tokio::test]
    async fn a_part_is_mounted_alone_and_goes_back_to_its_place() {
        let (bucket, local) = (bucket(20).await, MemoryFileSystem::new());
        let options = MirrorOptions::new("/m").with_exclude(path("/3/13")).with_include(path("/3"));
        let disk = R2Disk::new(Arc::clone(&bucket), Arc::new(local.clone()), options).below(&path("/3"));
        assert_eq!((disk.name(), disk.mount().await.unwrap().as_str()), ("mirror/3", "/m/3"));
        let names = |entries: Vec<agentx_resource::DirEntry>| -> Vec<String> {
            entries.into_iter().map(|entry| entry.name).filter(|name| !name.starts_with(".agentx")).collect()
        };
        assert_eq!(names(local.readdir(&path("/")).await.unwrap()), ["3"]);
        assert_eq!(names(local.readdir(&path("/3")).await.unwrap()), ["3"]);
        local.write_file(&path("/3/new"), "y").await.unwrap();
        disk.unmount().await.unwrap();
        assert_eq!(bucket.read_to_string(&path("/3/new")).await.unwrap(), "y");
        // A part of a part.
        let deep = R2Disk::new(bucket, Arc::new(local), MirrorOptions::new("/m"))
            .below(&path("/5"))
            .below(&path("/x"));
        assert_eq!(deep.mount().await.unwrap_err().kind(), agentx_resource::ErrorKind::NotFound);
    }
}

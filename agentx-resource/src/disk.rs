use std::{fmt, mem, sync::Arc};

use async_trait::async_trait;

use crate::Result;

/// Storage that is mounted before use: a directory of this machine, a bucket.
///
/// `mount` may be called again while mounted: it counts, and the storage is let go when each `mount` has had its
/// `unmount` or `release`. [`Mounted`] does that by itself.
#[async_trait]
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// The disk's name.
    fn name(&self) -> &str;

    /// Makes the storage available and says where.
    ///
    /// # Errors
    /// Whatever the platform reports; nothing stays mounted then.
    async fn mount(&self) -> Result<MountPoint>;

    /// Gives back one `mount`, and waits until what was written is safe. The mount counts as given back from the
    /// first poll on, also when the future is dropped or ends with an error.
    ///
    /// # Errors
    /// `InvalidInput` when it is not mounted; whatever the platform reports.
    async fn unmount(&self) -> Result<()>;

    /// Gives back one `mount` at once, without waiting and without a result: for `Drop`. Does nothing when it is
    /// not mounted.
    fn release(&self);
}

/// Where a mounted disk is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MountPoint(String);

impl MountPoint {
    /// A mount point at `path`, as the host's processes see it.
    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A mounted disk. Dropping it releases the disk; [`Mounted::unmount`] does so and tells of errors.
#[derive(Debug)]
#[must_use = "dropping it releases the disk"]
pub struct Mounted {
    disk: Option<Arc<dyn Disk>>,
    point: MountPoint,
}

impl Mounted {
    /// Mounts `disk`.
    ///
    /// # Errors
    /// Those of [`Disk::mount`].
    pub async fn attach(disk: Arc<dyn Disk>) -> Result<Self> {
        let point = disk.mount().await?;
        Ok(Self { disk: Some(disk), point })
    }

    /// Where it is mounted.
    pub fn point(&self) -> &MountPoint {
        &self.point
    }

    /// Unmounts, and waits until what was written is safe.
    ///
    /// # Errors
    /// Those of [`Disk::unmount`].
    pub async fn unmount(mut self) -> Result<()> {
        match mem::take(&mut self.disk) {
            Some(disk) => disk.unmount().await,
            None => Ok(()),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(disk) = self.disk.take() {
            disk.release();
        }
    }
}

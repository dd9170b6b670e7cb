use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{PROVIDER, lock};
use crate::{Disk, Error, ErrorKind, MountPoint, Result};

/// A disk that stores nothing and counts its mounts. A clone is the same disk.
///
/// ```
/// use agentx_resource::{Mounted, memory::MemoryDisk};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let disk = MemoryDisk::new("scratch");
/// let mounted = Mounted::attach(Arc::new(disk.clone())).await?;
/// assert_eq!(mounted.point().as_str(), "/scratch");
/// drop(mounted);
/// assert_eq!(disk.mounts(), 0);
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    name: Arc<str>,
    mounts: Arc<Mutex<u64>>,
}

impl MemoryDisk {
    /// A disk that is mounted at `/name`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), mounts: Arc::default() }
    }

    /// How many mounts were not given back yet.
    pub fn mounts(&self) -> u64 {
        *lock(&self.mounts)
    }

    fn give_back(&self) -> bool {
        let mut mounts = lock(&self.mounts);
        let mounted = *mounts > 0;
        *mounts = mounts.saturating_sub(1);
        mounted
    }
}

#[async_trait]
impl Disk for MemoryDisk {
    fn name(&self) -> &str {
        &self.name
    }

    async fn mount(&self) -> Result<MountPoint> {
        *lock(&self.mounts) += 1;
        Ok(MountPoint::new(format!("/{}", self.name)))
    }

    async fn unmount(&self) -> Result<()> {
        if self.give_back() {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::InvalidInput, "unmount")
                .with_path(&self.name)
                .with_provider(PROVIDER)
                .with_message("not mounted"))
        }
    }

    fn release(&self) {
        self.give_back();
    }
}

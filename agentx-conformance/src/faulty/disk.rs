use std::sync::{Mutex, MutexGuard, PoisonError};

use agentx_resource::{Disk, Error, ErrorKind, MountPoint, Result};
use async_trait::async_trait;

use super::DiskFault as Fault;

/// A disk with one fault.
#[derive(Debug)]
pub struct FaultyDisk {
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often it is mounted; less than not at all where a release is owed.
    mounts: i64,
    ever: u64,
}

impl FaultyDisk {
    /// A disk that is not mounted, with this fault.
    pub fn new(fault: Fault) -> Self {
        Self { fault, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Disk for FaultyDisk {
    fn name(&self) -> &'static str {
        if self.fault == Fault::Nameless { "" } else { "faulty" }
    }

    async fn mount(&self) -> Result<MountPoint> {
        let mut state = self.state();
        if self.fault == Fault::MountsOnce && state.mounts == 0 && state.ever > 0 {
            return Err(Error::new(ErrorKind::Internal, "mount"));
        }
        state.ever += 1;
        state.mounts = if self.fault == Fault::DoesNotCount { 1 } else { state.mounts + 1 };
        let place = if self.fault == Fault::MountsElsewhere { state.ever } else { 1 };
        Ok(MountPoint::new(format!("/mnt/{place}")))
    }

    async fn unmount(&self) -> Result<()> {
        if self.fault == Fault::CountsLate {
            tokio::task::yield_now().await;
        }
        let mut state = self.state();
        if state.mounts > 0 {
            state.mounts -= 1;
        } else if self.fault != Fault::ForgivesUnmount {
            return Err(Error::new(ErrorKind::InvalidInput, "unmount"));
        }
        Ok(())
    }

    fn release(&self) {
        let mut state = self.state();
        if self.fault != Fault::IgnoresRelease && (state.mounts > 0 || self.fault == Fault::OwesRelease) {
            state.mounts -= 1;
        }
    }
}

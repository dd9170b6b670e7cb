use std::{
    thread,
    time::{Duration, Instant},
};

use agentx_resource::ErrorKind;
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{Done, Fault, resolve::Root};

/// How long a change waits for others in the same directory.
const PATIENCE: Duration = Duration::from_secs(10);

/// A lock on a directory, which every change of an entry by AgentX takes: shared by those who change without a
/// condition, exclusive where a condition must hold until the change is made. It leaves nothing on the disk.
#[derive(Debug)]
pub(super) struct DirLock<'d>(Option<BorrowedFd<'d>>);

impl<'d> DirLock<'d> {
    /// Keeps conditional changes out. Does nothing where the directory can't be locked: conditional changes are
    /// `Unsupported` there.
    pub(super) fn shared(root: &Root, dir: &'d impl AsFd) -> Done<Self> {
        if !root.locking {
            return Ok(Self(None));
        }
        match Self::take(dir.as_fd(), FlockOperation::NonBlockingLockShared) {
            // Another file system may be mounted below the root.
            Err(fault) if fault.kind() == ErrorKind::Unsupported => Ok(Self(None)),
            taken => taken,
        }
    }

    /// Keeps all other changes out.
    pub(super) fn exclusive(root: &Root, dir: &'d impl AsFd) -> Done<Self> {
        if !root.locking {
            return Err(cannot_lock());
        }
        Self::take(dir.as_fd(), FlockOperation::NonBlockingLockExclusive)
    }

    fn take(dir: BorrowedFd<'d>, operation: FlockOperation) -> Done<Self> {
        let start = Instant::now();
        // Asked again and again, since a wait inside flock could not be bounded: a stranger may never let go.
        let mut pause = Duration::from_micros(50);
        loop {
            match flock(dir, operation) {
                Ok(()) => return Ok(Self(Some(dir))),
                Err(Errno::WOULDBLOCK | Errno::INTR) if start.elapsed() < PATIENCE => {
                    thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(4));
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    return Err(Fault::new(
                        ErrorKind::Busy,
                        "another process holds the lock of the directory",
                    ));
                }
                // A network file system locks no directories, and says so in one of these ways.
                Err(Errno::BADF | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK) => {
                    return Err(cannot_lock());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn cannot_lock() -> Fault {
    Fault::new(ErrorKind::Unsupported, "the host can't lock this directory")
}

impl Drop for DirLock<'_> {
    fn drop(&mut self) {
        if let Some(dir) = self.0 {
            // Closing the directory lets go as well; this is only sooner, and holds also when a child process that
            // is just being started has a copy of the handle.
            let _ = flock(dir, FlockOperation::Unlock);
        }
    }
}

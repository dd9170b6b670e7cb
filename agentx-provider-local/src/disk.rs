use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use agentx_resource::{Disk, ErrorKind, MountPoint, Result};
use async_trait::async_trait;
use rustix::{
    fs::{Mode, OFlags, syncfs},
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use tokio::runtime::Handle;

use crate::{
    blocking::blocking,
    fs::{Done, Fault},
};

/// How many random names are tried for a temporary directory.
const ATTEMPTS: usize = 8;

/// A directory of this machine as a [`Disk`]: one that stays, or a temporary one.
///
/// A temporary directory is made by the first mount, for this user alone (`0o700`), and removed with all that is in it
/// when the last mount is given back. [`Disk::unmount`] waits for that and tells of errors; [`Disk::release`] leaves it
/// to the blocking pool, and does it in place where no tokio runtime is there (any more). A runtime that shuts down
/// finishes what has begun and removes the rest in place, so that nothing is left; only a process that ends without
/// dropping its runtime, or one shut down in the background, may leave a tree behind. A directory that stays is created by a mount where it is missing, and `unmount` waits until the host has written its device.
///
/// ```
/// use std::sync::Arc;
///
/// use agentx_provider_local::{LocalDisk, LocalFileSystem};
/// use agentx_resource::Mounted;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> agentx_resource::Result<()> {
/// let mounted = Mounted::attach(Arc::new(LocalDisk::temporary())).await?;
/// let fs = LocalFileSystem::open(mounted.point().as_str())?;
/// # drop(fs);
/// mounted.unmount().await
/// # }
/// ```
#[derive(Debug)]
pub struct LocalDisk {
    name: String,
    place: Place,
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(PathBuf),
    TemporaryIn(PathBuf),
}

#[derive(Debug, Default)]
struct State {
    mounts: usize,
    temporary: Option<Temporary>,
}

/// A directory that goes with this.
#[derive(Debug)]
struct Temporary(PathBuf);

impl LocalDisk {
    /// The directory at `path`. It is named after the path.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::new(path.display().to_string(), Place::Directory(path))
    }

    /// A temporary directory, where the host keeps such (`TMPDIR`).
    pub fn temporary() -> Self {
        Self::temporary_in(std::env::temp_dir())
    }

    /// A temporary directory in the existing directory `parent`.
    pub fn temporary_in(parent: impl Into<PathBuf>) -> Self {
        Self::new("temporary".to_owned(), Place::TemporaryIn(parent.into()))
    }

    /// With this name.
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    fn new(name: String, place: Place) -> Self {
        Self { name, place, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one mount back, and the temporary directory if nobody needs it any more.
    fn give_back(&self) -> Done<Option<Temporary>> {
        let mut state = self.state();
        state.mounts = state
            .mounts
            .checked_sub(1)
            .ok_or_else(|| Fault::new(ErrorKind::InvalidInput, "the disk is not mounted"))?;
        Ok(if state.mounts == 0 { state.temporary.take() } else { None })
    }

    fn told(&self, operation: &'static str) -> impl FnOnce(Fault) -> agentx_resource::Error {
        move |fault| fault.told(operation, &self.name)
    }
}

#[async_trait]
impl Disk for LocalDisk {
    fn name(&self) -> &str {
        &self.name
    }

    async fn mount(&self) -> Result<MountPoint> {
        {
            let mut state = self.state();
            if let Some(Temporary(path)) = &state.temporary {
                let point = point(path).map_err(self.told("mount"))?;
                state.mounts += 1;
                return Ok(point);
            }
        }
        let place = self.place.clone();
        let (path, made) = blocking(move |_| prepare(&place)).await.map_err(self.told("mount"))?;
        let mut state = self.state();
        let (point, surplus) = match (&state.temporary, made) {
            // Somebody else made one in the meantime.
            (Some(Temporary(path)), made) => (point(path), made),
            (None, made) => {
                let point = point(&path);
                state.temporary = made.filter(|_| point.is_ok());
                (point, None)
            }
        };
        state.mounts += usize::from(point.is_ok());
        drop(state);
        drop(surplus);
        point.map_err(self.told("mount"))
    }

    async fn unmount(&self) -> Result<()> {
        let temporary = self.give_back().map_err(self.told("unmount"))?;
        let place = self.place.clone();
        // Should this be dropped, what is captured is dropped too, and the directory goes with it.
        blocking(move |_| match (temporary, place) {
            (Some(temporary), _) => temporary.remove(),
            (None, Place::TemporaryIn(_)) => Ok(()),
            (None, Place::Directory(path)) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                Ok(syncfs(rustix::fs::open(path, flags, Mode::empty())?)?)
            }
        })
        .await
        .map_err(self.told("unmount"))
    }

    fn release(&self) {
        // Outside of the lock, which this statement lets go before the directory is removed.
        let temporary = self.give_back();
        if let Ok(Some(temporary)) = temporary
            && let Ok(runtime) = Handle::try_current()
        {
            // It may hold very many files. Should the task never begin, the directory goes with it all the same.
            runtime.spawn_blocking(move || drop(temporary));
        }
    }
}

impl Temporary {
    fn create(parent: &Path) -> Done<Self> {
        for _ in 0..ATTEMPTS {
            let mut id = [0; 8];
            getrandom(&mut id, GetRandomFlags::empty())?;
            let path = parent.join(format!("agentx-{:016x}", u64::from_ne_bytes(id)));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Fault::new(ErrorKind::Busy, "no name for a temporary directory was free"))
    }

    fn remove(mut self) -> Done<()> {
        let path = std::mem::take(&mut self.0);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // Nobody can be told here; who wants to know unmounts.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn prepare(place: &Place) -> Done<(PathBuf, Option<Temporary>)> {
    match place {
        Place::Directory(path) => {
            fs::create_dir_all(path)?;
            Ok((fs::canonicalize(path)?, None))
        }
        Place::TemporaryIn(parent) => {
            let temporary = Temporary::create(&fs::canonicalize(parent)?)?;
            Ok((temporary.0.clone(), Some(temporary)))
        }
    }
}

fn point(path: &Path) -> Done<MountPoint> {
    match path.to_str() {
        Some(path) => Ok(MountPoint::new(path)),
        None => {
            Err(Fault::from(Errno::ILSEQ).of_kind(ErrorKind::InvalidPath, "the host's path is not UTF-8"))
        }
    }
}

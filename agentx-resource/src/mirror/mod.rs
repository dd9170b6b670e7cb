//! A disk that mirrors one file system into another and back.
//!
//! # What a sync does
//! It compares three things at each path: what is in the local tree, what is in the remote one, and what both were after
//! the last sync. Versions tell changes (times of change, where a tree has no versions), so that no content is read but
//! what has changed: a sync of a tree without changes reads the state and lists both trees. Times are only ever compared
//! for being the same, so that a clock which is wrong, or is set back, changes nothing.
//!
//! | local | remote | result |
//! |---|---|---|
//! | changed, new | as it was, missing | it is copied to the remote tree |
//! | as it was, missing | changed, new | it is copied to the local tree |
//! | removed | as it was | it is removed from the remote tree |
//! | as it was | removed | it is removed from the local tree |
//! | changed, new | changed, new, the same content | nothing is copied |
//! | changed, new | changed, new, another content | conflict: the remote file keeps the name, the local one is kept as `name.conflict-<n>.ext` |
//! | removed | changed | conflict: the change is kept, and copied to the local tree |
//! | changed | removed | conflict: the change is kept, and copied to the remote tree |
//! | a file, new or changed | a directory | conflict: the directory keeps the name, the file is kept as `name.conflict-<n>.ext` |
//! | a directory | a file, new or changed | the same |
//! | as it was, a file | made a directory | the file is removed, and the directory mirrored; and the other way round |
//! | as it was, a directory | made a file | the directory is removed, and the file copied; and the other way round |
//!
//! A directory is removed once it is empty. Where something in it is changed or new, that is kept, and the directory with
//! it. Each conflict is told in the [`SyncReport`], and both contents are in both trees after the sync.
//!
//! # What is never lost
//! * **No write goes over what nobody has seen.** A file is replaced with `IfMatch` and created with `CreateNew`, a name
//!   is changed to one that is free. Who writes in between finds the own content where it was written; the sync looks
//!   again, three times in all, and then leaves it to the next one.
//! * **Nothing is removed that has changed.** The other tree is asked again whether it is missing there. The file is
//!   renamed first (`.agentx-mirror-removed.name`, beside it), looked at, and only then removed.
//! * **A sync may end anywhere**, dropped, failed or killed. The state is written only after what it tells of, whole. The
//!   next sync finds what is done already: equal contents are no conflict, and what was about to be removed is removed if
//!   it is still that, and gets its name again if not. What was created or changed *and* removed again before that next
//!   sync may come back, and what was copied and changed again before it may be told as a conflict.
//! * **A tree that is not the one** of the last sync (an empty directory in its place, another bucket) is known by its
//!   marker, `/.agentx-mirror/marker`. Then, as where the state is missing or damaged, both trees are compared whole, and
//!   nothing is removed.
//!
//! What holds is weaker where a tree declares less:
//! * Without `if_match` the version is looked at right before a file is replaced. A change in between is lost.
//! * Without `atomic_rename` a file's version is looked at right before it is removed, or before it gets the name of a
//!   conflict. A change in between is lost. (An object store removes and renames like this.)
//! * `ConditionStrength::Cooperative` holds against who writes through AgentX. A command that writes into a file in place
//!   while it is replaced may lose what it writes, as it would beside any other program.
//! * Without versions, what is changed and keeps its length and its time is not seen to be changed.
//! * Without `if_match` where the state is, two syncs at once with one state do not notice each other. Each writes what it
//!   knows, and the next sync compares what that does not fit.
//! * Without a marker, where a tree can't be written, another tree in its place is taken for it.
//! * With neither versions nor times of change there is no sync: `Unsupported`.
//!
//! # What is not mirrored
//! Symbolic links, special files, and names that are no path: they are counted, stay where they are, and keep what has
//! their name in the other tree as it is. Names that begin with `.agentx-mirror`. Permission bits: a file that is new in a
//! tree has the bits of any new file there. Names that differ in their case only, where a tree takes them for one: the
//! second can't be created, and is told.
//!
//! A mount copies everything that is new. (To fetch a file only when it is opened is a task for later; until then,
//! [`MirrorOptions`] leaves out what is not needed.)

mod base;
mod name;
mod options;
mod plan;
mod replica;
mod report;
mod state;
mod step;
mod sync;
mod transfer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::lock;

use self::replica::Replica;
pub use self::{
    options::MirrorOptions,
    report::{
        BaseState, Conflict, ConflictKind, Copied, MirrorEvent, Side, Skipped, SyncFailure, SyncReport, Told,
    },
};
use crate::{Disk, Error, ErrorKind, FileSystem, MountPoint, Result};

const PROVIDER: &str = "mirror";

/// A [`Disk`] that keeps a local tree and a remote one alike: a bucket as a directory that processes can see.
///
/// The first mount, each unmount and [`MirrorDisk::sync`] make both trees alike; the [module](self) says how. A mount or
/// unmount that could not mirror everything is an error, with the first path and its cause; what could be mirrored is.
/// [`Disk::release`] and dropping copy nothing: what was written stays in the local tree, and the next sync finds it
/// there. So does the next mount, also of another process.
///
/// ```
/// use std::sync::Arc;
///
/// use agentx_resource::{
///     FileSystemExt, Mounted, ResourcePath,
///     memory::MemoryFileSystem,
///     mirror::{MirrorDisk, MirrorOptions},
/// };
///
/// # futures::executor::block_on(async {
/// let (bucket, directory) = (MemoryFileSystem::new(), MemoryFileSystem::new());
/// let notes = ResourcePath::new("/notes.md")?;
/// bucket.write_file(&notes, "one").await?;
///
/// let options = MirrorOptions::new("/srv/work").with_exclude_name("node_modules");
/// let disk = MirrorDisk::new(Arc::new(bucket.clone()), Arc::new(directory.clone()), options);
/// let mounted = Mounted::attach(Arc::new(disk)).await?;
/// assert_eq!(mounted.point().as_str(), "/srv/work");
/// assert_eq!(directory.read_to_string(&notes).await?, "one");
///
/// directory.write_file(&notes, "two").await?;
/// mounted.unmount().await?;
/// assert_eq!(bucket.read_to_string(&notes).await?, "two");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct MirrorDisk {
    pair: Arc<Pair>,
    options: MirrorOptions,
    mounts: Mutex<u64>,
    /// Held while a sync runs, and the report of the last one.
    last: lock::Mutex<Option<SyncReport>>,
}

/// The two trees.
#[derive(Debug)]
struct Pair {
    local: Replica,
    remote: Replica,
}

impl Pair {
    fn on(&self, side: Side) -> &Replica {
        match side {
            Side::Local => &self.local,
            Side::Remote => &self.remote,
        }
    }
}

impl MirrorDisk {
    /// Mirrors `remote` into `local` and back. Nothing is done before the first mount or sync.
    pub fn new(remote: Arc<dyn FileSystem>, local: Arc<dyn FileSystem>, options: MirrorOptions) -> Self {
        let pair = Pair {
            local: Replica { side: Side::Local, fs: local },
            remote: Replica { side: Side::Remote, fs: remote },
        };
        Self { pair: Arc::new(pair), options, mounts: Mutex::new(0), last: lock::Mutex::new(None) }
    }

    /// Makes both trees alike, mounted or not. Syncs of one disk run one after the other.
    ///
    /// What could not be mirrored is in the report: see [`SyncReport::complete`].
    ///
    /// # Errors
    /// When nothing can be done: a tree can't be listed, what an earlier sync has left aside can't be removed or renamed, the state can't be read or written or is of a newer format
    /// (`Unsupported`), a bound of the options is exceeded (`LimitExceeded`: before anything but the markers is changed,
    /// unless it is only then that a tree grows beyond it), or another sync has written the state meanwhile (`Busy`).
    pub async fn sync(&self) -> Result<SyncReport> {
        let mut last = self.last.lock().await;
        self.sync_held(&mut last).await
    }

    /// The report of the last sync that ended, be it of a mount, an unmount or by itself. Waits for one that runs.
    pub async fn last_report(&self) -> Option<SyncReport> {
        self.last.lock().await.clone()
    }

    async fn sync_held(&self, last: &mut Option<SyncReport>) -> Result<SyncReport> {
        let report = sync::run(&self.pair, &self.options).await?;
        *last = Some(report.clone());
        Ok(report)
    }

    fn mounts(&self) -> MutexGuard<'_, u64> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a mount if there is one.
    fn mount_again(&self) -> bool {
        let mut mounts = self.mounts();
        let mounted = *mounts > 0;
        *mounts += u64::from(mounted);
        mounted
    }

    fn give_back(&self) -> bool {
        let mut mounts = self.mounts();
        let mounted = *mounts > 0;
        *mounts = mounts.saturating_sub(1);
        mounted
    }
}

#[async_trait]
impl Disk for MirrorDisk {
    fn name(&self) -> &str {
        &self.options.name
    }

    async fn mount(&self) -> Result<MountPoint> {
        let mut last = self.last.lock().await;
        if !self.mount_again() {
            self.sync_held(&mut last).await?.complete()?;
            *self.mounts() += 1;
        }
        Ok(self.options.mount_point.clone())
    }

    async fn unmount(&self) -> Result<()> {
        if !self.give_back() {
            return Err(Error::new(ErrorKind::InvalidInput, "unmount")
                .with_path(&self.options.name)
                .with_provider(PROVIDER)
                .with_message("not mounted"));
        }
        self.sync().await?.complete()?;
        Ok(())
    }

    fn release(&self) {
        self.give_back();
    }
}

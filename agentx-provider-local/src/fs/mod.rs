//! A directory of this machine as a [`FileSystem`].

mod copy;
mod error;
mod list;
mod lock;
mod metadata;
mod read;
mod remove;
mod rename;
mod resolve;
mod stage;
mod tree;
mod walk;
mod write;
mod writer;

use std::{
    fs,
    path::{Path, PathBuf, absolute},
    sync::Arc,
};

use agentx_resource::{
    ConditionStrength, EntryStream, ErrorKind, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions,
    Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use rustix::{
    fs::{AtFlags, Mode, fsync, mkdirat, statat},
    io::Errno,
};

pub(crate) use self::error::{Done, Fault};
use self::{
    resolve::{Root, check_name},
    write::{Content, sync_parents},
    writer::LocalWriter,
};
use crate::blocking::{Cancel, blocking};

/// The provider's name in errors.
pub(crate) const PROVIDER: &str = "local";

/// A directory of this machine, and nothing outside of it.
///
/// The directory is opened once. Every path is resolved relative to that handle (see [`Resolution`]) and refused
/// (`Escapes`) as soon as it leads out, also while somebody renames or replaces things on the way. Symbolic links are
/// followed while they stay inside; a link to an absolute path under the directory's own host path counts as inside.
/// A hard link made by somebody else can't be told from a file of the directory.
///
/// * **Waiting.** What the host has in memory (a lookup, a file of up to 256 KiB) is read in place, without a wait.
///   Everything else is one task on tokio's blocking pool. A body of up to 16 MiB is one piece; a larger one comes in
///   pieces of 1 MiB, a task each, and two of them are read at a time. Outside of a tokio runtime the calling thread
///   does the work itself.
/// * **Writes** go to a file without a name (where the host lacks those: a hidden name of the form
///   `.agentx-0123456789abcdef.tmp`, which is never listed and can't be given to other files) and are published whole.
///   A replaced file keeps its permission bits, and its owner where the process may; its hard links, ACLs and extended
///   attributes are lost. A file without write permission is not replaced. New files and directories get `0o666` and
///   `0o777` less the umask. A write to a symbolic link writes the file that it leads to, if that is inside.
/// * **An append** is one write in place, under a lock: other hard links see it, and a reader may see a part that is
///   just being added. After an error (no space) what was added is taken back. A process that is killed or a machine
///   that loses power in the middle of it leaves a beginning of the data: where that must not be, write anew.
/// * **Conditions** (`IfMatch`) hold against everybody who writes by way of AgentX on this machine: each change of an
///   entry takes a `flock` on its directory, for at most 10 seconds, then it fails as `Busy`. Other programs don't
///   honour that lock. Where directories can't be locked (NFS) conditional writes and appends are not declared.
/// * **A version** is made of inode, size and both times of change in nanoseconds.
/// * **A copy** of a directory appears whole; permission bits are copied, times and owners are not.
///
/// ```
/// use agentx_provider_local::LocalFileSystem;
/// use agentx_resource::{FileSystemExt, ResourcePath};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("agentx-doc-{}", std::process::id()));
/// let fs = LocalFileSystem::create(&dir)?;
/// let path = ResourcePath::new("/notes.md")?;
/// fs.write_file(&path, "hello").await?;
/// assert_eq!(fs.read_to_string(&path).await?, "hello");
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LocalFileSystem {
    root: Arc<Root>,
    host_path: Arc<Path>,
    durability: Durability,
}

/// How a path becomes a handle that is inside. Both ways follow the same links, refuse the same, and hold against
/// whoever changes the tree meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// By the kernel, in one call (`openat2`, Linux 5.6): what it has in memory is read without a wait.
    Kernel,
    /// Name by name, never through a link, which is read and followed by hand. For older kernels and filters (some
    /// container runtimes have such) that do not know the call; everything is a task on the blocking pool then.
    Walk,
}

/// What a completed write survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The end of this process, not a power cut: as fast as the host writes. A file is never torn by AgentX, but after
    /// a power cut the host may show an old or an empty one.
    #[default]
    None,
    /// The content is on the device before it is published; the name may be lost in a power cut.
    Data,
    /// Content, attributes and names are on the device when a change has completed, of whatever kind.
    Full,
}

impl LocalFileSystem {
    /// Opens an existing directory, with the [`Resolution`] that the host has. A few short system calls, done in
    /// place.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `PermissionDenied`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_as(path.as_ref(), None)
    }

    /// As [`LocalFileSystem::open`], with this resolution and no other.
    ///
    /// # Errors
    /// Those of [`LocalFileSystem::open`]; `Unsupported` for [`Resolution::Kernel`] where the host does not have it.
    pub fn open_with(path: impl AsRef<Path>, resolution: Resolution) -> Result<Self> {
        Self::open_as(path.as_ref(), Some(resolution))
    }

    fn open_as(path: &Path, resolution: Option<Resolution>) -> Result<Self> {
        let open = || -> Done<Self> {
            let canonical = fs::canonicalize(path)?;
            let root = Root::open_host(&absolute(path)?, &canonical, resolution)?;
            Ok(Self { root: Arc::new(root), host_path: canonical.into(), durability: Durability::None })
        };
        open().map_err(|fault| fault.told("open", path.display()))
    }

    /// Opens a directory, which is created with its parents where it is missing.
    ///
    /// # Errors
    /// Those of [`LocalFileSystem::open`], and what the host says about the creation.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        fs::create_dir_all(path).map_err(|error| Fault::from(error).told("create", path.display()))?;
        Self::open(path)
    }

    /// With this durability of writes; [`Durability::None`] by default.
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How paths are resolved.
    pub fn resolution(&self) -> Resolution {
        self.root.resolution
    }

    /// The directory as the host's processes see it, absolute and without links.
    pub fn host_path(&self) -> &Path {
        &self.host_path
    }

    /// The host's path of `path`. No boundary: who opens it follows links wherever they lead.
    pub fn to_host(&self, path: &ResourcePath) -> PathBuf {
        self.host_path.join(path.relative())
    }

    /// Removes what is directly in a directory under the name of an unfinished copy or write, which no listing shows: what a
    /// host left that was killed. Answers how much there was. What is under way is removed too, and fails: only for who
    /// knows that nobody else writes there.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`, `PermissionDenied`; what is removed until then stays removed.
    pub async fn clear_unfinished(&self, path: &ResourcePath) -> Result<usize> {
        self.run("clear", path, remove::clear_unfinished).await
    }

    /// One hop, with the root and one path.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &ResourcePath,
        work: impl FnOnce(&Root, &ResourcePath, &Cancel) -> Done<T> + Send + 'static,
    ) -> Result<T> {
        let (root, subject) = (Arc::clone(&self.root), path.clone());
        let done = blocking(move |cancel| work(&root, &subject, cancel)).await;
        done.map_err(|fault| fault.told(operation, path))
    }

    /// One hop, with two paths; the work itself knows which of them an error is about.
    async fn transfer(
        &self,
        operation: &'static str,
        [from, to]: [&ResourcePath; 2],
        work: impl FnOnce(&Root, [&ResourcePath; 2], &Cancel) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (root, paths) = (Arc::clone(&self.root), [from.clone(), to.clone()]);
        let done = blocking(move |cancel| Ok(work(&root, [&paths[0], &paths[1]], cancel))).await;
        done.map_err(|fault| fault.told(operation, from))?
    }
}

#[async_trait]
impl FileSystem for LocalFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        let capabilities = FsCapabilities::new()
            .with_atomic_rename()
            .with_atomic_dir_rename()
            .with_mode_bits()
            .with_symlinks();
        if self.root.locking {
            capabilities.with_append().with_if_match(ConditionStrength::Cooperative)
        } else {
            capabilities
        }
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        read::read(&self.root, path, options).await.map_err(|fault| fault.told("read", path))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let durability = self.durability;
        self.run("write", path, move |root, path, cancel| {
            write::write(root, path, Content::Bytes(data), &options, durability, cancel)
        })
        .await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let begun = LocalWriter::begin(Arc::clone(&self.root), path.clone(), options, self.durability).await;
        Ok(Box::new(begun.map_err(|fault| fault.told("write", path))?))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        match metadata::stat_cached(&self.root, path, &options) {
            Some(done) => done.map_err(|fault| fault.told("stat", path)),
            None => self.run("stat", path, move |root, path, _| metadata::stat(root, path, &options)).await,
        }
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        list::list(Arc::clone(&self.root), path.clone(), options.recursive)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        let durability = self.durability;
        self.run("mkdir", path, move |root, path, _| mkdir(root, path, &options, durability)).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        let durability = self.durability;
        self.run("rm", path, move |root, path, cancel| {
            remove::remove(root, path, &options, durability, cancel)
        })
        .await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let durability = self.durability;
        self.transfer("rename", [from, to], move |root, [from, to], cancel| {
            rename::rename(root, from, to, &options, durability, cancel)
        })
        .await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let durability = self.durability;
        self.transfer("copy", [from, to], move |root, [from, to], cancel| {
            copy::copy(root, from, to, &options, durability, cancel)
        })
        .await
    }
}

fn mkdir(root: &Root, path: &ResourcePath, options: &MkdirOptions, durability: Durability) -> Done<()> {
    check_name(path)?;
    let relative = path.relative().as_bytes();
    if options.recursive {
        root.make_dirs(relative).map_err(|fault| {
            // A parent that is no directory, or the entry itself? A link that leads nowhere is an entry too.
            let own = root
                .place(path)
                .is_ok_and(|place| statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW).is_ok());
            match fault.kind() {
                ErrorKind::NotADirectory | ErrorKind::NotFound if own => Errno::EXIST.into(),
                _ => fault,
            }
        })?;
        return if durability == Durability::Full { sync_parents(root, relative) } else { Ok(()) };
    }
    if path.is_root() {
        return Err(Errno::EXIST.into());
    }
    let place = root.place(path)?;
    mkdirat(&place.dir, &place.name, Mode::from_raw_mode(0o777))?;
    if durability == Durability::Full {
        fsync(&place.dir)?;
    }
    Ok(())
}

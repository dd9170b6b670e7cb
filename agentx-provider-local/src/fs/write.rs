use agentx_resource::{ErrorKind, FileKind, Metadata, ResourcePath, WriteMode, WriteOptions};
use bytes::Bytes;
use rustix::{
    fd::OwnedFd,
    fs::{Access, AtFlags, FileType, Mode, OFlags, Stat, accessat, fstat, fsync, ftruncate, openat, statat},
    io::Errno,
};

use super::{
    Done, Durability, Fault,
    lock::DirLock,
    metadata::{describe, identity, kind, size, stamp, version},
    resolve::{DIRECTORY, Root, check_name, split},
    stage::{Staged, write_all},
};
use crate::blocking::Cancel;

/// The permission bits of a new file, less those of the umask.
pub(super) const NEW_FILE: Mode = Mode::from_raw_mode(0o666);

/// How often a write begins anew because the entry changed its nature in between.
const ATTEMPTS: usize = 16;
/// How much of a staged file is in memory while it is appended.
const PIECE: usize = 256 << 10;

/// What is to be written.
pub(super) enum Content {
    Bytes(Bytes),
    Staged(Staged),
}

/// Writes a whole file, in one go.
pub(super) fn write(
    root: &Root,
    path: &ResourcePath,
    mut content: Content,
    options: &WriteOptions,
    durability: Durability,
    cancel: &Cancel,
) -> Done<Metadata> {
    let mut given_up = Fault::new(ErrorKind::Busy, "the entry keeps changing");
    for _ in 0..ATTEMPTS {
        let target = Target::find(root, path, options)?;
        if options.mode == WriteMode::Append && target.existing.is_some() {
            match target.append(root, &content, durability)? {
                Some(metadata) => return Ok(metadata),
                None => continue,
            }
        }
        let mut staged = match content {
            Content::Staged(staged) => staged,
            Content::Bytes(ref data) => {
                let staged = target.stage(root)?;
                staged.write_all(data)?;
                staged
            }
        };
        cancel.check()?;
        stamp(staged.file())?;
        match target.publish(root, &mut staged, options, durability) {
            // Somebody else created the file: add to that one.
            Err(fault) if fault.kind() == ErrorKind::AlreadyExists && options.mode == WriteMode::Append => {
                content = Content::Staged(staged);
            }
            // Somebody removed the parents, or gave up on those that were made for another file; or one of them is a
            // link that leads nowhere, and stays so.
            Err(fault) if fault.kind() == ErrorKind::NotFound && options.create_parents => {
                content = Content::Staged(staged);
                given_up = fault;
            }
            published => return published,
        }
    }
    Err(given_up)
}

/// Where a write goes, links followed, and what was there at a first look.
pub(super) struct Target {
    path: Vec<u8>,
    /// The parent; none where it is still to be created.
    dir: Option<OwnedFd>,
    existing: Option<Stat>,
}

impl Target {
    /// Looks at the place, and tells whatever can be told before any work.
    pub(super) fn find(root: &Root, path: &ResourcePath, options: &WriteOptions) -> Done<Self> {
        if matches!(options.mode, WriteMode::IfMatch(_) | WriteMode::Append) && !root.locking {
            return Err(Fault::new(ErrorKind::Unsupported, "the host can't lock directories"));
        }
        check_name(path)?;
        let mut path = path.relative().as_bytes().to_vec();
        for _ in 0..ATTEMPTS {
            let Some((parent, name)) = split(&path) else {
                return Err(no_file(&options.mode, Errno::ISDIR));
            };
            let dir = match root.open(parent, DIRECTORY) {
                Ok(dir) => dir,
                Err(fault) if fault.kind() == ErrorKind::NotFound && options.create_parents => {
                    check(&options.mode, None)?;
                    return Ok(Self { path, dir: None, existing: None });
                }
                Err(fault) => return Err(fault),
            };
            let existing = match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(stat),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno.into()),
            };
            match existing.map(|stat| kind(FileType::from_raw_mode(stat.st_mode))) {
                Some(FileKind::Symlink) => {
                    let real = root.canonical(&path)?;
                    check(&options.mode, existing.as_ref())?;
                    path = real;
                    continue;
                }
                Some(FileKind::Directory) => return Err(no_file(&options.mode, Errno::ISDIR)),
                Some(FileKind::File) => {
                    check(&options.mode, existing.as_ref())?;
                    // A replacement would not ask the file itself, which may be protected.
                    accessat(&dir, name, Access::WRITE_OK, AtFlags::EACCESS)?;
                }
                Some(_) => return Err(no_file(&options.mode, Errno::NXIO)),
                None => check(&options.mode, None)?,
            }
            return Ok(Self { path, dir: Some(dir), existing });
        }
        Err(Fault::new(ErrorKind::Busy, "the links on the way keep changing"))
    }

    /// An empty file on the device of the target.
    pub(super) fn stage(&self, root: &Root) -> Done<Staged> {
        self.stage_with(root, NEW_FILE)
    }

    /// As [`Target::stage`], with other permission bits for the case that the file is new.
    pub(super) fn stage_with(&self, root: &Root, mode: Mode) -> Done<Staged> {
        match &self.dir {
            Some(dir) => Staged::create(root, dir, mode),
            None => Staged::create(root, &root.nearest(self.parent())?.0, mode),
        }
    }

    /// Makes `staged` visible.
    ///
    /// # Errors
    /// Those of the mode; `staged` can be used further after `AlreadyExists`.
    pub(super) fn publish(
        &self,
        root: &Root,
        staged: &mut Staged,
        options: &WriteOptions,
        durability: Durability,
    ) -> Done<Metadata> {
        if let Some(existing) = &self.existing {
            staged.resemble(existing)?;
        }
        staged.sync(durability)?;
        let Some(dir) = &self.dir else {
            let (dir, made) = root.make_dirs(self.parent())?;
            let published = self.publish_in(&dir, root, staged, options, durability);
            return published.inspect_err(|_| made.undo(root));
        };
        self.publish_in(dir, root, staged, options, durability)
    }

    fn publish_in(
        &self,
        dir: &OwnedFd,
        root: &Root,
        staged: &mut Staged,
        options: &WriteOptions,
        durability: Durability,
    ) -> Done<Metadata> {
        let metadata = match &options.mode {
            WriteMode::CreateNew | WriteMode::Append => {
                staged.publish_new(dir, self.name())?;
                describe(&fstat(staged.file())?)
            }
            WriteMode::IfMatch(_) => {
                let _lock = DirLock::exclusive(root, dir)?;
                let now = match statat(dir, self.name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => Some(stat),
                    Err(Errno::NOENT) => None,
                    Err(errno) => return Err(errno.into()),
                };
                check(&options.mode, now.as_ref())?;
                staged.publish_over(dir, self.name())?;
                describe(&fstat(staged.file())?)
            }
            WriteMode::Overwrite => {
                let _lock = DirLock::shared(root, dir)?;
                staged.publish_over(dir, self.name())?;
                describe(&fstat(staged.file())?)
            }
            _ => return Err(unknown_mode()),
        };
        if durability == Durability::Full {
            fsync(dir)?;
            if self.dir.is_none() {
                sync_parents(root, self.parent())?;
            }
        }
        Ok(metadata)
    }

    /// Adds `content` to the file that is there, all of it or nothing; `None` when it is no longer there.
    fn append(&self, root: &Root, content: &Content, durability: Durability) -> Done<Option<Metadata>> {
        let Some(dir) = &self.dir else {
            return Ok(None);
        };
        let _lock = DirLock::exclusive(root, dir)?;
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(dir, self.name(), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let before = fstat(&file)?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Err(Errno::NXIO.into());
        }
        if let Err(fault) = add(&file, content) {
            return Err(match ftruncate(&file, size(&before)) {
                Ok(()) => fault,
                Err(errno) => {
                    Fault::from(errno).of_kind(ErrorKind::Lost, "a part was appended and can't be taken back")
                }
            });
        }
        match durability {
            Durability::None => {}
            Durability::Data => rustix::fs::fdatasync(&file)?,
            Durability::Full => fsync(&file)?,
        }
        Ok(Some(describe(&fstat(&file)?)))
    }

    /// Whether the file that `stat` describes is the one that is there.
    pub(super) fn is(&self, stat: &Stat) -> bool {
        self.existing.as_ref().is_some_and(|existing| identity(existing) == identity(stat))
    }

    fn parent(&self) -> &[u8] {
        split(&self.path).map_or(&[], |(parent, _)| parent)
    }

    fn name(&self) -> &[u8] {
        split(&self.path).map_or(&[], |(_, name)| name)
    }
}

fn unknown_mode() -> Fault {
    Fault::new(ErrorKind::Unsupported, "this provider does not know the mode")
}

/// What is there is no file: for a write that wants nothing to be there, it is simply in the way.
fn no_file(mode: &WriteMode, errno: Errno) -> Fault {
    if *mode == WriteMode::CreateNew { Errno::EXIST.into() } else { errno.into() }
}

/// Whether the mode allows to go on, given what is there.
fn check(mode: &WriteMode, existing: Option<&Stat>) -> Done<()> {
    match (mode, existing) {
        (WriteMode::CreateNew, Some(_)) => Err(Errno::EXIST.into()),
        (WriteMode::IfMatch(_), None) => {
            Err(Fault::new(ErrorKind::ConditionFailed, "the file does not exist"))
        }
        // A link is looked at again where it leads to.
        (WriteMode::IfMatch(_), Some(stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            Ok(())
        }
        (WriteMode::IfMatch(expected), Some(stat)) if version(stat) != *expected => {
            Err(Fault::new(ErrorKind::ConditionFailed, "the file has another version"))
        }
        _ => Ok(()),
    }
}

fn add(file: &OwnedFd, content: &Content) -> Done<()> {
    let staged = match content {
        Content::Bytes(data) => return write_all(file, data),
        Content::Staged(staged) => staged.file(),
    };
    let mut buffer = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let count = rustix::io::pread(staged, &mut *buffer, offset)?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else {
            return Ok(());
        };
        write_all(file, piece)?;
        offset += count as u64;
    }
}

/// Makes the entries safe that lead to the directory `path`.
pub(super) fn sync_parents(root: &Root, mut path: &[u8]) -> Done<()> {
    while let Some((parent, _)) = split(path) {
        fsync(root.open(parent, DIRECTORY)?)?;
        path = parent;
    }
    Ok(())
}

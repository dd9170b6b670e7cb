use agentx_resource::{ErrorKind, FileKind, ResourcePath, Result, TransferOptions, WriteMode, WriteOptions};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{
        AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, copy_file_range, fchmod, fstat, fsync,
        ioctl_ficlone, mkdirat, mknodat, openat, readlinkat, renameat_with, statat, symlinkat,
    },
    io::{Errno, read},
};

use super::{
    Done, Durability, Fault,
    metadata::{identity, kind, mode, size},
    remove::remove_tree,
    resolve::{DIRECTORY, Place, Root},
    stage::{Staged, with_staging_name, write_all},
    tree::{Cursor, Trail},
    write::Target,
};
use crate::blocking::Cancel;

/// How much is copied between two looks at the cancellation.
const PIECE: usize = 8 << 20;
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
/// A directory can be filled while it is copied, whatever its own bits say.
const OWN: Mode = Mode::RWXU;

/// Copies a file, or a directory with all that is below it. Both are published whole.
pub(super) fn copy(
    root: &Root,
    from: &ResourcePath,
    to: &ResourcePath,
    options: &TransferOptions,
    durability: Durability,
    cancel: &Cancel,
) -> Result<()> {
    if to.is_root() {
        return Err(Fault::new(ErrorKind::InvalidInput, "the root").told("copy", to));
    }
    let source = open_source(root, from).map_err(|fault| fault.told("copy", from))?;
    let copied = if from == to {
        if options.create_new { Err(Errno::EXIST.into()) } else { Ok(()) }
    } else if FileType::from_raw_mode(source.stat.st_mode) == FileType::Directory {
        copy_dir(root, from, &source, to, durability, cancel)
    } else {
        copy_file(root, &source, to, options, durability, cancel)
    };
    copied.map_err(|fault| fault.told("copy", to))
}

struct Source {
    file: OwnedFd,
    stat: Stat,
}

fn open_source(root: &Root, from: &ResourcePath) -> Done<Source> {
    if from.is_root() {
        return Err(Fault::new(ErrorKind::InvalidInput, "the root"));
    }
    let file = root.open(from.relative().as_bytes(), READ).map_err(Fault::of_lookup)?;
    let stat = fstat(&file)?;
    match kind(FileType::from_raw_mode(stat.st_mode)) {
        FileKind::File | FileKind::Directory => Ok(Source { file, stat }),
        _ => Err(Errno::NXIO.into()),
    }
}

fn copy_file(
    root: &Root,
    source: &Source,
    to: &ResourcePath,
    options: &TransferOptions,
    durability: Durability,
    cancel: &Cancel,
) -> Done<()> {
    let mode_of_write = if options.create_new { WriteMode::CreateNew } else { WriteMode::Overwrite };
    let options = WriteOptions::from(mode_of_write);
    let target = Target::find(root, to, &options)?;
    if target.is(&source.stat) {
        return Ok(());
    }
    let mut staged = target.stage_with(root, mode(&source.stat))?;
    copy_content(&source.file, staged.file(), cancel)?;
    cancel.check()?;
    super::metadata::stamp(staged.file())?;
    target.publish(root, &mut staged, &options, durability).map(drop)
}

/// Builds the copy under a staging name, and gives it its own when it is whole.
fn copy_dir(
    root: &Root,
    from: &ResourcePath,
    source: &Source,
    to: &ResourcePath,
    durability: Durability,
    cancel: &Cancel,
) -> Done<()> {
    if to.starts_with(from) {
        return Err(into_itself());
    }
    let place = root.new_place(to)?;
    match statat(&place.dir, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => return Err(Errno::EXIST.into()),
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    if lies_below(&place.dir, &source.stat)? {
        return Err(into_itself());
    }
    let (name, ()) = with_staging_name(|name| mkdirat(&place.dir, name, OWN))?;
    let staged = Place { dir: place.dir, name };
    let published = fill(root, source, &staged, durability, cancel).and_then(|()| {
        cancel.check()?;
        match renameat_with(&staged.dir, &staged.name, &staged.dir, &place.name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => Err(Fault::new(
                ErrorKind::Unsupported,
                "the host's file system can't rename without replacing",
            )),
            renamed => Ok(renamed?),
        }
    });
    match published {
        Ok(()) if durability == Durability::Full => Ok(fsync(&staged.dir)?),
        Ok(()) => Ok(()),
        Err(fault) => {
            // The cause is what the caller needs; a leftover is hidden, and goes with its directory.
            let _ = remove_tree(&staged.dir, &staged.name, &Cancel::default());
            Err(fault)
        }
    }
}

fn into_itself() -> Fault {
    Fault::new(ErrorKind::InvalidInput, "a directory can't be copied into itself")
}

/// Whether `dir` is `above` or lies below it, by whatever name it was reached.
fn lies_below(dir: &OwnedFd, above: &Stat) -> Done<bool> {
    let (mut dir, mut last) = (dir.try_clone()?, None);
    loop {
        let own = identity(&fstat(&dir)?);
        if own == identity(above) {
            return Ok(true);
        }
        // The host's own root is its own parent.
        if last.replace(own) == Some(own) {
            return Ok(false);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        dir = openat(&dir, "..", flags, Mode::empty())?;
    }
}

fn fill(root: &Root, source: &Source, place: &Place, durability: Durability, cancel: &Cancel) -> Done<()> {
    let top = openat(&place.dir, &place.name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    let mut levels = vec![Level::new(&source.stat)];
    let mut to = Trail::new(top);
    let mut from = Trail::new(openat(&source.file, ".", DIRECTORY, Mode::empty())?);
    while let Some(level) = levels.last_mut() {
        cancel.check()?;
        if let Some(name) = level.pending.pop() {
            from.enter(&name)?;
            let stat = fstat(from.here())?;
            mkdirat(to.here(), &name, OWN)?;
            to.enter(&name)?;
            levels.push(Level::new(&stat));
            continue;
        }
        let names = from.names(&mut level.cursor)?;
        if names.is_empty() {
            fchmod(to.here(), level.mode)?;
            if durability == Durability::Full {
                fsync(to.here())?;
            }
            levels.pop();
            from.leave()?;
            to.leave()?;
            continue;
        }
        for found in names.into_iter().filter(|found| !found.hidden) {
            cancel.check()?;
            match copy_entry(root, &from, &to, &found.name, durability, cancel) {
                Ok(FileKind::Directory) => level.pending.push(found.name),
                Ok(_) => {}
                // Removed since it was listed.
                Err(fault) if fault.kind() == ErrorKind::NotFound => {}
                Err(fault) => return Err(fault),
            }
        }
    }
    Ok(())
}

struct Level {
    mode: Mode,
    cursor: Cursor,
    pending: Vec<Vec<u8>>,
}

impl Level {
    fn new(stat: &Stat) -> Self {
        Self { mode: mode(stat), cursor: Cursor::default(), pending: Vec::new() }
    }
}

/// Copies what is no directory, and says what it was.
fn copy_entry(
    root: &Root,
    from: &Trail,
    to: &Trail,
    name: &[u8],
    durability: Durability,
    cancel: &Cancel,
) -> Done<FileKind> {
    let stat = statat(from.here(), name, AtFlags::SYMLINK_NOFOLLOW)?;
    let file_type = FileType::from_raw_mode(stat.st_mode);
    match kind(file_type) {
        FileKind::Directory => {}
        FileKind::Symlink => {
            let target = readlinkat(from.here(), name, Vec::new())?;
            symlinkat(target, to.here(), name)?;
        }
        FileKind::File => {
            let file = openat(from.here(), name, READ | OFlags::NOFOLLOW, Mode::empty())?;
            let mut staged = Staged::create(root, to.here(), mode(&stat))?;
            copy_content(&file, staged.file(), cancel)?;
            staged.sync(durability)?;
            staged.publish_new(to.here(), name)?;
        }
        _ => mknodat(to.here(), name, file_type, mode(&stat), stat.st_rdev)?,
    }
    Ok(kind(file_type))
}

/// By sharing the blocks where the host can, else inside the kernel, else by hand.
fn copy_content(from: &OwnedFd, to: &OwnedFd, cancel: &Cancel) -> Done<()> {
    if size(&fstat(from)?) > 0 && ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    loop {
        cancel.check()?;
        match copy_file_range(from, None, to, None, PIECE) {
            // Some file systems answer 0 for what they can't copy so; the reading below finds the true end.
            Ok(0) | Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    copy_by_hand(from, to, cancel)
}

fn copy_by_hand(from: impl AsFd, to: impl AsFd, cancel: &Cancel) -> Done<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        cancel.check()?;
        let count = match read(&from, &mut *buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        write_all(&to, buffer.get(..count).unwrap_or_default())?;
    }
}

use agentx_resource::{ErrorKind, ResourcePath, Result, TransferOptions};
use rustix::{
    fs::{AtFlags, FileType, RenameFlags, Stat, fstat, fsync, renameat_with, statat, unlinkat},
    io::Errno,
};

use super::{
    Done, Durability, Fault,
    lock::DirLock,
    metadata::identity,
    remove::sweep,
    resolve::{Place, Root},
};
use crate::blocking::Cancel;

/// Moves an entry, links not followed.
pub(super) fn rename(
    root: &Root,
    from: &ResourcePath,
    to: &ResourcePath,
    options: &TransferOptions,
    durability: Durability,
    cancel: &Cancel,
) -> Result<()> {
    let at = |path| move |fault: Fault| fault.told("rename", path);
    if to.is_root() {
        return Err(at(to)(Fault::new(ErrorKind::InvalidInput, "the root")));
    }
    let source = root.place(from).map_err(|fault| at(from)(fault.of_lookup()))?;
    let entry = statat(&source.dir, &source.name, AtFlags::SYMLINK_NOFOLLOW);
    let entry = entry.map_err(|errno| at(from)(errno.into()))?;
    let is_dir = FileType::from_raw_mode(entry.st_mode) == FileType::Directory;
    if from == to {
        let taken = options.create_new.then_some(Errno::EXIST);
        return taken.map_or(Ok(()), |errno| Err(at(to)(errno.into())));
    }
    if is_dir && to.starts_with(from) {
        return Err(at(to)(into_itself()));
    }
    let target = root.new_place(to).map_err(at(to))?;
    let moved = || {
        let same_dir = identity(&fstat(&source.dir)?) == identity(&fstat(&target.dir)?);
        if same_dir && source.name == target.name && !options.create_new {
            return Ok(());
        }
        let _from = DirLock::shared(root, &source.dir)?;
        let _to = DirLock::shared(root, &target.dir)?;
        exchange(&source, &entry, &target, options, cancel)?;
        if durability == Durability::Full {
            fsync(&target.dir)?;
            fsync(&source.dir)?;
        }
        Ok(())
    };
    moved().map_err(at(to))
}

fn into_itself() -> Fault {
    Fault::new(ErrorKind::InvalidInput, "a directory can't be moved into itself")
}

fn exchange(
    source: &Place,
    entry: &Stat,
    target: &Place,
    options: &TransferOptions,
    cancel: &Cancel,
) -> Done<()> {
    let flags = if options.create_new { RenameFlags::NOREPLACE } else { RenameFlags::empty() };
    let is_dir = FileType::from_raw_mode(entry.st_mode) == FileType::Directory;
    let renamed = || renameat_with(&source.dir, &source.name, &target.dir, &target.name, flags);
    let done = match renamed() {
        // So the system says it of a file that is moved onto a directory above it.
        Err(Errno::NOTEMPTY) if !is_dir => Err(Errno::ISDIR),
        Err(Errno::NOTEMPTY | Errno::EXIST) if !options.create_new => {
            if !sweep(&target.dir, &target.name, cancel)? {
                return Err(Errno::NOTEMPTY.into());
            }
            renamed()
        }
        done => done,
    };
    match done {
        // The system does nothing, and says so to nobody, where both are names of one file.
        Ok(()) if entry.st_nlink > 1 && !is_dir => {
            match statat(&source.dir, &source.name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(left) if identity(&left) == identity(entry) => {
                    Ok(unlinkat(&source.dir, &source.name, AtFlags::empty())?)
                }
                _ => Ok(()),
            }
        }
        Err(Errno::INVAL) if is_dir => Err(into_itself()),
        Err(Errno::INVAL) if options.create_new => {
            Err(Fault::new(ErrorKind::Unsupported, "the host's file system can't rename without replacing"))
        }
        done => Ok(done?),
    }
}

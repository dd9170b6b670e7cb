//! The data directory: where a server keeps what it knows, for this user's eyes alone, and of one server at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, ErrorKind, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::Failure;

/// The store of conversations.
pub(crate) const STORE: &str = "agentvm.db";

/// Where agents work.
pub(crate) const WORKSPACES: &str = "workspaces";

/// Held by the server, which writes its process's number into it.
const LOCK: &str = "lock";

/// What a restore has not finished. What is beside it is not whole.
pub(crate) const RESTORING: &str = ".restoring";

/// A directory with one of these is AgentVM's.
const OURS: [&str; 4] = [STORE, WORKSPACES, LOCK, "config.toml"];

/// Makes the directory where there is none, and sees to it that no other user can look into it.
pub(crate) fn create(path: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        let is_empty = fs::read_dir(path).map_err(failed)?.next().is_none();
        if !is_empty && !OURS.iter().any(|name| path.join(name).exists()) {
            let message =
                "others can read it, and what is in it is not AgentVM's; name a directory of its own";
            return Err(format!("{}: {message}", path.display()).into());
        }
        fs::set_permissions(path, Permissions::from_mode(mode & !0o077)).map_err(failed)?;
    }
    Ok(())
}

/// The right to be the one server on a data directory. It ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes it; none while another process has it.
    pub(crate) fn try_take(data: &Path) -> Result<Option<Self>, Failure> {
        let path = data.join(LOCK);
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        let options =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(error).into()),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(failed)?;
        Ok(Some(Self { file, path }))
    }

    /// What to say where another process has it.
    pub(crate) fn is_taken(data: &Path) -> String {
        let mut holder = String::new();
        let read = File::open(data.join(LOCK)).and_then(|file| file.take(32).read_to_string(&mut holder));
        let holder = match (read, holder.trim()) {
            (Ok(_), number) if !number.is_empty() => format!("process {number}"),
            _ => "another process".to_owned(),
        };
        format!("{} is in use by {holder}", data.display())
    }

    /// Refuses a directory whose restore was cut off.
    pub(crate) fn is_whole(&self) -> Result<(), Failure> {
        let data = self.path.parent().unwrap_or(&self.path);
        match fs::symlink_metadata(data.join(RESTORING)) {
            Ok(_) => {
                let message = "a restore into it was cut off: empty it, and restore again";
                Err(format!("{}: {message}", data.display()).into())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(format!("{}: {error}", data.display()).into()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What another process reads would be wrong, and the lock ends with the file all the same.
        drop(self.file.set_len(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_directory_is_made_private_unless_it_is_somebody_elses() {
        let place = tempfile::tempdir().unwrap();
        let (made, empty, foreign) =
            (place.path().join("a/b"), place.path().join("empty"), place.path().join("foreign"));
        create(&made).unwrap();
        assert_eq!(mode(&made), 0o700);

        for path in [&empty, &foreign] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        create(&empty).unwrap();
        assert_eq!(mode(&empty), 0o700);

        fs::write(foreign.join("thesis.txt"), "").unwrap();
        let refused = create(&foreign).unwrap_err().to_string();
        assert!(refused.contains("is not AgentVM's"), "{refused}");
        assert_eq!(mode(&foreign), 0o755);
        fs::write(foreign.join(STORE), "").unwrap();
        create(&foreign).unwrap();
        assert_eq!(mode(&foreign), 0o700);
    }

    #[test]
    fn one_has_the_lock_at_a_time() {
        let data = tempfile::tempdir().unwrap();
        let lock = Lock::try_take(data.path()).unwrap().unwrap();
        assert!(Lock::try_take(data.path()).unwrap().is_none());
        let told = Lock::is_taken(data.path());
        assert!(told.ends_with(&format!("in use by process {}", std::process::id())), "{told}");
        drop(lock);
        let lock = Lock::try_take(data.path()).unwrap().unwrap();
        lock.is_whole().unwrap();
        fs::create_dir(data.path().join(RESTORING)).unwrap();
        assert!(lock.is_whole().unwrap_err().to_string().contains("cut off"));
    }
}

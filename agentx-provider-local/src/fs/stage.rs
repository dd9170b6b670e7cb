use agentx_resource::ErrorKind;
use rustix::{
    fd::{AsFd, AsRawFd, OwnedFd},
    fs::{
        AtFlags, CWD, Mode, OFlags, RenameFlags, fchmod, fchown, fdatasync, fsync, linkat, openat, renameat,
        renameat_with, unlinkat,
    },
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};

use super::{Done, Durability, Fault, resolve::Root};

const PREFIX: &[u8] = b".agentx-";
const SUFFIX: &[u8] = b".tmp";
const DIGITS: usize = 16;
/// How many random names are tried; each fails with a chance of one in 2^64.
const ATTEMPTS: usize = 8;

/// A file that nobody sees yet. Dropping it leaves nothing behind.
///
/// It has no name at all where the host can do that, so that not even a power cut leaves it; elsewhere its name is
/// one that [`is_staging_name`] knows.
#[derive(Debug)]
pub(super) struct Staged {
    file: OwnedFd,
    name: Option<StagingName>,
}

/// A staging name in use, which goes with this.
#[derive(Debug)]
struct StagingName {
    dir: OwnedFd,
    name: Vec<u8>,
}

impl Staged {
    /// A file in `dir`, with these permission bits less those of the umask.
    pub(super) fn create(root: &Root, dir: &OwnedFd, mode: Mode) -> Done<Self> {
        if root.nameless {
            match openat(dir, ".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
                Ok(file) => return Ok(Self { file, name: None }),
                // This file system knows no nameless files.
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let (name, file) = with_staging_name(|name| openat(dir, name, flags, mode))?;
        Ok(Self { file, name: Some(StagingName { dir: dir.try_clone()?, name }) })
    }

    pub(super) fn file(&self) -> &OwnedFd {
        &self.file
    }

    pub(super) fn write_all(&self, data: &[u8]) -> Done<()> {
        write_all(&self.file, data)
    }

    /// Gives it the owner and the permission bits of the file that it will replace. The owner stays as it is where
    /// this process may not give files away.
    pub(super) fn resemble(&self, replaced: &rustix::fs::Stat) -> Done<()> {
        let own = rustix::fs::fstat(&self.file)?;
        if (own.st_uid, own.st_gid) != (replaced.st_uid, replaced.st_gid) {
            let owner = rustix::fs::Uid::from_raw(replaced.st_uid);
            let group = rustix::fs::Gid::from_raw(replaced.st_gid);
            match fchown(&self.file, Some(owner), Some(group)) {
                Ok(()) | Err(Errno::PERM) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let mode = super::metadata::mode(replaced);
        if super::metadata::mode(&own) != mode {
            fchmod(&self.file, mode)?;
        }
        Ok(())
    }

    /// Makes the content as safe as was asked for.
    pub(super) fn sync(&self, durability: Durability) -> Done<()> {
        match durability {
            Durability::None => {}
            Durability::Data => fdatasync(&self.file)?,
            Durability::Full => fsync(&self.file)?,
        }
        Ok(())
    }

    /// Publishes it as `name` where nothing is; of many racers one wins.
    ///
    /// # Errors
    /// `AlreadyExists`; the file is still there to be published otherwise.
    pub(super) fn publish_new(&mut self, dir: &OwnedFd, name: &[u8]) -> Done<()> {
        match &self.name {
            None => link(&self.file, dir, name)?,
            Some(staging) => {
                match renameat_with(&staging.dir, &staging.name, dir, name, RenameFlags::NOREPLACE) {
                    Ok(()) => self.forget_name(),
                    // This file system can't rename so, but a link is never made over something either.
                    Err(Errno::INVAL | Errno::NOSYS) => {
                        linkat(&staging.dir, &staging.name, dir, name, AtFlags::empty())?;
                        self.name = None;
                    }
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        Ok(())
    }

    /// Publishes it as `name`, in place of what is there.
    pub(super) fn publish_over(&mut self, dir: &OwnedFd, name: &[u8]) -> Done<()> {
        let staging = match self.name.take() {
            Some(staging) => staging,
            None => {
                let (name, ()) = with_staging_name(|name| link(&self.file, dir, name))?;
                StagingName { dir: dir.try_clone()?, name }
            }
        };
        renameat(&staging.dir, &staging.name, dir, name)?;
        staging.forget();
        Ok(())
    }

    fn forget_name(&mut self) {
        if let Some(name) = self.name.take() {
            name.forget();
        }
    }
}

impl StagingName {
    /// The name was renamed: there is nothing to remove.
    fn forget(mut self) {
        self.name.clear();
    }
}

impl Drop for StagingName {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // Nobody can be told here; a leftover is hidden, and goes with its directory.
            let _ = unlinkat(&self.dir, &self.name, AtFlags::empty());
        }
    }
}

/// Whether this is the name of a file that is not published, which no listing shows.
pub(super) fn is_staging_name(name: &[u8]) -> bool {
    name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)).is_some_and(|id| {
        id.len() == DIGITS && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Calls `create` with random staging names until one is free.
pub(super) fn with_staging_name<T>(mut create: impl FnMut(&[u8]) -> Result<T, Errno>) -> Done<(Vec<u8>, T)> {
    for _ in 0..ATTEMPTS {
        let mut id = [0; DIGITS / 2];
        getrandom(&mut id, GetRandomFlags::empty())?;
        let name = [PREFIX, format!("{:016x}", u64::from_ne_bytes(id)).as_bytes(), SUFFIX].concat();
        match create(&name) {
            Err(Errno::EXIST) => {}
            created => return Ok((name, created?)),
        }
    }
    Err(Fault::new(ErrorKind::Busy, "no name for an unfinished write was free"))
}

pub(super) fn write_all(file: impl AsFd, mut data: &[u8]) -> Done<()> {
    while !data.is_empty() {
        match rustix::io::write(&file, data) {
            Ok(0) => return Err(Errno::NOSPC.into()),
            Ok(count) => data = data.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

fn link(file: &OwnedFd, dir: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
    // By way of /proc, since the direct form needs a privilege on older kernels.
    let own = format!("/proc/self/fd/{}", file.as_raw_fd());
    linkat(CWD, own, dir, name, AtFlags::SYMLINK_FOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_nameless_files_is_served_by_hidden_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut root = Root::open_host(dir.path(), dir.path(), None).unwrap();
        root.nameless = false;
        let names = || {
            let mut names: Vec<_> =
                std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let handle = root.open(b"", super::super::resolve::DIRECTORY).unwrap();
        let stage = |content: &str| {
            let staged = Staged::create(&root, &handle, Mode::RWXU).unwrap();
            staged.write_all(content.as_bytes()).unwrap();
            assert!(names().iter().any(|name| is_staging_name(name.as_encoded_bytes())));
            staged
        };
        drop(stage("dropped"));
        assert!(names().is_empty());
        stage("1").publish_new(&handle, b"f").unwrap();
        let mut late = stage("2");
        assert_eq!(late.publish_new(&handle, b"f").unwrap_err().kind(), ErrorKind::AlreadyExists);
        drop(late);
        assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "1");
        stage("3").publish_over(&handle, b"f").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "3");
        assert_eq!(names(), ["f"]);
    }

    #[test]
    fn only_the_exact_form_is_hidden() {
        assert!(is_staging_name(b".agentx-0123456789abcdef.tmp"));
        for name in [
            &b".agentx-0123.tmp"[..],
            b".agentx-0123456789ABCDEF.tmp",
            b"agentx-0123456789abcdef.tmp",
            b".agentx-",
        ] {
            assert!(!is_staging_name(name));
        }
    }
}

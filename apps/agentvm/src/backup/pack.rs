//! The way into an archive.

use std::{
    fmt,
    fs::{self, File, Metadata},
    io::{self, ErrorKind, Seek, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

use super::{FORMAT, MANIFEST, Manifest, check};
use crate::{Failure, data};

/// How long the store may be busy before it is given up.
const BUSY: Duration = Duration::from_secs(30);

/// How often a file is read that changes while it is read.
const TRIES: usize = 3;

/// What a server has for itself alone, and what others make anew.
const LEFT_OUT: [&str; 4] = ["lock", "avm.sock", "claude", data::RESTORING];

/// What was packed.
#[derive(Debug)]
pub(super) struct Packed {
    files: u64,
    bytes: u64,
    /// Files that changed each time that they were read.
    restless: u64,
}

impl fmt::Display for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files, {} bytes", self.files, self.bytes)?;
        match self.restless {
            0 => Ok(()),
            count => write!(f, "; {count} changed while they were read, and may be of two moments"),
        }
    }
}

/// Writes an archive of a data directory, which is there under its name when all of it is.
pub(super) fn pack(data: &Path, file: &Path) -> Result<Packed, Failure> {
    let failed = |error: io::Error| format!("{}: {error}", file.display());
    let beside = file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // For this user's eyes alone, as the directory is; gone when this fails.
    let archive = NamedTempFile::new_in(beside).map_err(failed)?;
    let mut pack = Pack {
        archive: Builder::new(GzEncoder::new(archive, Compression::default())),
        beside: beside.to_owned(),
        packed: Packed { files: 0, bytes: 0, restless: 0 },
    };
    let manifest = Manifest { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned() };
    let manifest = serde_json::to_vec_pretty(&manifest)?;
    pack.add(Path::new(MANIFEST), EntryType::Regular, 0o600, 0, manifest.len() as u64, manifest.as_slice())?;
    pack.store(&data.join(data::STORE))?;
    let mut others: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(data)? {
        let name = entry?.file_name();
        let is_store = name.as_encoded_bytes().starts_with(data::STORE.as_bytes());
        if !is_store && !LEFT_OUT.iter().any(|left| name == *left) {
            others.push(name.into());
        }
    }
    others.sort();
    for name in others {
        pack.tree(data, &name).map_err(|error| format!("{}: {error}", data.join(&name).display()))?;
    }
    let Pack { archive, packed, .. } = pack;
    let archive = archive.into_inner().and_then(GzEncoder::finish).map_err(failed)?;
    archive.as_file().sync_all().map_err(failed)?;
    archive.persist_noclobber(file).map_err(|error| failed(error.error))?;
    File::open(beside).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(packed)
}

struct Pack {
    archive: Builder<GzEncoder<NamedTempFile>>,
    /// Where there is room for copies.
    beside: PathBuf,
    packed: Packed,
}

impl Pack {
    /// The store as it is at one moment, whoever writes it meanwhile.
    fn store(&mut self, store: &Path) -> Result<(), Failure> {
        let room = tempfile::tempdir_in(&self.beside)?;
        let copy = room.path().join(data::STORE);
        let failed = |error: rusqlite::Error| format!("{}: {error}", store.display());
        {
            let connection = rusqlite::Connection::open(store).map_err(failed)?;
            connection.busy_timeout(BUSY).map_err(failed)?;
            let to = copy.to_str().ok_or("the archive's folder is not named in UTF-8")?;
            connection.execute("VACUUM INTO ?1", [to]).map_err(failed)?;
        }
        check(&copy)?;
        let mut file = File::open(&copy)?;
        let size = file.metadata()?.len();
        Ok(self.add(Path::new(data::STORE), EntryType::Regular, 0o600, 0, size, &mut file)?)
    }

    /// What is below a path, depth first. What goes away meanwhile was not there.
    fn tree(&mut self, data: &Path, first: &Path) -> io::Result<()> {
        let mut left = vec![first.to_owned()];
        while let Some(name) = left.pop() {
            match self.entry(data, &name, &mut left) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    fn entry(&mut self, data: &Path, name: &Path, left: &mut Vec<PathBuf>) -> io::Result<()> {
        let path = data.join(name);
        let metadata = fs::symlink_metadata(&path)?;
        let (mode, time) = (metadata.mode(), metadata.mtime());
        let kind = metadata.file_type();
        if kind.is_dir() {
            let entries = fs::read_dir(&path)?.map(|entry| Ok(name.join(entry?.file_name())));
            left.extend(entries.collect::<io::Result<Vec<_>>>()?);
            self.add(name, EntryType::Directory, mode, time, 0, io::empty())
        } else if kind.is_symlink() {
            let mut header = header(EntryType::Symlink, mode, time, 0);
            self.archive.append_link(&mut header, name, fs::read_link(&path)?)
        } else if kind.is_file() {
            let (mut copy, metadata) = self.copy(&path)?;
            let size = copy.seek(io::SeekFrom::End(0))?;
            copy.rewind()?;
            self.add(name, EntryType::Regular, metadata.mode(), metadata.mtime(), size, copy)
        } else {
            // A socket, a pipe or a device means nothing to anybody else.
            debug_assert!(
                kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
            );
            Ok(())
        }
    }

    /// A copy of a file as it was at one moment, if it stands still for long enough.
    fn copy(&mut self, path: &Path) -> io::Result<(File, Metadata)> {
        let mut copy = tempfile::tempfile_in(&self.beside)?;
        let same = |one: &Metadata, other: &Metadata| {
            (one.ino(), one.size(), one.mtime(), one.mtime_nsec())
                == (other.ino(), other.size(), other.mtime(), other.mtime_nsec())
        };
        for attempt in 1.. {
            // It may be a link by now, and a link is not followed.
            let before = fs::symlink_metadata(path)?;
            if !before.is_file() {
                return Err(ErrorKind::NotFound.into());
            }
            let mut file = File::open(path)?;
            copy.set_len(0)?;
            copy.rewind()?;
            io::copy(&mut file, &mut copy)?;
            let is_still = same(&before, &file.metadata()?);
            if is_still || attempt == TRIES {
                self.packed.restless += u64::from(!is_still);
                copy.flush()?;
                return Ok((copy, before));
            }
        }
        Err(ErrorKind::NotFound.into())
    }

    fn add(
        &mut self,
        name: &Path,
        kind: EntryType,
        mode: u32,
        time: i64,
        size: u64,
        content: impl io::Read,
    ) -> io::Result<()> {
        if kind.is_file() {
            self.packed.files += 1;
            self.packed.bytes += size;
        }
        self.archive.append_data(&mut header(kind, mode, time, size), name, content)
    }
}

fn header(kind: EntryType, mode: u32, time: i64, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode & 0o7777);
    header.set_mtime(u64::try_from(time).unwrap_or(0));
    header.set_size(size);
    header
}

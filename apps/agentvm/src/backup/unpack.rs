//! The way out of an archive.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read},
    os::unix::fs::DirBuilderExt,
    path::{Component, Path},
};

use flate2::read::GzDecoder;
use tar::{Archive, Entry};

use super::{FORMAT, MANIFEST, Manifest, check, drain};
use crate::{Failure, data};

/// The largest manifest, in bytes.
const LARGEST_MANIFEST: u64 = 64 << 10;

/// What a data directory may have before something is restored into it.
const HARMLESS: [&str; 1] = ["lock"];

/// What an archive must not have: a server's own.
const OWN: [&str; 3] = ["lock", "avm.sock", data::RESTORING];

/// Puts an archive into an empty data directory, of which the caller has the lock. Everything is unpacked and looked at
/// before any of it gets its name there, the store last: a server serves no directory in which this was cut off.
pub(super) fn unpack(archive: impl Read, data: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(data)? {
        let name = entry?.file_name();
        if !HARMLESS.iter().any(|harmless| name == *harmless) {
            return Err(format!("{} is not empty: it has {}", data.display(), name.display()).into());
        }
    }
    let room = data.join(data::RESTORING);
    DirBuilder::new().mode(0o700).create(&room)?;
    let unpacked = stage(archive, &room).and_then(|()| publish(&room, data));
    if let Err(failure) = unpacked {
        clear(data)?;
        return Err(failure);
    }
    Ok(())
}

/// Unpacks everything, and looks whether it is whole.
fn stage(archive: impl Read, room: &Path) -> Result<(), Failure> {
    let mut archive = Archive::new(GzDecoder::new(archive));
    archive.set_preserve_permissions(true);
    archive.set_overwrite(false);
    {
        let mut entries = archive.entries()?;
        let manifest = entries.next().ok_or("it is empty")??;
        examine(manifest)?;
        for entry in entries {
            let mut entry = entry?;
            if !belongs(&entry)? {
                let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
                return Err(format!("{name:?} does not belong into a backup").into());
            }
            if !entry.unpack_in(room)? {
                return Err(format!("{} leads out of it", entry.path()?.display()).into());
            }
        }
    }
    // The checksum is behind all of it.
    drain(archive.into_inner())?;
    let store = room.join(data::STORE);
    if !fs::symlink_metadata(&store).is_ok_and(|found| found.is_file()) {
        return Err(format!("it has no {}", data::STORE).into());
    }
    check(&store)
}

fn examine(manifest: Entry<'_, impl Read>) -> Result<(), Failure> {
    if manifest.path_bytes() != MANIFEST.as_bytes() {
        return Err("it is no backup of AgentVM's".into());
    }
    let manifest: Manifest = serde_json::from_reader(manifest.take(LARGEST_MANIFEST))?;
    if manifest.format > FORMAT {
        return Err(format!("AgentVM {} wrote it, which is newer than this one", manifest.version).into());
    }
    Ok(())
}

/// Whether an entry is a file, a directory or a link of a place below the directory.
fn belongs(entry: &Entry<'_, impl Read>) -> io::Result<bool> {
    let kind = entry.header().entry_type();
    let path = entry.path()?;
    let first = path.components().next();
    let own = OWN.iter().any(|own| first == Some(Component::Normal(own.as_ref())));
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
    Ok((kind.is_file() || kind.is_dir() || kind.is_symlink()) && is_below && !own)
}

/// Gives everything its name.
fn publish(room: &Path, data: &Path) -> Result<(), Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(room)? {
        names.push(entry?.file_name());
    }
    // The store last: where it is, everything is.
    names.sort_by_key(|name| name == data::STORE);
    for name in names {
        fs::rename(room.join(&name), data.join(&name))?;
    }
    fs::remove_dir(room)?;
    Ok(File::open(data)?.sync_all()?)
}

/// Takes away what a restore that failed has left.
fn clear(data: &Path) -> io::Result<()> {
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if HARMLESS.iter().any(|harmless| entry.file_name() == *harmless) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

//! `avm backup` and `avm restore`: everything that a server knows, in one file.
//!
//! The file is a gzipped tar archive: first [`MANIFEST`], then what a data directory has. The store is read in one
//! transaction beside a server that writes, the workspaces after it: what a stored conversation says that it wrote is
//! there, at least as new.

mod pack;
mod unpack;

use std::{
    fs::File,
    io::{self, Read, Write, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{Failure, data, data::Lock, settings::Place};

/// The first file of an archive.
const MANIFEST: &str = "agentvm-backup.json";

/// The form of an archive that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// The archive.
    file: PathBuf,
}

/// What an archive says of itself.
#[derive(Debug, Deserialize, Serialize)]
struct Manifest {
    format: u32,
    /// The program that wrote it.
    version: String,
}

/// Writes an archive, which is there when all of it is.
pub(crate) fn backup(options: &Options) -> Result<ExitCode, Failure> {
    let data = options.place.find()?.data;
    if !data.join(data::STORE).exists() {
        return Err(format!("{}: there is no {} to back up", data.display(), data::STORE).into());
    }
    let packed = pack::pack(&data, &options.file)?;
    writeln!(stdout(), "{}: {packed}", options.file.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Puts what an archive has into an empty data directory: all of it, or nothing.
pub(crate) fn restore(options: &Options) -> Result<ExitCode, Failure> {
    let data = options.place.find()?.data;
    data::create(&data)?;
    let lock = Lock::try_take(&data)?.ok_or_else(|| Lock::is_taken(&data))?;
    let failed = |error: io::Error| format!("{}: {error}", options.file.display());
    let archive = File::open(&options.file).map_err(failed)?;
    let restored = unpack::unpack(archive, &data);
    restored.map_err(|failure| format!("{}: {failure}; nothing was restored", options.file.display()))?;
    drop(lock);
    writeln!(stdout(), "restored into {}", data.display())?;
    Ok(ExitCode::SUCCESS)
}

/// Whether SQLite finds a store whole.
fn check(store: &Path) -> Result<(), Failure> {
    let failed = |error: rusqlite::Error| format!("{}: {error}", data::STORE);
    let connection = rusqlite::Connection::open_with_flags(store, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY);
    let connection = connection.map_err(failed)?;
    let told: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if told != "ok" {
        return Err(format!("{}: {told}", data::STORE).into());
    }
    let version = "SELECT max(version) FROM agentx_migrations";
    let version: i64 = connection.query_row(version, [], |row| row.get(0)).map_err(failed)?;
    if version > agentx_sql::SCHEMA_VERSION {
        return Err(format!("{}: a newer AgentVM wrote it", data::STORE).into());
    }
    Ok(())
}

/// Reads to the end, where the archive's checksum is.
fn drain(mut rest: impl Read) -> io::Result<u64> {
    io::copy(&mut rest, &mut io::sink())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rusqlite::Connection;

    use super::*;

    /// A data directory with a store, a key and a workspace.
    fn filled() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        let store = Connection::open(data.path().join(data::STORE)).unwrap();
        store.pragma_update(None, "journal_mode", "WAL").unwrap();
        let tables = "CREATE TABLE agentx_migrations (version INTEGER); CREATE TABLE t (x);
            INSERT INTO agentx_migrations VALUES (1); INSERT INTO t VALUES (7)";
        store.execute_batch(tables).unwrap();
        let work = data.path().join("workspaces/local:chat/img_1");
        fs::create_dir_all(work.join("empty")).unwrap();
        fs::write(work.join("a.txt"), "made").unwrap();
        fs::write(work.join("x".repeat(200)), vec![7; 100_000]).unwrap();
        symlink("/etc/passwd", work.join("link")).unwrap();
        fs::write(data.path().join("keys"), "hash ann\n").unwrap();
        fs::write(data.path().join("lock"), "").unwrap();
        data
    }

    fn entries(data: &Path) -> Vec<String> {
        let names =
            fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "lock").collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_restored_is_what_was_backed_up_while_others_write() {
        let (data, place) = (filled(), tempfile::tempdir().unwrap());
        let file = place.path().join("backup.tar.gz");
        // Somebody has the store open, with a transaction that is not done.
        let writer = Connection::open(data.path().join(data::STORE)).unwrap();
        writer.execute_batch("INSERT INTO t VALUES (8); BEGIN IMMEDIATE; INSERT INTO t VALUES (9)").unwrap();
        pack::pack(data.path(), &file).unwrap();
        writer.execute_batch("COMMIT").unwrap();

        let target = place.path().join("restored");
        data::create(&target).unwrap();
        unpack::unpack(File::open(&file).unwrap(), &target).unwrap();
        assert_eq!(entries(&target), [data::STORE, "keys", "workspaces"]);
        let store = Connection::open(target.join(data::STORE)).unwrap();
        let sum: i64 = store.query_row("SELECT sum(x) FROM t", [], |row| row.get(0)).unwrap();
        assert_eq!(sum, 15);
        let work = target.join("workspaces/local:chat/img_1");
        assert_eq!(fs::read_to_string(work.join("a.txt")).unwrap(), "made");
        assert_eq!(fs::read(work.join("x".repeat(200))).unwrap().len(), 100_000);
        assert!(work.join("empty").is_dir());
        assert_eq!(fs::read_link(work.join("link")).unwrap(), Path::new("/etc/passwd"));
        // Nothing is left beside the archive.
        assert_eq!(entries(place.path()), ["backup.tar.gz", "restored"]);
        assert!(pack::pack(data.path(), &file).unwrap_err().to_string().contains("exists"));

        // A directory that has something is not touched.
        let told = unpack::unpack(File::open(&file).unwrap(), &target).unwrap_err().to_string();
        assert!(told.contains("is not empty"), "{told}");
    }

    #[test]
    fn what_is_broken_anywhere_is_refused_and_nothing_is_left() {
        let (data, place) = (filled(), tempfile::tempdir().unwrap());
        let file = place.path().join("backup.tar.gz");
        pack::pack(data.path(), &file).unwrap();
        let whole = fs::read(&file).unwrap();
        let target = place.path().join("restored");
        data::create(&target).unwrap();
        let mut broken: Vec<Vec<u8>> =
            [0, 1, 10, whole.len() / 2, whole.len() - 1].map(|end| whole[..end].to_vec()).into();
        broken.extend((0..whole.len()).step_by(whole.len() / 40).map(|place| {
            let mut changed = whole.clone();
            changed[place] ^= 0x10;
            changed
        }));
        let mut refused = 0;
        for archive in &broken {
            // A few bytes of the head, such as the time, mean nothing.
            let Err(_) = unpack::unpack(archive.as_slice(), &target) else {
                fs::remove_dir_all(&target).unwrap();
                data::create(&target).unwrap();
                continue;
            };
            refused += 1;
            assert!(entries(&target).is_empty(), "{:?}", entries(&target));
        }
        assert!(refused >= broken.len() - 2, "{refused} of {}", broken.len());
    }

    #[test]
    fn a_store_that_is_newer_is_refused_both_ways() {
        let (data, place) = (filled(), tempfile::tempdir().unwrap());
        let store = Connection::open(data.path().join(data::STORE)).unwrap();
        store.execute("UPDATE agentx_migrations SET version = 1000", []).unwrap();
        let told = pack::pack(data.path(), &place.path().join("backup.tar.gz")).unwrap_err().to_string();
        assert!(told.contains("a newer AgentVM wrote it"), "{told}");
        assert!(entries(place.path()).is_empty());
    }

    /// An archive of these entries.
    fn archive(manifest: &Manifest, entries: &[(&str, tar::EntryType)]) -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        let mut add = |name: &str, kind: tar::EntryType, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o600);
            header.set_size(content.len() as u64);
            // As somebody would write it who means harm: the library refuses such names.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            if kind.is_symlink() {
                header.set_link_name("/tmp").unwrap();
            }
            header.set_cksum();
            archive.append(&header, content).unwrap();
        };
        add(MANIFEST, tar::EntryType::Regular, &serde_json::to_vec(manifest).unwrap());
        for (name, kind) in entries {
            add(name, *kind, b"");
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn an_archive_that_is_newer_or_means_harm_is_refused() {
        use tar::EntryType::{Block, Link, Regular, Symlink};
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("restored");
        data::create(&target).unwrap();
        let told = |format: u32, entries: &[(&str, tar::EntryType)]| {
            let manifest = Manifest { format, version: "9.9.9".to_owned() };
            let told = unpack::unpack(archive(&manifest, entries).as_slice(), &target).unwrap_err();
            assert!(self::entries(&target).is_empty());
            told.to_string()
        };
        assert!(told(FORMAT + 1, &[]).contains("AgentVM 9.9.9 wrote it"));
        assert!(told(FORMAT, &[]).contains("has no agentvm.db"));
        for (name, kind) in [
            ("../escaped", Regular),
            ("workspaces/../../escaped", Regular),
            ("/tmp/escaped", Regular),
            ("workspaces/device", Block),
            ("workspaces/hard", Link),
            ("lock", Regular),
        ] {
            let told = told(FORMAT, &[(name, kind)]);
            assert!(told.contains("does not belong"), "{name}: {told}");
        }
        // A link that leads out, and a file that would go through it.
        let told = told(FORMAT, &[("workspaces/out", Symlink), ("workspaces/out/escaped", Regular)]);
        assert!(!told.contains("has no"), "{told}");
        assert!(!Path::new("/tmp/escaped").exists());
    }
}

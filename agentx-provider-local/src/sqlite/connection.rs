//! Opens a database. Nothing here changes it: an existing file is only read.

use std::{
    path::{Path, absolute},
    time::Duration,
};

use agentx_resource::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};

use super::error::{PROVIDER, error, told};
use crate::fs::Fault;

/// How long a connection waits for a lock that another holds.
pub(super) const BUSY: Duration = Duration::from_secs(5);

const STATEMENTS: usize = 64;
const OPERATION: &str = "open database";

/// A database in memory, gone with its connection.
pub(super) const MEMORY: &str = ":memory:";

pub(super) fn memory() -> Result<Connection> {
    let connection = Connection::open_in_memory().map_err(|source| told(source, OPERATION, MEMORY))?;
    prepare(connection, MEMORY)
}

pub(super) fn open(path: &Path) -> Result<Connection> {
    let name = path.display().to_string();
    if name.is_empty() {
        return Err(error(ErrorKind::InvalidInput, OPERATION, &name, "an empty path"));
    }
    // An absolute path is never one of the names that SQLite takes for something else.
    let file = absolute(path).map_err(|source| host(source, &name))?;
    let parent = file.parent().unwrap_or(&file);
    examine(&file, parent, &name)?;
    connect(&file, &name).map_err(|refused| {
        // SQLite does not say why it can't open a file, or the log beside it.
        let denied = |path| access(path, Access::READ_OK | Access::WRITE_OK).is_err();
        if refused.kind() == ErrorKind::Unavailable && (denied(parent) || file.exists() && denied(&file)) {
            let message = "the file and its directory must be readable and writable";
            return error(ErrorKind::PermissionDenied, OPERATION, &name, message).with_source(refused);
        }
        refused
    })
}

fn connect(file: &Path, name: &str) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let told = |source| told(source, OPERATION, name);
    let connection = Connection::open_with_flags(file, flags).map_err(told)?;
    // SQLite opens a file that it may not write for reading alone.
    if connection.is_readonly("main").map_err(told)? {
        return Err(error(ErrorKind::PermissionDenied, OPERATION, name, "the file is read-only"));
    }
    prepare(connection, name)
}

/// Tells what SQLite would answer with "unable to open database file".
fn examine(file: &Path, parent: &Path, name: &str) -> Result<()> {
    match file.metadata() {
        Ok(metadata) if metadata.is_dir() => Err(error(ErrorKind::IsADirectory, OPERATION, name, "")),
        Ok(metadata) if !metadata.is_file() => {
            Err(error(ErrorKind::InvalidInput, OPERATION, name, "not a regular file"))
        }
        Ok(_) => Ok(()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => match parent.metadata() {
            Ok(_) => Ok(()),
            Err(source) => Err(host(source, name).with_message("its directory is not there")),
        },
        Err(source) => Err(host(source, name)),
    }
}

fn host(source: std::io::Error, name: &str) -> Error {
    Fault::from(source).told(OPERATION, name).with_provider(PROVIDER)
}

fn prepare(connection: Connection, name: &str) -> Result<Connection> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let settings = || {
        connection.busy_timeout(BUSY)?;
        // The first read: SQLite now looks whether the file is a database.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)
    };
    settings().map_err(|source| told(source, OPERATION, name))?;
    Ok(connection)
}

//! What SQLite answers, as an error of the contract.

use std::borrow::Cow;

use agentx_resource::{Error, ErrorKind, Retry};
use rusqlite::{Error as SqlError, ErrorCode, ffi};

/// Names the provider in errors.
pub(super) const PROVIDER: &str = "sqlite";

pub(super) fn error(
    kind: ErrorKind,
    operation: &'static str,
    database: &str,
    message: impl Into<Cow<'static, str>>,
) -> Error {
    Error::new(kind, operation).with_path(database).with_provider(PROVIDER).with_message(message)
}

pub(super) fn told(source: SqlError, operation: &'static str, database: &str) -> Error {
    let (kind, retry, message) = meaning(&source);
    error(kind, operation, database, message).with_retry(retry).with_source(source)
}

/// Whether the device failed, so that it is unknown how far SQLite came.
pub(super) fn is_device(source: &SqlError) -> bool {
    code(source).is_some_and(|error| error.code == ErrorCode::SystemIoFailure)
}

/// Whether another connection holds a lock that SQLite waited for in vain.
pub(super) fn is_busy(source: &SqlError) -> bool {
    code(source)
        .is_some_and(|error| matches!(error.code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// What SQLite itself answered; none where the error is rusqlite's.
fn code(source: &SqlError) -> Option<ffi::Error> {
    match source {
        SqlError::SqliteFailure(error, _) | SqlError::SqlInputError { error, .. } => Some(*error),
        _ => None,
    }
}

fn meaning(source: &SqlError) -> (ErrorKind, Retry, &'static str) {
    use ErrorCode as C;
    use ErrorKind as K;
    const NEVER: Retry = Retry::Never;
    let answer = code(source);
    let extended = answer.map_or(0, |error| error.extended_code);
    match answer.map(|error| error.code) {
        Some(C::ConstraintViolation) => match extended {
            ffi::SQLITE_CONSTRAINT_UNIQUE
            | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            | ffi::SQLITE_CONSTRAINT_ROWID => (K::AlreadyExists, NEVER, ""),
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => (K::NotFound, NEVER, "a row that this refers to"),
            _ => (K::InvalidInput, NEVER, "a constraint does not hold"),
        },
        Some(C::DatabaseBusy | C::DatabaseLocked) => {
            (K::Busy, Retry::After(None), "somebody else holds the database")
        }
        Some(C::ReadOnly) => (K::PermissionDenied, NEVER, "the database is read-only"),
        Some(C::PermissionDenied | C::AuthorizationForStatementDenied) => (K::PermissionDenied, NEVER, ""),
        Some(C::NotADatabase) => (K::Corrupt, NEVER, "the file is not a SQLite database"),
        Some(C::DatabaseCorrupt) => (K::Corrupt, NEVER, "the database is damaged"),
        Some(C::DiskFull) => (K::LimitExceeded, NEVER, "no space left on the device"),
        Some(C::TooBig) => (K::LimitExceeded, NEVER, "a value or statement is too large"),
        Some(C::OutOfMemory) => (K::LimitExceeded, Retry::After(None), "out of memory"),
        Some(C::CannotOpen) => (K::Unavailable, NEVER, "the host does not open the file"),
        Some(C::SystemIoFailure) => (K::Unavailable, NEVER, "the device reports an error"),
        Some(C::FileLockingProtocolFailed | C::SchemaChanged) => (K::Unavailable, Retry::After(None), ""),
        Some(C::TypeMismatch | C::ParameterOutOfRange) => (K::InvalidInput, NEVER, ""),
        Some(C::Unknown) if extended & 0xff == ffi::SQLITE_ERROR => {
            (K::InvalidInput, NEVER, "SQLite refuses the statement")
        }
        Some(_) => (K::Internal, NEVER, ""),
        None => match source {
            SqlError::MultipleStatement | SqlError::NulError(_) | SqlError::InvalidParameterCount(..) => {
                (K::InvalidInput, NEVER, "one statement is one text, with its parameters")
            }
            _ => (K::Internal, NEVER, ""),
        },
    }
}

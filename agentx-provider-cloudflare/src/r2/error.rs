use std::{error::Error as StdError, io};

use agentx_resource::{Error, ErrorKind, ResourcePath, Retry};

/// What errors name as the provider.
const PROVIDER: &str = "r2";

/// An error that this file system finds itself.
pub(super) fn fail(kind: ErrorKind, operation: &'static str, path: &ResourcePath) -> Error {
    Error::new(kind, operation).with_path(path).with_provider(PROVIDER)
}

/// An error that the store reports.
pub(super) fn store(error: object_store::Error, operation: &'static str, path: &ResourcePath) -> Error {
    let kind = kind(&error);
    // The clients of remote stores retry by themselves; what they report has been tried.
    let retry = if kind == ErrorKind::Unavailable { Retry::Exhausted } else { Retry::Never };
    fail(kind, operation, path).with_retry(retry).with_source(error)
}

/// Whether the store says that nothing is there. A store on a local disk knows more than that: that a parent is
/// a file.
pub(super) fn is_absent(error: &object_store::Error) -> bool {
    matches!(kind(error), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn kind(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as Store;
    match error {
        Store::NotFound { .. } => ErrorKind::NotFound,
        Store::AlreadyExists { .. } => ErrorKind::AlreadyExists,
        Store::Precondition { .. } | Store::NotModified { .. } => ErrorKind::ConditionFailed,
        Store::NotSupported { .. } | Store::NotImplemented { .. } => ErrorKind::Unsupported,
        Store::PermissionDenied { .. } => ErrorKind::PermissionDenied,
        Store::Unauthenticated { .. } => ErrorKind::Unauthenticated,
        Store::InvalidPath { .. } => ErrorKind::InvalidPath,
        Store::UnknownConfigurationKey { .. } => ErrorKind::InvalidInput,
        Store::Generic { source, .. } => io_kind(&**source),
        _ => ErrorKind::Internal,
    }
}

/// What the first I/O error among the causes means; without one, the store could not be asked.
fn io_kind(mut cause: &(dyn StdError + 'static)) -> ErrorKind {
    loop {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return match error.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::NotADirectory => ErrorKind::NotADirectory,
                io::ErrorKind::IsADirectory => ErrorKind::IsADirectory,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::PermissionDenied
                }
                io::ErrorKind::InvalidFilename => ErrorKind::InvalidPath,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                    ErrorKind::LimitExceeded
                }
                io::ErrorKind::TimedOut => ErrorKind::TimedOut,
                io::ErrorKind::UnexpectedEof => ErrorKind::Truncated,
                _ => ErrorKind::Unavailable,
            };
        }
        match cause.source() {
            Some(source) => cause = source,
            None => return ErrorKind::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        let error = object_store::Error::Generic { store: "S3", source: source.into() };
        store(error, "read", &ResourcePath::root())
    }

    #[test]
    fn an_error_of_the_disk_keeps_its_meaning() {
        for (io, kind) in [
            (io::ErrorKind::StorageFull, ErrorKind::LimitExceeded),
            (io::ErrorKind::PermissionDenied, ErrorKind::PermissionDenied),
            (io::ErrorKind::TimedOut, ErrorKind::TimedOut),
        ] {
            let error = generic(io::Error::from(io));
            assert_eq!((error.kind(), error.retry()), (kind, Retry::Never));
        }
    }

    #[test]
    fn a_store_that_can_not_be_asked_is_unavailable() {
        let error = generic("error sending request");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Exhausted));
        assert_eq!(error.to_string(), r#"read "/" (r2): unavailable"#);
        assert!(error.source().unwrap().to_string().contains("error sending request"));
    }
}

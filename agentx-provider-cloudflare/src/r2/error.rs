use std::{error::Error as StdError, io};

use agentx_resource::{Error, ErrorKind, ResourcePath, Retry};

/// What errors name as the provider.
pub(super) const PROVIDER: &str = "r2";

/// An error that this file system finds itself.
pub(super) fn fail(kind: ErrorKind, operation: &'static str, path: &ResourcePath) -> Error {
    Error::new(kind, operation).with_path(path).with_provider(PROVIDER)
}

/// An error that the store reports.
pub(super) fn store(error: object_store::Error, operation: &'static str, path: &ResourcePath) -> Error {
    // Who supplies the keys may have failed.
    let supplier = causes(&error).find_map(|cause| cause.downcast_ref::<Error>());
    if let Some((kind, retry)) = supplier.map(|cause| (cause.kind(), cause.retry())) {
        return fail(kind, operation, path).with_retry(retry).with_source(error);
    }
    let kind = kind(&error);
    // The clients of remote stores retry by themselves; what they report has been tried.
    let tried = matches!(kind, ErrorKind::Unavailable | ErrorKind::TimedOut | ErrorKind::Busy);
    let told = fail(kind, operation, path).with_retry(if tried { Retry::Exhausted } else { Retry::Never });
    let told = match Answer::of(&error) {
        Some(Answer { message: Some(message), .. }) => told.with_message(message),
        _ if tried => told.with_message(last_words(&error)),
        _ => told,
    };
    told.with_source(error)
}

/// The most that is told of what the network or the store says, in characters.
const SHOWN: usize = 300;

/// What the network or the store said, below all that the clients say of it.
fn last_words(error: &object_store::Error) -> String {
    let words = causes(error).last().map(ToString::to_string).unwrap_or_default();
    words.chars().take(SHOWN).map(|each| if each.is_control() { ' ' } else { each }).collect()
}

/// Whether the store says that nothing is there. A store on a local disk knows more than that: that a parent is
/// a file.
pub(super) fn is_absent(error: &object_store::Error) -> bool {
    matches!(kind(error), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Whether the store gives no range of this file: an empty one has none, and HTTP allows to answer with the whole.
pub(super) fn has_no_range(error: &object_store::Error) -> bool {
    let said = causes(error).last().map(ToString::to_string).unwrap_or_default();
    said.contains("<Code>InvalidRange</Code>") || said.contains("non-partial response")
}

fn kind(error: &object_store::Error) -> ErrorKind {
    use object_store::Error as Store;
    if let Some(answer) = Answer::of(error) {
        return answer.kind;
    }
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

/// What the code in an answer of the S3 API means, where it says more than the status.
struct Answer {
    kind: ErrorKind,
    message: Option<&'static str>,
}

impl Answer {
    fn of(error: &object_store::Error) -> Option<Self> {
        let text = causes(error).last()?.to_string();
        let (_, code) = text.split_once("<Code>")?;
        let (code, _) = code.split_once("</Code>")?;
        let (kind, message) = match code {
            "AccessDenied" => (ErrorKind::PermissionDenied, None),
            "RequestTimeTooSkewed" => {
                (ErrorKind::Unauthenticated, Some("this machine's clock and the store's are too far apart"))
            }
            "ExpiredToken" | "ExpiredRequest" => (ErrorKind::Unauthenticated, Some("the keys have expired")),
            "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "Unauthorized" | "InvalidToken" => {
                (ErrorKind::Unauthenticated, Some("the store does not accept the keys"))
            }
            // Not that an object is missing, which would make the bucket look empty.
            "NoSuchBucket" => (ErrorKind::InvalidInput, Some("there is no such bucket")),
            "EntityTooLarge" => (ErrorKind::LimitExceeded, None),
            "KeyTooLongError" => (ErrorKind::InvalidPath, Some("its key is too long, with the prefix")),
            "NotImplemented" => (ErrorKind::Unsupported, None),
            "OperationAborted" | "ConditionalRequestConflict" => (ErrorKind::Busy, None),
            "BadDigest" | "IncompleteBody" | "XAmzContentSHA256Mismatch" => {
                (ErrorKind::Corrupt, Some("the content was damaged on its way"))
            }
            "InvalidArgument" | "InvalidRequest" | "MalformedXML" | "InvalidPart" | "EntityTooSmall" => {
                (ErrorKind::Internal, None)
            }
            _ => return None,
        };
        Some(Self { kind, message })
    }
}

type Cause<'e> = &'e (dyn StdError + 'static);

/// The error, and what it was caused by.
pub(super) fn causes<'e>(error: Cause<'e>) -> impl Iterator<Item = Cause<'e>> {
    std::iter::successors(Some(error), |&error: &Cause<'e>| error.source())
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
        for (io, kind, retry) in [
            (io::ErrorKind::StorageFull, ErrorKind::LimitExceeded, Retry::Never),
            (io::ErrorKind::PermissionDenied, ErrorKind::PermissionDenied, Retry::Never),
            (io::ErrorKind::TimedOut, ErrorKind::TimedOut, Retry::Exhausted),
        ] {
            let error = generic(io::Error::from(io));
            assert_eq!((error.kind(), error.retry()), (kind, retry));
        }
    }

    #[test]
    fn a_store_that_can_not_be_asked_is_unavailable() {
        let error = generic("error sending request");
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Exhausted));
        assert_eq!(error.to_string(), r#"read "/" (r2): unavailable: error sending request"#);
        assert!(error.source().unwrap().to_string().contains("error sending request"));
    }
}

use std::time::Duration;

use agentx_resource::{Error, ErrorKind, Retry};
use serde::{Deserialize, Serialize};

/// An error on its way: all of it but its cause, which stays where it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The kind, in the words of [`ErrorKind::as_str`].
    pub kind: String,
    /// The verb that failed.
    pub operation: String,
    /// Its subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Who reports it.
    #[serde(default)]
    pub provider: String,
    /// What the kind does not say.
    #[serde(default)]
    pub message: String,
    /// Whether trying again can help.
    #[serde(default)]
    pub retry: Again,
}

/// A [`Retry`] on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// It will fail again.
    #[default]
    Never,
    /// It may succeed, after so long.
    After(Option<Duration>),
    /// It was tried as often as allowed.
    Exhausted,
}

/// All kinds there are.
const KINDS: &[ErrorKind] = &[
    ErrorKind::NotFound,
    ErrorKind::AlreadyExists,
    ErrorKind::NotADirectory,
    ErrorKind::IsADirectory,
    ErrorKind::DirectoryNotEmpty,
    ErrorKind::InvalidPath,
    ErrorKind::Escapes,
    ErrorKind::InvalidInput,
    ErrorKind::PermissionDenied,
    ErrorKind::Unauthenticated,
    ErrorKind::ConditionFailed,
    ErrorKind::Unsupported,
    ErrorKind::LimitExceeded,
    ErrorKind::Busy,
    ErrorKind::TimedOut,
    ErrorKind::Cancelled,
    ErrorKind::Unavailable,
    ErrorKind::Truncated,
    ErrorKind::Lost,
    ErrorKind::Corrupt,
    ErrorKind::Internal,
];

impl Fault {
    /// The HTTP status that says the same as far as one can.
    pub fn http_status(&self) -> u16 {
        match kind(&self.kind) {
            ErrorKind::NotFound => 404,
            ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::DirectoryNotEmpty
            | ErrorKind::Busy => 409,
            ErrorKind::InvalidPath
            | ErrorKind::Escapes
            | ErrorKind::InvalidInput
            | ErrorKind::Truncated
            | ErrorKind::Cancelled => 400,
            ErrorKind::Unauthenticated => 401,
            ErrorKind::PermissionDenied => 403,
            ErrorKind::Lost => super::GONE,
            ErrorKind::ConditionFailed => 412,
            ErrorKind::Unsupported => 501,
            ErrorKind::LimitExceeded => 413,
            ErrorKind::Unavailable => 503,
            ErrorKind::TimedOut => 504,
            _ => 500,
        }
    }
}

/// A kind by its words. One that is not known is `Internal`: something failed, and how can't be said here.
fn kind(words: &str) -> ErrorKind {
    KINDS.iter().copied().find(|kind| kind.as_str() == words).unwrap_or(ErrorKind::Internal)
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().as_str().to_owned(),
            operation: error.operation().to_owned(),
            path: error.path().map(str::to_owned),
            provider: error.provider().to_owned(),
            message: error.message().to_owned(),
            retry: match error.retry() {
                Retry::After(delay) => Again::After(delay),
                Retry::Exhausted => Again::Exhausted,
                _ => Again::Never,
            },
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let retry = match fault.retry {
            Again::Never => Retry::Never,
            Again::After(delay) => Retry::After(delay),
            Again::Exhausted => Retry::Exhausted,
        };
        let error = Self::new(kind(&fault.kind), fault.operation)
            .with_provider(fault.provider)
            .with_message(fault.message)
            .with_retry(retry);
        match fault.path {
            Some(path) => error.with_path(path),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_arrives_as_it_was() {
        for &kind in KINDS {
            let sent = Error::new(kind, "read")
                .with_path("/a")
                .with_provider("local")
                .with_message("m")
                .with_retry(Retry::After(Some(Duration::from_millis(1500))));
            let wire = serde_json::to_string(&Fault::from(&sent)).unwrap();
            let came = Error::from(serde_json::from_str::<Fault>(&wire).unwrap());
            assert_eq!(came.to_string(), sent.to_string());
            assert_eq!((came.kind(), came.retry()), (kind, sent.retry()));
        }
    }

    #[test]
    fn a_kind_of_later_is_an_internal_error() {
        let fault: Fault = serde_json::from_str(r#"{"kind":"quantum","operation":"read"}"#).unwrap();
        assert_eq!(Error::from(fault).kind(), ErrorKind::Internal);
    }
}

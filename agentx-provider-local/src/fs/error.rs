use std::borrow::Cow;

use agentx_resource::{Error, ErrorKind, Retry};
use rustix::io::Errno;

/// The result of work on the blocking pool, where operation and path are not at hand.
pub(crate) type Done<T> = Result<T, Fault>;

/// A failure before it is told: the boundary that knows the operation and the path makes an [`Error`] of it.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: ErrorKind,
    message: Cow<'static, str>,
    retry: Retry,
    source: Option<Errno>,
}

impl Fault {
    /// A failure that no system call reported.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let retry = match kind {
            ErrorKind::Busy => Retry::After(None),
            _ => Retry::Never,
        };
        Self { kind, message: message.into(), retry, source: None }
    }

    /// The path leads out of the root.
    pub(crate) fn escapes(message: &'static str) -> Self {
        Self::new(ErrorKind::Escapes, message)
    }

    /// Tells it as something else, which the host's answer led to.
    pub(crate) fn of_kind(self, kind: ErrorKind, message: &'static str) -> Self {
        Self { source: self.source, ..Self::new(kind, message) }
    }

    /// Below a file there is nothing: what is looked up there does not exist.
    pub(crate) fn of_lookup(self) -> Self {
        match self.kind {
            ErrorKind::NotADirectory => self.of_kind(ErrorKind::NotFound, "a parent is no directory"),
            _ => self,
        }
    }

    /// Whether a directory that was seen a moment ago is not there any more, or is something else now.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.source, Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The error as a caller sees it.
    pub(crate) fn told(self, operation: &'static str, path: impl std::fmt::Display) -> Error {
        let mut error = Error::new(self.kind, operation)
            .with_path(path)
            .with_provider(super::PROVIDER)
            .with_message(self.message)
            .with_retry(self.retry);
        if let Some(errno) = self.source {
            error = error.with_source(std::io::Error::from(errno));
        }
        error
    }
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        let (kind, message, retry) = meaning(errno);
        Self { kind, message: Cow::Borrowed(message), retry, source: Some(errno) }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => errno.into(),
            None => Self::new(ErrorKind::Internal, error.to_string()),
        }
    }
}

fn meaning(errno: Errno) -> (ErrorKind, &'static str, Retry) {
    use ErrorKind as K;
    const LATER: Retry = Retry::After(None);
    const NEVER: Retry = Retry::Never;
    match errno {
        Errno::NOENT => (K::NotFound, "", NEVER),
        Errno::EXIST => (K::AlreadyExists, "", NEVER),
        Errno::NOTDIR => (K::NotADirectory, "", NEVER),
        Errno::ISDIR => (K::IsADirectory, "", NEVER),
        Errno::NOTEMPTY => (K::DirectoryNotEmpty, "", NEVER),
        Errno::ACCESS | Errno::PERM => (K::PermissionDenied, "", NEVER),
        Errno::ROFS => (K::PermissionDenied, "the host's file system is read-only", NEVER),
        Errno::NAMETOOLONG => (K::InvalidPath, "the host does not take so long a name", NEVER),
        Errno::ILSEQ => (K::InvalidPath, "the host does not take this name", NEVER),
        Errno::LOOP => (K::InvalidPath, "too many symbolic links", NEVER),
        // Only openat2 reports an escape so, and it is told apart where openat2 is called.
        Errno::XDEV => (K::Unsupported, "the two places are on different devices", NEVER),
        Errno::NOSPC => (K::LimitExceeded, "no space left on the device", NEVER),
        Errno::DQUOT => (K::LimitExceeded, "the disk quota is used up", NEVER),
        Errno::FBIG => (K::LimitExceeded, "the file would be too large for the host", NEVER),
        Errno::MLINK => (K::LimitExceeded, "too many links", NEVER),
        Errno::MFILE | Errno::NFILE => (K::LimitExceeded, "too many open files", LATER),
        Errno::NOMEM | Errno::NOBUFS => (K::LimitExceeded, "out of memory", LATER),
        Errno::BUSY | Errno::TXTBSY | Errno::AGAIN => (K::Busy, "", LATER),
        Errno::NXIO | Errno::NODEV => (K::InvalidInput, "neither a file nor a directory", NEVER),
        Errno::IO => (K::Unavailable, "the device reports an error", NEVER),
        Errno::STALE | Errno::TIMEDOUT | Errno::NOTCONN => {
            (K::Unavailable, "the network file system does not answer", LATER)
        }
        Errno::INTR => (K::Unavailable, "interrupted", LATER),
        Errno::OPNOTSUPP | Errno::NOSYS => (K::Unsupported, "the host's file system can't do this", NEVER),
        _ => (K::Internal, "unexpected answer of the host", NEVER),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn each_answer_of_the_host_has_its_kind() {
        for (errno, kind, retry) in [
            (Errno::NOENT, ErrorKind::NotFound, Retry::Never),
            (Errno::ROFS, ErrorKind::PermissionDenied, Retry::Never),
            (Errno::NAMETOOLONG, ErrorKind::InvalidPath, Retry::Never),
            (Errno::XDEV, ErrorKind::Unsupported, Retry::Never),
            (Errno::DQUOT, ErrorKind::LimitExceeded, Retry::Never),
            (Errno::MFILE, ErrorKind::LimitExceeded, Retry::After(None)),
            (Errno::BUSY, ErrorKind::Busy, Retry::After(None)),
            (Errno::BADF, ErrorKind::Internal, Retry::Never),
        ] {
            let error = Fault::from(errno).told("read", "/a");
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{errno}");
            assert_eq!((error.operation(), error.path(), error.provider()), ("read", Some("/a"), "local"));
            let source = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
            assert_eq!(source.raw_os_error(), Some(errno.raw_os_error()));
        }
    }
}

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc, time::Duration};

/// The result of every operation on a resource.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, told once and in full: kind, operation, subject, provider, cause, and whether trying again can
/// help. It is one pointer, and cheap to clone; every crate of AgentX reports in it.
///
/// `Display` is one line without the source; `Debug` shows everything. No secret is ever part of an error.
///
/// ```
/// use agentx_resource::{Error, ErrorKind, ResourcePath, Retry};
///
/// let path = ResourcePath::new("/a.txt")?;
/// let error = Error::new(ErrorKind::NotFound, "read").with_path(&path).with_provider("memory");
/// assert_eq!(error.to_string(), r#"read "/a.txt" (memory): not found"#);
/// assert_eq!(error.retry(), Retry::Never);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    operation: Cow<'static, str>,
    path: Option<String>,
    provider: Cow<'static, str>,
    message: Cow<'static, str>,
    retry: Retry,
    source: Option<Arc<dyn StdError + Send + Sync + 'static>>,
}

/// The kinds of failure that a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The subject does not exist.
    NotFound,
    /// The subject exists and must not.
    AlreadyExists,
    /// A directory was needed, and something else is there.
    NotADirectory,
    /// A directory is there, and something else was needed.
    IsADirectory,
    /// A directory that has entries can't be removed or replaced.
    DirectoryNotEmpty,
    /// The text is not a path of this resource.
    InvalidPath,
    /// The path leads out of the resource's root.
    Escapes,
    /// The request makes no sense, whatever the state of the resource.
    InvalidInput,
    /// The platform refuses this caller.
    PermissionDenied,
    /// The platform does not know this caller: a key or token is missing, wrong or expired.
    Unauthenticated,
    /// The condition of a conditional operation did not hold.
    ConditionFailed,
    /// The provider does not offer this. Nothing was changed.
    Unsupported,
    /// A stated bound was reached: a size, a count, a quota.
    LimitExceeded,
    /// Somebody else is at work on the subject.
    Busy,
    /// The time allowed ran out.
    TimedOut,
    /// The work was given up on request.
    Cancelled,
    /// The platform can't be reached or is overloaded.
    Unavailable,
    /// A stream ended before its stated end.
    Truncated,
    /// Whether the operation took effect is unknown.
    Lost,
    /// Stored data can't be read as what it must be.
    Corrupt,
    /// A replay asks for something else than what was recorded.
    Diverged,
    /// A fault of the provider itself.
    Internal,
}

impl ErrorKind {
    /// All kinds.
    #[cfg(feature = "record")]
    pub(crate) const ALL: [Self; 22] = [
        Self::NotFound,
        Self::AlreadyExists,
        Self::NotADirectory,
        Self::IsADirectory,
        Self::DirectoryNotEmpty,
        Self::InvalidPath,
        Self::Escapes,
        Self::InvalidInput,
        Self::PermissionDenied,
        Self::Unauthenticated,
        Self::ConditionFailed,
        Self::Unsupported,
        Self::LimitExceeded,
        Self::Busy,
        Self::TimedOut,
        Self::Cancelled,
        Self::Unavailable,
        Self::Truncated,
        Self::Lost,
        Self::Corrupt,
        Self::Diverged,
        Self::Internal,
    ];

    /// The kind in words, lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::NotADirectory => "not a directory",
            Self::IsADirectory => "is a directory",
            Self::DirectoryNotEmpty => "directory not empty",
            Self::InvalidPath => "invalid path",
            Self::Escapes => "path escapes the root",
            Self::InvalidInput => "invalid input",
            Self::PermissionDenied => "permission denied",
            Self::Unauthenticated => "unauthenticated",
            Self::ConditionFailed => "condition failed",
            Self::Unsupported => "unsupported",
            Self::LimitExceeded => "limit exceeded",
            Self::Busy => "busy",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::Truncated => "truncated",
            Self::Lost => "outcome unknown",
            Self::Corrupt => "corrupt",
            Self::Diverged => "diverged from the recording",
            Self::Internal => "internal error",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether trying the same operation again can succeed. Set by the provider, who knows; never guessed by a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// It will fail again in the same way.
    Never,
    /// It may succeed later; not before the given time where the platform named one.
    After(Option<Duration>),
    /// It was tried as often as allowed.
    Exhausted,
}

impl Error {
    /// An error of `kind`, met during `operation` (a verb of the contract: `read`, `spawn`, `mount`). Trying again does
    /// not help, unless [`Error::with_retry`] says that it does.
    pub fn new(kind: ErrorKind, operation: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            operation: operation.into(),
            path: None,
            provider: Cow::Borrowed(""),
            message: Cow::Borrowed(""),
            retry: Retry::Never,
            source: None,
        }))
    }

    /// Names the subject: a path, a variable, a program.
    pub fn with_path(mut self, path: impl fmt::Display) -> Self {
        Arc::make_mut(&mut self.0).path = Some(path.to_string());
        self
    }

    /// Names the provider that reports this.
    pub fn with_provider(mut self, provider: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.0).provider = provider.into();
        self
    }

    /// Adds what the kind alone does not say.
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        Arc::make_mut(&mut self.0).message = message.into();
        self
    }

    /// States whether trying again can help.
    pub fn with_retry(mut self, retry: Retry) -> Self {
        Arc::make_mut(&mut self.0).retry = retry;
        self
    }

    /// Keeps the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync + 'static>>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(source.into().into());
        self
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The verb that failed.
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// The subject of the operation, where it has one.
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// The provider that reported this; empty where none did.
    pub fn provider(&self) -> &str {
        &self.0.provider
    }

    /// What the kind alone does not say; empty where there is nothing more to say.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, operation, path, provider, message, .. } = &*self.0;
        f.write_str(operation)?;
        if let Some(path) = path {
            write!(f, " {path:?}")?;
        }
        if !provider.is_empty() {
            write!(f, " ({provider})")?;
        }
        write!(f, ": {kind}")?;
        if !message.is_empty() {
            write!(f, ": {message}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, operation, path, provider, message, retry, source } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("operation", operation)
            .field("path", path)
            .field("provider", provider)
            .field("message", message)
            .field("retry", retry)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn display_is_one_line_and_leaves_the_source_out() {
        let error = Error::new(ErrorKind::Unavailable, "write")
            .with_path("/a\nb")
            .with_provider("local")
            .with_message("the disk is busy")
            .with_source(std::io::Error::other("EIO"));
        assert_eq!(error.to_string(), r#"write "/a\nb" (local): unavailable: the disk is busy"#);
        assert_eq!(error.source().unwrap().to_string(), "EIO");
    }
}

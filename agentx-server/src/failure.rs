//! What a client is told when something can't be done.

use std::time::Duration;

use agentx_core::{Error, ErrorKind};
use axum::http::StatusCode;

/// Why a request was not done. Each wire has its own number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The frame is no JSON.
    Parse,
    /// It is no request.
    InvalidRequest,
    /// There is no such method.
    MethodNotFound,
    /// A parameter is missing or makes no sense.
    InvalidParams,
    /// What it names does not exist, or is somebody else's.
    NotFound,
    /// Nobody said who asks.
    Unauthorized,
    /// Whoever asks may not.
    Forbidden,
    /// Not now.
    Busy,
    /// Too often, or too many.
    TooMany,
    /// Too much at once.
    TooLarge,
    /// A resource that knows no such method of HTTP.
    NotAllowed,
    /// A body that is no JSON, by its own word.
    MediaType,
    /// A body that did not come in time.
    TooSlow,
    /// What the work needs does not answer.
    Unavailable,
    /// This server does not offer it.
    Unsupported,
    /// Something failed on the way.
    Failed,
}

/// A request that was not done, and what its sender is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// When to try again, where trying again helps.
    pub(crate) after: Option<Duration>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), after: None }
    }

    /// Tells when to try again.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.after = Some(wait);
        self
    }

    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParams, message)
    }

    /// `what` is not there, or not the asker's: nobody can tell which.
    pub(crate) fn not_found(what: &str, id: impl std::fmt::Display) -> Self {
        Self::new(Code::NotFound, format!("{what} not found: {id}"))
    }
}

impl Code {
    /// All of them.
    pub(crate) const ALL: [Self; 16] = [
        Self::Parse,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::NotFound,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Busy,
        Self::TooMany,
        Self::TooLarge,
        Self::NotAllowed,
        Self::MediaType,
        Self::TooSlow,
        Self::Unavailable,
        Self::Unsupported,
        Self::Failed,
    ];

    /// The number of JSON-RPC; applications' own ones are those of HTTP, as the clients of this protocol expect.
    pub(crate) fn rpc(self) -> i64 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest | Self::NotAllowed | Self::MediaType | Self::TooSlow => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::NotFound => 404,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::TooMany => 429,
            Self::TooLarge => 413,
            Self::Busy | Self::Unavailable | Self::Unsupported | Self::Failed => -32000,
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::Parse | Self::InvalidRequest | Self::InvalidParams => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::MethodNotFound => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Busy => StatusCode::CONFLICT,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A word for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse_error",
            Self::InvalidRequest => "invalid_request",
            Self::MethodNotFound => "method_not_found",
            Self::InvalidParams => "invalid_params",
            Self::NotFound => "not_found",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Busy => "busy",
            Self::TooMany => "too_many",
            Self::TooLarge => "too_large",
            Self::NotAllowed => "method_not_allowed",
            Self::MediaType => "unsupported_media_type",
            Self::TooSlow => "too_slow",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
        }
    }
}

/// What a client did wrong is told in full. Of everything else only the kind: its words may name the server's own files.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::InvalidInput
            | ErrorKind::InvalidPath
            | ErrorKind::Escapes
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory => Code::InvalidParams,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Busy | ErrorKind::AlreadyExists | ErrorKind::ConditionFailed => Code::Busy,
            ErrorKind::Unsupported => Code::Unsupported,
            ErrorKind::LimitExceeded => Code::TooMany,
            _ => Code::Failed,
        };
        match code {
            Code::Failed => {
                tracing::error!(%error, "a request failed");
                let operation = error.operation();
                Self::new(code, format!("{operation} failed on the server: {}", error.kind().as_str()))
            }
            _ => Self::new(code, error.to_string()),
        }
    }
}

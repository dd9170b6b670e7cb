//! What went wrong, from the words of the SDK into ours.

use std::error::Error as StdError;

use agentx_core::{Error, ErrorKind, Retry};
use rmcp::{
    ErrorData, ServiceError, model::ErrorCode, service::ClientInitializeError,
    transport::DynamicTransportError,
};

/// The longest message of a server that is told, in characters.
const MAX_MESSAGE_CHARS: usize = 2000;

/// What went wrong, before it is known of what.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
    pub(super) retry: Retry,
}

impl Failure {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable | ErrorKind::TimedOut => Retry::After(None),
            _ => Retry::Never,
        };
        Self { kind, message: message.into(), retry }
    }

    pub(super) fn add(&mut self, more: &str) {
        if !self.message.is_empty() {
            self.message.push_str("; ");
        }
        self.message.push_str(more);
    }

    /// The same where it can't be known whether the call was carried out.
    pub(super) fn lost(mut self) -> Self {
        if matches!(self.kind, ErrorKind::Unavailable | ErrorKind::LimitExceeded | ErrorKind::Corrupt) {
            self.kind = ErrorKind::Lost;
            self.retry = Retry::Never;
            self.add("whether the call was carried out is unknown");
        }
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { kind: error.kind(), message: error.message().to_owned(), retry: error.retry() }
    }
}

impl From<ClientInitializeError> for Failure {
    fn from(error: ClientInitializeError) -> Self {
        match error {
            ClientInitializeError::ConnectionClosed(_) => {
                Self::new(ErrorKind::Unavailable, "the connection was closed")
            }
            ClientInitializeError::TransportError { error, .. } => error.into(),
            ClientInitializeError::JsonRpcError(error) => error.into(),
            ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. } => {
                let versions: Vec<_> = server_supported.iter().map(ToString::to_string).collect();
                let message =
                    format!("the server speaks other versions of the protocol: {}", versions.join(", "));
                Self::new(ErrorKind::Unsupported, cut(&message))
            }
            ClientInitializeError::Cancelled => Self::new(ErrorKind::Cancelled, ""),
            // What the others show of an answer may be large.
            _ => Self::new(ErrorKind::Corrupt, "the server did not answer as the protocol has it"),
        }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::McpError(error) => error.into(),
            ServiceError::TransportSend(error) => error.into(),
            ServiceError::TransportClosed => Self::new(ErrorKind::Unavailable, "the connection was closed"),
            ServiceError::Cancelled { .. } => Self::new(ErrorKind::Cancelled, ""),
            _ => Self::new(ErrorKind::Corrupt, "the server did not answer as the protocol has it"),
        }
    }
}

/// An error that the server answered with.
impl From<ErrorData> for Failure {
    fn from(error: ErrorData) -> Self {
        let kind = match error.code {
            ErrorCode::INVALID_PARAMS => ErrorKind::InvalidInput,
            ErrorCode::METHOD_NOT_FOUND => ErrorKind::Unsupported,
            ErrorCode::PARSE_ERROR => ErrorKind::Corrupt,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, format!("the server answered: {} (code {})", cut(&error.message), error.code.0))
    }
}

impl From<DynamicTransportError> for Failure {
    fn from(error: DynamicTransportError) -> Self {
        let error: &(dyn StdError + 'static) = &*error.error;
        if let Some(error) = error.downcast_ref::<Error>() {
            return error.clone().into();
        }
        #[cfg(feature = "mcp-http")]
        if let Some(failure) = super::http::failure(error) {
            return failure;
        }
        Self::new(ErrorKind::Unavailable, "the server can't be reached")
    }
}

/// The beginning of what a server says.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

use agentx::resource::{Error, ErrorKind};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::form::now;
use crate::reply::Json;

/// A failure as the clients of `@cloudflare/sandbox` know it.
#[derive(Debug)]
pub(super) struct Failure {
    code: &'static str,
    status: StatusCode,
    message: String,
    context: Value,
}

impl Failure {
    pub(super) fn new(code: &'static str, status: u16, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { code, status, message: message.into(), context: json!({}) }
    }

    pub(super) fn with_context(mut self, context: Value) -> Self {
        self.context = context;
        self
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new("VALIDATION_FAILED", 400, message)
    }

    pub(super) fn not_served() -> Self {
        Self::new("UNKNOWN_ERROR", 501, "this server does not serve that part of the API")
    }

    pub(super) fn no_process(id: &str) -> Self {
        Self::new("PROCESS_NOT_FOUND", 404, format!("Process not found: {id}"))
            .with_context(json!({"processId": id}))
    }

    /// An error of a command.
    pub(super) fn command(error: &Error, command: &str) -> Self {
        let (code, status) = match error.kind() {
            ErrorKind::InvalidInput | ErrorKind::InvalidPath | ErrorKind::NotFound => {
                ("INVALID_COMMAND", 400)
            }
            ErrorKind::PermissionDenied => ("COMMAND_PERMISSION_DENIED", 403),
            _ => ("COMMAND_EXECUTION_ERROR", 500),
        };
        Self::new(code, status, error.to_string()).with_context(json!({"command": command}))
    }
}

/// An error of a file.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, status) = match error.kind() {
            ErrorKind::NotFound => ("FILE_NOT_FOUND", 404),
            ErrorKind::AlreadyExists => ("FILE_EXISTS", 409),
            ErrorKind::IsADirectory => ("IS_DIRECTORY", 400),
            ErrorKind::NotADirectory => ("NOT_DIRECTORY", 400),
            ErrorKind::PermissionDenied | ErrorKind::Escapes => ("PERMISSION_DENIED", 403),
            ErrorKind::InvalidPath | ErrorKind::InvalidInput => ("VALIDATION_FAILED", 400),
            ErrorKind::LimitExceeded => ("FILE_TOO_LARGE", 413),
            ErrorKind::Busy => ("RESOURCE_BUSY", 409),
            _ => ("FILESYSTEM_ERROR", 500),
        };
        Self::new(code, status, error.to_string())
            .with_context(json!({"path": error.path(), "operation": error.operation()}))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({
            "code": self.code,
            "message": self.message,
            "context": self.context,
            "httpStatus": self.status.as_u16(),
            "timestamp": now(),
        });
        (self.status, Json(body)).into_response()
    }
}

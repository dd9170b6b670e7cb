//! What a server says of a request that it did not do.

use std::time::Duration;

use agentx_core::{Error, ErrorKind, Retry};
use serde_json::Value;

use super::PROVIDER;

/// How much of a server's words an error repeats, in characters.
const SHOWN: usize = 1_000;

/// An error of this client.
pub(super) fn error(kind: ErrorKind, operation: &'static str) -> Error {
    Error::new(kind, operation).with_provider(PROVIDER)
}

/// The error that a server answered with.
pub(super) fn answered(operation: &'static str, answer: &Value) -> Error {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str);
    let kind = match text("/data/kind") {
        Some(kind) => of_word(kind),
        None => of_number(answer.get("code").and_then(Value::as_i64).unwrap_or_default()),
    };
    let message: String =
        text("/message").unwrap_or("the server gave no reason").chars().take(SHOWN).collect();
    let error = error(kind, operation).with_message(message);
    let after = answer.pointer("/data/retryAfter").and_then(Value::as_u64).map(Duration::from_secs);
    match text("/data/kind") {
        Some("too_many" | "busy" | "unavailable") => error.with_retry(Retry::After(after)),
        _ => error,
    }
}

fn of_word(kind: &str) -> ErrorKind {
    match kind {
        "not_found" => ErrorKind::NotFound,
        "unauthorized" => ErrorKind::Unauthenticated,
        "forbidden" => ErrorKind::PermissionDenied,
        "busy" => ErrorKind::Busy,
        "too_many" | "too_large" => ErrorKind::LimitExceeded,
        "invalid_params" | "invalid_request" | "parse_error" => ErrorKind::InvalidInput,
        "method_not_found" | "unsupported" => ErrorKind::Unsupported,
        "unavailable" => ErrorKind::Unavailable,
        "too_slow" => ErrorKind::TimedOut,
        _ => ErrorKind::Internal,
    }
}

fn of_number(code: i64) -> ErrorKind {
    match code {
        404 => ErrorKind::NotFound,
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::PermissionDenied,
        408 => ErrorKind::TimedOut,
        413 | 429 => ErrorKind::LimitExceeded,
        -32601 => ErrorKind::Unsupported,
        -32700 | -32600 | -32602 => ErrorKind::InvalidInput,
        _ => ErrorKind::Internal,
    }
}

/// The kind that an event names, as `timed_out`.
pub(super) fn of_event(code: &str) -> ErrorKind {
    const KINDS: [ErrorKind; 15] = [
        ErrorKind::NotFound,
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
    let words = code.replace('_', " ");
    KINDS.into_iter().find(|kind| kind.as_str() == words).unwrap_or(ErrorKind::Internal)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_servers_errors_keep_their_kind() {
        let error = answered("send message", &json!({"code": 404, "message": "Image not found: x"}));
        assert_eq!((error.kind(), error.message()), (ErrorKind::NotFound, "Image not found: x"));
        let many = json!({"code": 429, "message": "no", "data": {"kind": "too_many", "retryAfter": 2}});
        let error = answered("send message", &many);
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert_eq!(error.retry(), Retry::After(Some(Duration::from_secs(2))));
        assert_eq!(answered("x", &json!(null)).kind(), ErrorKind::Internal);
        assert_eq!(of_event("timed_out"), ErrorKind::TimedOut);
        assert_eq!(of_event("internal_error"), ErrorKind::Internal);
    }
}

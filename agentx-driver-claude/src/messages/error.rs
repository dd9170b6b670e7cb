//! What the API reports, as errors of AgentX.

use std::{
    borrow::Cow,
    fmt,
    time::{Duration, SystemTime},
};

use agentx_core::{ContextOverflow, Error, ErrorKind, Retry};
use agentx_resource::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What errors name as the provider.
pub(super) const PROVIDER: &str = "anthropic";

/// The most bytes of a message that an error shows.
const MESSAGE_LIMIT: usize = 1024;

pub(super) fn failure(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(kind, "call model").with_provider(PROVIDER).with_message(message)
}

/// What the API itself said of a failure: the source of the error that a call ends with.
///
/// ```
/// use agentx_core::Error;
/// use agentx_driver_claude::messages::ApiFailure;
///
/// fn report(error: &Error) -> String {
///     match ApiFailure::of(error) {
///         Some(failure) => format!("{} in request {:?}", failure.kind, failure.request_id),
///         None => "the API did not answer".to_owned(),
///     }
/// }
/// # let _ = report;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiFailure {
    /// The status of the response; none where the failure came within an answer that began well.
    pub status: Option<u16>,
    /// The API's name for the kind of failure, such as `overloaded_error`; empty where it gave none.
    pub kind: String,
    /// What it said, in one line of at most 1 KiB.
    pub message: String,
    /// The API's id of the request, which its support asks for.
    pub request_id: Option<String>,
}

impl ApiFailure {
    /// What the API said, where the error comes from it.
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    /// Whether it said that the conversation is longer than the model takes it.
    fn is_overflow(&self) -> bool {
        let said = self.message.to_ascii_lowercase();
        match self.kind.as_str() {
            "request_too_large" => true,
            "invalid_request_error" | "" => {
                said.contains("prompt is too long") || said.contains("exceed context limit")
            }
            _ => false,
        }
    }
}

impl fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.as_str() {
            "" => f.write_str(&self.message),
            kind => write!(f, "{kind}: {}", self.message),
        }
    }
}

impl std::error::Error for ApiFailure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.is_overflow().then_some(&ContextOverflow)
    }
}

/// The error of an HTTP response that is no answer. `header` finds a header by its name in lower case.
pub(super) fn of_response<'h>(
    status: u16,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: SystemTime,
    key: &Secret,
) -> Error {
    let text = String::from_utf8_lossy(body);
    let read: Option<Body<'_>> = serde_json::from_str(&text).ok();
    let api = read.as_ref().and_then(|body| body.error.as_ref());
    let request = header("request-id").or(read.as_ref().and_then(|body| body.request_id.as_deref()));
    let failed = ApiFailure {
        status: Some(status),
        kind: api.map(|api| shown(&api.kind, key)).unwrap_or_default(),
        message: shown(api.map_or(text.trim(), |api| &api.message), key),
        request_id: request.map(|request| shown(request, key)),
    };
    let mut place = format!("status {status}");
    if let Some(request) = &failed.request_id {
        place = format!("{place}, request {request}");
    }
    let said = failed.to_string();
    let message = if said.is_empty() { place } else { format!("{said} ({place})") };

    let (kind, again) = of_status(status);
    let again = match header("x-should-retry") {
        Some("true") => true,
        Some("false") => false,
        _ => again,
    };
    // A spend limit does not go away by waiting, whatever else the response says.
    let spent = api.is_some_and(ApiError::is_spend_limit);
    let retry = if again && !spent { Retry::After(named_wait(header, now)) } else { Retry::Never };
    failure(kind, message).with_retry(retry).with_source(failed)
}

/// The error of an `error` event, which comes after the response began well.
pub(super) fn of_event(json: &str, key: Option<&Secret>) -> Error {
    let Ok(api) = serde_json::from_str::<ApiError<'_>>(json) else {
        return failure(
            ErrorKind::Unavailable,
            "the API broke the answer off with an error that can't be read",
        )
        .with_retry(Retry::After(None));
    };
    let (kind, again) = match api.kind.as_ref() {
        "invalid_request_error" => of_status(400),
        "authentication_error" => of_status(401),
        "billing_error" => of_status(402),
        "permission_error" => of_status(403),
        "not_found_error" => of_status(404),
        "conflict_error" => of_status(409),
        "request_too_large" => of_status(413),
        "rate_limit_error" => of_status(429),
        "timeout_error" => of_status(504),
        "overloaded_error" => of_status(529),
        _ => of_status(500),
    };
    let retry = if again && !api.is_spend_limit() { Retry::After(None) } else { Retry::Never };
    let none = Secret::new("");
    let key = key.unwrap_or(&none);
    let failed = ApiFailure {
        kind: shown(&api.kind, key),
        message: shown(&api.message, key),
        ..ApiFailure::default()
    };
    failure(kind, failed.to_string()).with_retry(retry).with_source(failed)
}

/// An error that came within the answer to this request.
pub(super) fn within(error: Error, request: Option<&str>) -> Error {
    let Some(request) = request else { return error };
    let failed = ApiFailure::of(&error)
        .map(|failed| ApiFailure { request_id: Some(request.to_owned()), ..failed.clone() });
    let error = match failed {
        Some(failed) => error.with_source(failed),
        None => error,
    };
    let message = format!("{} (request {request})", error.message());
    error.with_message(message)
}

/// What a status means, and whether the same request may succeed later.
pub(crate) fn of_status(status: u16) -> (ErrorKind, bool) {
    match status {
        401 => (ErrorKind::Unauthenticated, false),
        402 | 403 => (ErrorKind::PermissionDenied, false),
        404 => (ErrorKind::NotFound, false),
        408 | 504 => (ErrorKind::TimedOut, true),
        409 => (ErrorKind::Busy, true),
        413 => (ErrorKind::LimitExceeded, false),
        429 => (ErrorKind::LimitExceeded, true),
        // A redirect is not followed: the key is for the server that the base URL names.
        300..=499 => (ErrorKind::InvalidInput, false),
        _ => (ErrorKind::Unavailable, true),
    }
}

/// The wait that the response asks for.
fn named_wait<'h>(header: impl Fn(&str) -> Option<&'h str>, now: SystemTime) -> Option<Duration> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let millis = header("retry-after-ms").and_then(number).map(|millis| millis / 1000.0);
    let after = header("retry-after");
    let seconds = millis.or_else(|| after.and_then(number));
    match seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => {
            let date = httpdate::parse_http_date(after?.trim()).ok()?;
            Some(date.duration_since(now).unwrap_or_default())
        }
    }
}

/// One line of bounded length, without the key.
pub(super) fn shown(text: &str, key: &Secret) -> String {
    let text = key.redact(text);
    let fits = |(at, c): &(usize, char)| at + c.len_utf8() <= MESSAGE_LIMIT;
    let line = text.char_indices().take_while(fits).map(|(_, c)| if c.is_control() { ' ' } else { c });
    line.collect()
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Option<ApiError<'a>>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ApiError<'a> {
    #[serde(borrow, rename = "type", default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow)]
    details: Option<&'a RawValue>,
}

impl ApiError<'_> {
    fn is_spend_limit(&self) -> bool {
        #[derive(Deserialize)]
        struct Details<'a> {
            #[serde(borrow)]
            error_code: Cow<'a, str>,
        }
        let details = self.details.and_then(|json| serde_json::from_str::<Details<'_>>(json.get()).ok());
        details.is_some_and(|details| details.error_code == "enforced_spend_limit_reached")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, headers: &[(&str, &str)], body: &str) -> Error {
        let header = |name: &str| headers.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        let now = httpdate::parse_http_date("Sun, 22 Nov 2026 07:00:00 GMT").unwrap();
        of_response(status, header, body.as_bytes(), now, &Secret::new("sk-ant-secret"))
    }

    #[test]
    fn each_status_has_its_kind() {
        use ErrorKind::*;
        let wait = Retry::After(None);
        let table = [
            (302, InvalidInput, Retry::Never),
            (400, InvalidInput, Retry::Never),
            (401, Unauthenticated, Retry::Never),
            (402, PermissionDenied, Retry::Never),
            (403, PermissionDenied, Retry::Never),
            (404, NotFound, Retry::Never),
            (408, TimedOut, wait),
            (409, Busy, wait),
            (413, LimitExceeded, Retry::Never),
            (422, InvalidInput, Retry::Never),
            (429, LimitExceeded, wait),
            (500, Unavailable, wait),
            (504, TimedOut, wait),
            (529, Unavailable, wait),
        ];
        for (status, kind, retry) in table {
            let error = of(status, &[], "");
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{status}");
        }
    }

    #[test]
    fn the_message_is_the_apis_with_the_request_and_without_the_key() {
        let body =
            r#"{"type":"error","error":{"type":"authentication_error","message":"bad key\nsk-ant-secret"}}"#;
        let error = of(401, &[("request-id", "req_1")], body);
        assert_eq!(
            error.to_string(),
            "call model (anthropic): unauthenticated: \
             authentication_error: bad key [redacted] (status 401, request req_1)"
        );
        let failure = ApiFailure::of(&error).unwrap();
        assert_eq!((failure.status, failure.kind.as_str()), (Some(401), "authentication_error"));
        assert_eq!(
            (failure.message.as_str(), failure.request_id.as_deref()),
            ("bad key [redacted]", Some("req_1"))
        );
        assert!(of(502, &[], &"x".repeat(9999)).to_string().len() < 1200);
        assert!(of(502, &[], "").to_string().ends_with("unavailable: status 502"));
    }

    #[test]
    fn a_conversation_that_is_too_long_is_told_as_such() {
        let body = |kind: &str, message: &str| {
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#)
        };
        let long = "prompt is too long: 210000 tokens > 200000 maximum";
        assert!(ContextOverflow::caused(&of(400, &[], &body("invalid_request_error", long))));
        assert!(ContextOverflow::caused(&of(413, &[], &body("request_too_large", "Request too large"))));
        assert!(!ContextOverflow::caused(&of(400, &[], &body("invalid_request_error", "messages: none"))));
        assert!(!ContextOverflow::caused(&of(429, &[], &body("rate_limit_error", long))));
    }

    #[test]
    fn the_wait_is_what_the_response_names() {
        let wait = |headers: &[(&str, &str)]| of(429, headers, "").retry();
        assert_eq!(wait(&[("retry-after", "1.5")]), Retry::After(Some(Duration::from_millis(1500))));
        assert_eq!(
            wait(&[("retry-after", "9"), ("retry-after-ms", "20")]),
            Retry::After(Some(Duration::from_millis(20)))
        );
        let date = [("retry-after", "Sun, 22 Nov 2026 07:00:30 GMT")];
        assert_eq!(wait(&date), Retry::After(Some(Duration::from_secs(30))));
        let past = [("retry-after", "Sun, 22 Nov 2026 06:00:00 GMT")];
        assert_eq!(wait(&past), Retry::After(Some(Duration::ZERO)));
        for nonsense in ["soon", "-1", "NaN", "1e300"] {
            assert_eq!(wait(&[("retry-after", nonsense)]), Retry::After(None), "{nonsense}");
        }
    }

    #[test]
    fn the_server_has_the_last_word_on_retries_except_for_money() {
        assert_eq!(of(400, &[("x-should-retry", "true")], "").retry(), Retry::After(None));
        assert_eq!(of(529, &[("x-should-retry", "false")], "").retry(), Retry::Never);
        let spent = r#"{"error":{"type":"rate_limit_error","message":"m",
                        "details":{"error_code":"enforced_spend_limit_reached"}}}"#;
        assert_eq!(of(429, &[("x-should-retry", "true")], spent).retry(), Retry::Never);
    }

    #[test]
    fn an_error_event_has_the_kind_of_its_status() {
        let event = |kind: &str| of_event(&format!(r#"{{"type":"{kind}","message":"m"}}"#), None);
        assert_eq!(event("overloaded_error").kind(), ErrorKind::Unavailable);
        assert_eq!(event("overloaded_error").retry(), Retry::After(None));
        assert_eq!(event("invalid_request_error").retry(), Retry::Never);
        assert_eq!(event("a_new_error").kind(), ErrorKind::Unavailable);
        assert_eq!(of_event("[]", None).kind(), ErrorKind::Unavailable);
        let named = within(event("overloaded_error"), Some("req_7"));
        assert!(named.to_string().ends_with("overloaded_error: m (request req_7)"), "{named}");
        assert_eq!(ApiFailure::of(&named).unwrap().request_id.as_deref(), Some("req_7"));
    }
}

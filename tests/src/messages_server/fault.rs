use std::time::Duration;

/// How a call goes wrong.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Not at all: the call goes well, and the next fault befalls the next one.
    Healthy,
    /// 429, with or without `retry-after`.
    RateLimited {
        /// The wait that the answer asks for.
        retry_after: Option<Duration>,
    },
    /// 429 that no waiting helps: the account's spend limit.
    SpendLimit,
    /// 529.
    Overloaded,
    /// 500.
    ApiError,
    /// Any status, headers and body.
    Response {
        /// The status.
        status: u16,
        /// The headers, `content-type` among them.
        headers: Vec<(String, String)>,
        /// The body.
        body: String,
    },
    /// The connection is closed before anything was answered.
    ResetBefore,
    /// The connection is closed within the answer.
    ResetAfter {
        /// After so many events of the stream.
        events: usize,
    },
    /// An `error` event within the answer, and then its end.
    ErrorEvent {
        /// After so many events of the stream.
        events: usize,
        /// Its type, such as `overloaded_error`.
        kind: String,
    },
    /// The response ends properly, but too early.
    Truncate {
        /// After so many bytes of the stream.
        bytes: usize,
    },
    /// The answer stands still until the client hangs up.
    Stall {
        /// After so many events of the stream; with 0 not even the head of the response comes.
        events: usize,
    },
    /// The answer stands still, but for pings without end.
    Pings {
        /// After so many events of the stream.
        events: usize,
    },
    /// Each byte in a chunk of its own.
    ByteByByte,
    /// An answer of status 200 that is a web page.
    WrongContentType,
}

//! How requests of the S3 client reach the network.

use std::{
    error::Error as StdError,
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
        HttpService,
    },
};
use reqwest::{Body, Client, Method, StatusCode, Url};

use super::usage::{Class, Counters};
use crate::r2::error::causes;

/// How long a request that changes something may take, its answer included: 64 MiB at 2 Mbit/s.
const CHANGE_TIMEOUT: Duration = Duration::from_mins(5);

/// How much of an answer is kept that tells of an error, in bytes.
const MAX_ERROR_BODY: usize = 16 << 10;

/// What became of the attempts of one conditional write, told by the transport. A clone is the same record.
#[derive(Clone, Debug, Default)]
pub(in crate::r2) struct Attempts(Arc<AtomicU8>);

impl Attempts {
    const UNCLEAR: u8 = 1;
    const CONFLICT: u8 = 2;

    /// Whether an attempt may have had its effect without our being told.
    pub(in crate::r2) fn unclear(&self) -> bool {
        self.0.load(Ordering::Acquire) & Self::UNCLEAR != 0
    }

    /// Whether an attempt was refused since others were at work on the object.
    pub(in crate::r2) fn conflict(&self) -> bool {
        self.0.load(Ordering::Acquire) & Self::CONFLICT != 0
    }

    fn mark(&self, flag: u8) {
        self.0.fetch_or(flag, Ordering::AcqRel);
    }
}

/// Gives the S3 client our HTTP client.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    pub(super) client: Client,
    pub(super) usage: Arc<Counters>,
}

impl HttpConnector for Transport {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let attempts = request.extensions().get::<Attempts>().cloned();
        let class = Class::of(&request);
        let answer = self.send(request).await;
        if !turned_away(&answer) {
            self.usage.add(class);
        }
        let Some(attempts) = attempts else { return answer };
        match answer {
            // Nothing was sent.
            Err(error) if error.kind() == HttpErrorKind::Connect => Err(error),
            Err(error) => {
                attempts.mark(Attempts::UNCLEAR);
                Err(error)
            }
            Ok(mut response) => {
                if response.status() == StatusCode::CONFLICT {
                    // Nothing was written, and another attempt may find that nobody is at work: what the S3 client
                    // does with this status.
                    attempts.mark(Attempts::CONFLICT);
                    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                } else if response.status().is_server_error()
                    || response.status() == StatusCode::REQUEST_TIMEOUT
                {
                    attempts.mark(Attempts::UNCLEAR);
                }
                Ok(response)
            }
        }
    }
}

impl Transport {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url: Url = parts.uri.to_string().parse().map_err(|_| {
            HttpError::new(HttpErrorKind::Unknown, io::Error::other("the address is not one"))
        })?;
        let changes = !matches!(parts.method, Method::GET | Method::HEAD);
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(Body::wrap(body));
        if changes {
            *request.timeout_mut() = Some(CHANGE_TIMEOUT);
        }
        let response: http::Response<Body> = self.client.execute(request).await.map_err(told)?.into();
        let (parts, body) = response.into_parts();
        let body = if parts.status.is_success() {
            HttpResponseBody::new(body.map_err(told))
        } else {
            beginning(body).await.into()
        };
        Ok(HttpResponse::from_parts(parts, body))
    }
}

/// Whether the store did nothing, so that it bills nothing.
fn turned_away(answer: &Result<HttpResponse, HttpError>) -> bool {
    match answer {
        Ok(response) => {
            response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS
        }
        Err(error) => error.kind() == HttpErrorKind::Connect,
    }
}

/// The beginning of a body that tells of an error. What is cut off, or broken off, says no more than its status.
async fn beginning(mut body: Body) -> Bytes {
    let mut kept = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let room = MAX_ERROR_BODY - kept.len();
        kept.extend_from_slice(data.get(..room).unwrap_or(&data));
        if kept.len() == MAX_ERROR_BODY {
            break;
        }
    }
    String::from_utf8_lossy(&kept).into_owned().into()
}

/// What the S3 client is to think of a failure. It repeats a request that was lost: all of ours can be repeated, as
/// conditional writes are known again.
fn told(error: reqwest::Error) -> HttpError {
    let broken = |error: &(dyn StdError + 'static)| {
        error.downcast_ref::<io::Error>().is_some_and(|error| {
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
        })
    };
    let kind = if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else if error.is_request() || error.is_body() || causes(&error).any(broken) {
        HttpErrorKind::Request
    } else {
        HttpErrorKind::Unknown
    };
    let error = error.without_url();
    match kind {
        // So that it is known as what it is among the causes of the S3 client's error.
        HttpErrorKind::Timeout => HttpError::new(kind, io::Error::new(io::ErrorKind::TimedOut, error)),
        _ => HttpError::new(kind, error),
    }
}

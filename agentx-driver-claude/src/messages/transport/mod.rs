//! What carries a request to the API and its answer back.

#[cfg(feature = "reqwest")]
mod public;
#[cfg(feature = "reqwest")]
mod reqwest;

use std::{fmt, sync::Arc};

use agentx_core::Result;
use agentx_resource::{ByteStream, Secret};
use async_trait::async_trait;
use bytes::Bytes;

#[cfg(feature = "reqwest")]
pub use self::reqwest::ReqwestTransport;

/// Sends HTTP requests: the one thing that a host must bring.
///
/// 1. A response of any status is `Ok`. An `Err` means that there was none.
/// 2. Redirects are not followed: the request has a key, and it is for this server alone.
/// 3. A body that is cut off ends with an error, where the transport can tell.
/// 4. Nothing is retried, and no time is kept but that of connecting: the caller does both.
/// 5. Dropping the future or the body closes the connection, or ends the request on it.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends a POST request, and returns when the head of the response is there.
    ///
    /// # Errors
    /// `Unavailable` or `TimedOut` where no response came, with [`Retry::After`](agentx_core::Retry) where another
    /// try may help; `InvalidInput` for a request that can't be sent.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse>;
}

#[async_trait]
impl<T: Transport + ?Sized> Transport for Arc<T> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse> {
        (**self).send(request).await
    }
}

/// A POST request.
#[derive(Clone)]
#[non_exhaustive]
pub struct HttpRequest {
    /// The absolute URL.
    pub url: String,
    /// The headers, names in lower case. One of them is the key, so all are kept as secrets.
    pub headers: Vec<(&'static str, Secret)>,
    /// The body.
    pub body: Bytes,
}

impl HttpRequest {
    /// A request without headers.
    pub fn new(url: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { url: url.into(), headers: Vec::new(), body: body.into() }
    }

    /// With this header; the name is in lower case.
    pub fn with_header(mut self, name: &'static str, value: impl Into<Secret>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Shows neither header values nor the body.
impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("url", &self.url)
            .field("headers", &self.headers)
            .field("body_len", &self.body.len())
            .finish()
    }
}

/// A response whose body is still to come.
#[non_exhaustive]
pub struct HttpResponse {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body. It ends after its last byte, or with one error.
    pub body: ByteStream,
}

impl HttpResponse {
    /// A response.
    pub fn new(status: u16, headers: Vec<(String, String)>, body: ByteStream) -> Self {
        Self { status, headers, body }
    }

    /// The first header of this name, in whichever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}

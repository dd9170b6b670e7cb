//! A server behind a URL, over streamable HTTP.

use std::{collections::HashMap, error::Error as StdError, sync::Arc, time::Duration};

use agentx_core::ErrorKind;
use reqwest::{
    Client, Url,
    header::{HeaderName, HeaderValue},
    redirect,
};
use rmcp::transport::{
    StreamableHttpClientTransport,
    streamable_http_client::{StreamableHttpClientTransportConfig, StreamableHttpError},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

use super::{failure::Failure, server::Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message.
const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// How many requests wait for the head of their response at a time.
const MAX_REQUESTS: usize = 64;

/// The way to a server. It follows no redirect, so that no header goes to another host, and uses no proxy.
pub(super) fn transport(endpoint: &Endpoint) -> Result<StreamableHttpClientTransport<Client>, Failure> {
    let invalid = |message: String| Failure::new(ErrorKind::InvalidInput, message);
    let url =
        Url::parse(endpoint.url.expose()).map_err(|error| invalid(format!("the URL is not one: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(invalid("the URL is none of http or https with a host".to_owned()));
    }
    let mut headers = HashMap::new();
    for (name, value) in &endpoint.headers {
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("no header is called {name:?}")))?;
        let mut value = HeaderValue::from_str(value.expose())
            .map_err(|_| invalid(format!("the value of header {name} has characters that no header has")))?;
        value.set_sensitive(true);
        headers.insert(key, value);
    }
    let client = Client::builder()
        .tls_backend_preconfigured(tls()?)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .no_proxy()
        .build()
        .map_err(|error| {
            Failure::new(
                ErrorKind::Internal,
                format!("the HTTP client can't be set up: {}", error.without_url()),
            )
        })?;
    let config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
        .custom_headers(headers)
        .max_concurrent_requests(MAX_REQUESTS)
        .max_sse_event_size(MAX_MESSAGE_BYTES)
        .max_json_response_size(MAX_MESSAGE_BYTES);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

/// What went wrong on the way, without the URL, which may hold a secret.
pub(super) fn failure(error: &(dyn StdError + 'static)) -> Option<Failure> {
    let (kind, message) = match error.downcast_ref::<StreamableHttpError<reqwest::Error>>()? {
        StreamableHttpError::AuthRequired(_) => {
            (ErrorKind::Unauthenticated, "the server asks for credentials".to_owned())
        }
        StreamableHttpError::InsufficientScope(_) => {
            (ErrorKind::PermissionDenied, "the server refuses these credentials".to_owned())
        }
        StreamableHttpError::HttpStatus(status) => {
            (ErrorKind::Unavailable, format!("the server answered {status}"))
        }
        StreamableHttpError::SessionExpired => {
            (ErrorKind::Unavailable, "the server has ended the session".to_owned())
        }
        StreamableHttpError::ResponseBodyTooLarge { max_size } => {
            (ErrorKind::LimitExceeded, format!("the server's answer has more than {max_size} bytes"))
        }
        StreamableHttpError::UnexpectedServerResponse(message) => (
            ErrorKind::Corrupt,
            format!("the server answered what is not of the protocol: {}", super::failure::cut(message)),
        ),
        StreamableHttpError::Client(error) if error.is_timeout() => (ErrorKind::TimedOut, cause(error)),
        StreamableHttpError::Client(error) => (ErrorKind::Unavailable, cause(error)),
        StreamableHttpError::TransportChannelClosed
        | StreamableHttpError::Io(_)
        | StreamableHttpError::UnexpectedEndOfStream
        | StreamableHttpError::SessionRecoveryTimeout
        | StreamableHttpError::ControlRequestTimeout => {
            (ErrorKind::Unavailable, "the connection broke".to_owned())
        }
        _ => (ErrorKind::Corrupt, "the server does not answer as streamable HTTP has it".to_owned()),
    };
    Some(Failure::new(kind, message))
}

/// What the network said, below all that the client says of it.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn StdError> = error.source();
    while let Some(deeper) = cause.and_then(StdError::source) {
        cause = Some(deeper);
    }
    match cause {
        Some(cause) => format!("the server can't be reached: {cause}"),
        None => "the server can't be reached".to_owned(),
    }
}

/// Trusts what the system trusts, or Mozilla's list where the system has none, as in a bare container image.
fn tls() -> Result<ClientConfig, Failure> {
    let unusable =
        |error: rustls::Error| Failure::new(ErrorKind::Internal, format!("TLS can't be set up: {error}"));
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(unusable)
    };
    Ok(match builder()?.with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(_) => {
            let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            builder()?.with_root_certificates(roots).with_no_client_auth()
        }
    })
}

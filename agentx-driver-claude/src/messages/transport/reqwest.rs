use std::{error::Error as _, sync::Arc, time::Duration};

use agentx_core::{Error, ErrorKind, Result, Retry};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use reqwest::{Client, ClientBuilder, Proxy, Response, Url, header::HeaderValue, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

use super::{
    HttpRequest, HttpResponse, Transport,
    public::{self, NotPublic, PublicResolver},
};
use crate::messages::error::failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The HTTP client that comes with this crate: HTTP/1.1, TLS by rustls. It needs a tokio runtime.
///
/// A clone shares its connections. It trusts the certificates that the system trusts, or Mozilla's where the system
/// has none, as in a bare container image. It connects within 10 seconds, follows no redirect, and uses no proxy that
/// was not given to it.
#[derive(Clone, Debug)]
pub struct ReqwestTransport {
    client: Client,
    /// Whether it connects to public addresses alone.
    is_public: bool,
}

impl ReqwestTransport {
    /// A client without connections.
    ///
    /// # Errors
    /// `Internal` where TLS can't be set up.
    pub fn new() -> Result<Self> {
        Self::build(false, |client| client)
    }

    /// A client for places that somebody else names, such as the users of a server: it connects to addresses of the public
    /// internet alone, by TLS. Addresses of this machine, of its networks and of its cloud's metadata are refused with
    /// `InvalidInput`, looked at when it connects, whatever a name meant before.
    ///
    /// # Errors
    /// `Internal` where TLS can't be set up.
    pub fn public() -> Result<Self> {
        Self::build(true, |client| client.dns_resolver(PublicResolver::new()))
    }

    /// A client that sends everything through the proxy at this URL.
    ///
    /// # Errors
    /// `InvalidInput` where the URL is none; those of [`ReqwestTransport::new`].
    pub fn through_proxy(url: &str) -> Result<Self> {
        // The URL may hold a password, so neither it nor the cause is shown.
        let proxy =
            Proxy::all(url).map_err(|_| failure(ErrorKind::InvalidInput, "the proxy's URL is not one"))?;
        Self::build(false, |client| client.proxy(proxy))
    }

    fn build(is_public: bool, settings: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Self> {
        let builder = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .no_proxy();
        let client = settings(builder).build().map_err(|error| {
            failure(ErrorKind::Internal, "the HTTP client can't be set up").with_source(error.without_url())
        })?;
        Ok(Self { client, is_public })
    }
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse> {
        let url = Url::parse(&request.url)
            .map_err(|_| failure(ErrorKind::InvalidInput, "the URL of the API is not one"))?;
        if self.is_public {
            public::check(&url).map_err(|problem| failure(ErrorKind::InvalidInput, problem))?;
        }
        let mut builder = self.client.post(url).body(request.body);
        for (name, value) in request.headers {
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| {
                failure(
                    ErrorKind::InvalidInput,
                    format!("the value of header {name} has characters that no header has"),
                )
            })?;
            value.set_sensitive(true);
            builder = builder.header(name, value);
        }
        let response = builder.send().await.map_err(|error| told(error, "the API can't be reached"))?;
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = response.status().as_u16();
        // Boxed, since it is moved with each chunk.
        let body = stream::unfold(Some(Box::new(response)), next_chunk).boxed();
        Ok(HttpResponse::new(status, headers, body))
    }
}

async fn next_chunk(
    response: Option<Box<Response>>,
) -> Option<(Result<bytes::Bytes>, Option<Box<Response>>)> {
    let mut response = response?;
    match response.chunk().await {
        Ok(Some(chunk)) => Some((Ok(chunk), Some(response))),
        Ok(None) => None,
        Err(error) => Some((Err(told(error, "the connection broke within the answer")), None)),
    }
}

fn told(error: reqwest::Error, message: &'static str) -> Error {
    let is_refused = error.is_builder() || is_not_public(&error);
    let kind = if is_refused {
        ErrorKind::InvalidInput
    } else if error.is_timeout() {
        ErrorKind::TimedOut
    } else {
        ErrorKind::Unavailable
    };
    let retry = if is_refused { Retry::Never } else { Retry::After(None) };
    let message = match (place(&error), cause(&error)) {
        (Some(place), Some(cause)) => format!("{message} ({place}: {cause})"),
        (Some(place), None) => format!("{message} ({place})"),
        (None, _) => message.to_owned(),
    };
    failure(kind, message).with_retry(retry).with_source(error.without_url())
}

/// Whether it was not connected to, since only public addresses are.
fn is_not_public(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Host and port. A path may hold a token, and is not shown.
fn place(error: &reqwest::Error) -> Option<String> {
    let url = error.url()?;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

/// What the network said, below all that the client says of it.
fn cause(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Some(cause.to_string())
}

fn tls() -> Result<ClientConfig> {
    let unusable =
        |error: rustls::Error| failure(ErrorKind::Internal, "TLS can't be set up").with_source(error);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_api_that_is_not_there_is_named_with_the_cause_and_without_its_path() {
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let request = HttpRequest::new(format!("http://{free}/secret-path/v1/messages"), "{}");
        let error = ReqwestTransport::new().unwrap().send(request).await.unwrap_err().to_string();
        assert!(error.contains(&free.to_string()) && error.contains("refused"), "{error}");
        assert!(!error.contains("secret-path"), "{error}");
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_not_connected_to_where_only_public_places_are() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let transport = ReqwestTransport::public().unwrap();
        for host in ["localhost", "127.0.0.1", "[::1]", "127.1"] {
            let request = HttpRequest::new(format!("https://{host}:{port}/v1/messages"), "{}");
            let error = transport.send(request).await.unwrap_err();
            assert_eq!((error.kind(), error.retry()), (ErrorKind::InvalidInput, Retry::Never), "{error}");
            assert!(error.to_string().contains("public address"), "{error}");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        // Without that it is: the name leads here.
        let transport = ReqwestTransport::new().unwrap();
        let request = HttpRequest::new(format!("https://localhost:{port}/"), "{}");
        let accepted = async {
            while listener.accept().is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = accepted => {}
            sent = transport.send(request) => panic!("{sent:?}"),
        }
    }

    #[test]
    fn debug_shows_no_password_of_a_proxy() {
        let transport = ReqwestTransport::through_proxy("http://user:hunter22@127.0.0.1:9").unwrap();
        assert!(!format!("{transport:?}").contains("hunter22"), "{transport:?}");
    }
}

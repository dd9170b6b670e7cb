use std::{sync::Arc, time::Duration};

use agentx_core::{Error, ErrorKind, Result, Retry};
use async_trait::async_trait;
use reqwest::{Client, Url, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

use super::JwksSource;

/// The largest set that is read, in bytes.
pub(super) const LARGEST: u64 = 1 << 20;

/// How long the issuer may take.
const PATIENCE: Duration = Duration::from_secs(10);

const OPERATION: &str = "fetch keys of tokens";

/// A set behind a URL of the issuer's, usually `…/.well-known/jwks.json`.
#[derive(Clone, Debug)]
pub struct JwksUrl {
    client: Client,
    url: Url,
}

impl JwksUrl {
    /// The set behind this URL: `https`, or `http` on this machine. No redirect is followed, no proxy used.
    ///
    /// # Errors
    /// `InvalidInput` for any other URL; `Internal` where TLS can't be set up.
    pub fn new(url: &str) -> Result<Self> {
        let wrong =
            |problem: &'static str| Error::new(ErrorKind::InvalidInput, OPERATION).with_message(problem);
        let url = Url::parse(url).map_err(|_| wrong("the keys' URL is not one"))?;
        let is_local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
            return Err(wrong("whoever can change the keys on their way can be anybody: https is needed"));
        }
        let client = Client::builder()
            .tls_backend_preconfigured(tls()?)
            .timeout(PATIENCE)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Error::new(ErrorKind::Internal, OPERATION).with_source(error.without_url()))?;
        Ok(Self { client, url })
    }

    fn failed(&self, problem: String) -> Error {
        Error::new(ErrorKind::Unavailable, OPERATION)
            .with_path(self.url.host_str().unwrap_or_default().to_owned())
            .with_retry(Retry::After(None))
            .with_message(problem)
    }
}

#[async_trait]
impl JwksSource for JwksUrl {
    async fn fetch(&self) -> Result<Vec<u8>> {
        let lost = |error: reqwest::Error| {
            self.failed("the issuer does not answer".to_owned()).with_source(error.without_url())
        };
        let mut response = self.client.get(self.url.clone()).send().await.map_err(lost)?;
        if !response.status().is_success() {
            return Err(self.failed(format!("the issuer answers {}", response.status())));
        }
        let mut text = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            text.extend_from_slice(&chunk);
            if text.len() as u64 > LARGEST {
                return Err(self.failed(format!("the keys have more than {LARGEST} bytes")));
            }
        }
        Ok(text)
    }
}

/// The certificates that the system trusts, or Mozilla's where it has none.
fn tls() -> Result<ClientConfig> {
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Internal, OPERATION).with_source(error))
    };
    Ok(match builder()?.with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(_) => {
            let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            builder()?.with_root_certificates(roots).with_no_client_auth()
        }
    })
}

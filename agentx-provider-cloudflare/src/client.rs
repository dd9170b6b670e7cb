//! The HTTP client: HTTP/1.1, TLS by rustls and ring.

use std::{sync::Arc, time::Duration};

use agentx_resource::{Error, ErrorKind, Result};
use reqwest::{ClientBuilder, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that stood still for so long is not used again: the server may be about to close it, and a request that
/// is lost with it may not be safe to repeat.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// A client that trusts the certificates that the system trusts, or Mozilla's where the system has none. It connects
/// within 10 seconds, follows no redirect, repeats nothing by itself and uses no proxy.
///
/// # Errors
/// `Internal` where TLS can't be set up.
pub(crate) fn builder() -> Result<ClientBuilder> {
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .no_proxy();
    Ok(builder.user_agent(concat!("agentx/", env!("CARGO_PKG_VERSION"))))
}

fn tls() -> Result<ClientConfig> {
    let unusable = |error: rustls::Error| {
        Error::new(ErrorKind::Internal, "connect").with_message("TLS can't be set up").with_source(error)
    };
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

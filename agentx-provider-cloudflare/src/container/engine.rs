//! Who starts and ends containers.

use std::fmt;

use agentx_resource::{ErrorKind, Result, Secret};
use async_trait::async_trait;
use reqwest::Method;

use super::{
    ContainerAddress, ContainerOptions,
    http::{Effect, Http, Request, fail},
};

/// Gives a container, and takes it back.
#[async_trait]
pub trait ContainerEngine: fmt::Debug + Send + Sync + 'static {
    /// Starts the container, or finds that it runs, and says where its server is. That may not answer yet.
    ///
    /// # Errors
    /// Whatever the platform reports: `Unavailable` where there is no room for it at this moment.
    async fn start(&self) -> Result<ContainerAddress>;

    /// Ends the container, and with it all that it holds. One that does not run is no error.
    ///
    /// # Errors
    /// Whatever the platform reports.
    async fn stop(&self) -> Result<()>;
}

/// A server that is always there: a container that somebody else starts, or a program on another machine. Stopping does
/// nothing.
#[derive(Clone, Debug)]
pub struct FixedContainer(ContainerAddress);

impl FixedContainer {
    /// The server at this address.
    pub fn new(address: ContainerAddress) -> Self {
        Self(address)
    }
}

#[async_trait]
impl ContainerEngine for FixedContainer {
    async fn start(&self) -> Result<ContainerAddress> {
        Ok(self.0.clone())
    }

    async fn stop(&self) -> Result<()> {
        Ok(())
    }
}

/// A container of Cloudflare, behind the Worker that stands in `apps/container/worker`.
#[derive(Debug)]
pub struct WorkerContainer {
    http: Http,
    address: ContainerAddress,
    path: String,
}

impl WorkerContainer {
    /// The container of this name (letters, digits, `-` and `_`, 64 at most) behind the Worker at `url`, which wants
    /// `token`. The time to start counts as the time of one answer.
    ///
    /// # Errors
    /// `InvalidInput` for another name, and for a URL that is none.
    pub fn new(url: &str, name: &str, token: impl Into<Secret>, options: ContainerOptions) -> Result<Self> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_letter) {
            return Err(fail(ErrorKind::InvalidInput, "open")
                .with_path(name)
                .with_message("the name is none"));
        }
        let (url, token) = (url.trim_end_matches('/'), token.into());
        let worker = ContainerAddress::new(url).with_token(token.clone());
        let path = format!("/containers/{name}");
        let address = ContainerAddress::new(format!("{url}{path}/http")).with_token(token);
        Ok(Self { http: Http::new(&worker, options)?, address, path })
    }
}

#[async_trait]
impl ContainerEngine for WorkerContainer {
    async fn start(&self) -> Result<ContainerAddress> {
        // To start what runs changes nothing.
        let request = Request::new("start", Effect::None, Method::POST, format!("{}/start", self.path));
        self.http.tell(request).await?;
        Ok(self.address.clone())
    }

    async fn stop(&self) -> Result<()> {
        let request = Request::new("stop", Effect::None, Method::POST, format!("{}/stop", self.path));
        self.http.tell(request).await?;
        Ok(())
    }
}

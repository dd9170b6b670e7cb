//! Requests to the server in the container.

use std::{fmt, time::Duration};

use agentx_resource::{Error, ErrorKind, Result, Retry};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream::BoxStream};
use reqwest::{
    Body, Client, Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{
    ContainerAddress, ContainerOptions, PROVIDER,
    wire::{self, Fault},
};

/// A connection to one instance of a server.
pub(super) struct Http {
    client: Client,
    base: String,
    token: Option<HeaderValue>,
    instance: Option<HeaderValue>,
    pub(super) options: ContainerOptions,
}

/// What an operation does, and so what is known of it when no answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It changes nothing.
    None,
    /// It may have taken effect.
    Change,
}

/// A request that is yet to be sent.
pub(super) struct Request {
    pub(super) operation: &'static str,
    pub(super) effect: Effect,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Option<(&'static str, Body)>,
}

impl Request {
    pub(super) fn new(operation: &'static str, effect: Effect, method: Method, path: String) -> Self {
        Self { operation, effect, method, path, query: Vec::new(), body: None }
    }

    pub(super) fn get(operation: &'static str, path: impl Into<String>) -> Self {
        Self::new(operation, Effect::None, Method::GET, path.into())
    }

    pub(super) fn post(operation: &'static str, path: impl Into<String>) -> Self {
        Self::new(operation, Effect::Change, Method::POST, path.into())
    }

    pub(super) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub(super) fn bytes(mut self, body: impl Into<Body>) -> Self {
        self.body = Some(("application/octet-stream", body.into()));
        self
    }

    pub(super) fn json(mut self, body: impl Into<Body>) -> Self {
        self.body = Some(("application/json", body.into()));
        self
    }
}

/// A failure, and whether it is the server's own answer. One that is not may be mended by asking again.
pub(super) struct Failed {
    pub(super) error: Error,
    pub(super) is_answer: bool,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// Nobody said so.
fn unanswered(error: Error) -> Failed {
    Failed { error, is_answer: false }
}

impl Http {
    pub(super) fn new(address: &ContainerAddress, options: ContainerOptions) -> Result<Self> {
        let client = crate::client::builder()?
            .connect_timeout(options.connect)
            .build()
            .map_err(|source| fail(ErrorKind::Internal, "connect").with_source(source.without_url()))?;
        let token = address.token.as_ref().map(|token| {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
            let mut value = value.map_err(|_| {
                fail(ErrorKind::InvalidInput, "connect")
                    .with_message("the token has characters that no header has")
            })?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        let base = address.url.trim_end_matches('/').to_owned();
        if !matches!(Url::parse(&base).as_ref().map(Url::scheme), Ok("http" | "https")) {
            return Err(fail(ErrorKind::InvalidInput, "connect").with_message("the address is no HTTP URL"));
        }
        Ok(Self { client, base, token: token.transpose()?, instance: None, options })
    }

    /// The same, speaking to this instance alone.
    pub(super) fn with_instance(mut self, instance: &str) -> Result<Self> {
        let corrupt =
            |_| fail(ErrorKind::Corrupt, "connect").with_message("the instance's name is no header");
        self.instance = Some(HeaderValue::from_str(instance).map_err(corrupt)?);
        Ok(self)
    }

    /// Sends a request and gives an answer that is no failure; its body is still to come.
    pub(super) async fn send(&self, request: Request) -> Result<Response, Failed> {
        let (operation, effect) = (request.operation, request.effect);
        let sent = self.send_now(request).map_err(|error| Failed { error, is_answer: true })?;
        let response = match timeout(self.options.answer, sent).await {
            Ok(sent) => sent.map_err(|source| unanswered(transport(operation, effect, source)))?,
            Err(_) => return Err(unanswered(silent(operation, effect, self.options.answer))),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        Err(self.failure(operation, effect, response).await)
    }

    /// Sends a request whose body takes its time: no bound but the caller's.
    pub(super) fn send_now(
        &self,
        request: Request,
    ) -> Result<impl Future<Output = Result<Response, reqwest::Error>> + Send + use<>> {
        let mut url = Url::parse(&format!("{}{}", self.base, request.path))
            .map_err(|source| fail(ErrorKind::InvalidInput, request.operation).with_source(source))?;
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        let mut builder = self.client.request(request.method, url);
        if let Some((kind, body)) = request.body {
            builder = builder.header(CONTENT_TYPE, kind).body(body);
        }
        if let Some(token) = &self.token {
            builder = builder.header(AUTHORIZATION, token.clone());
        }
        if let Some(instance) = &self.instance {
            builder = builder.header(wire::INSTANCE, instance.clone());
        }
        Ok(builder.send())
    }

    /// Sends a request and reads its answer as JSON.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        let (operation, effect) = (request.operation, request.effect);
        let response = self.send(request).await?;
        self.answer(operation, effect, response).await
    }

    /// What an answer says as JSON.
    pub(super) async fn answer<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        effect: Effect,
        response: Response,
    ) -> Result<T> {
        if !response.status().is_success() {
            return Err(self.failure(operation, effect, response).await.error);
        }
        let body = self.small_body(operation, effect, response).await?;
        serde_json::from_slice(&body).map_err(|source| {
            fail(ErrorKind::Corrupt, operation)
                .with_message("the answer is not what it must be")
                .with_source(source)
        })
    }

    /// Sends a request whose answer has nothing in it, and tells the status.
    pub(super) async fn tell(&self, request: Request) -> Result<StatusCode, Failed> {
        Ok(self.send(request).await?.status())
    }

    /// A body of bounded length.
    async fn small_body(
        &self,
        operation: &'static str,
        effect: Effect,
        mut response: Response,
    ) -> Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            match timeout(self.options.answer, response.chunk()).await {
                Ok(Ok(Some(chunk))) if body.len() + chunk.len() <= wire::ANSWER_BYTES => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Ok(Some(_))) => {
                    return Err(fail(ErrorKind::LimitExceeded, operation)
                        .with_message(format!("an answer of more than {} bytes", wire::ANSWER_BYTES)));
                }
                Ok(Ok(None)) => return Ok(body.freeze()),
                Ok(Err(source)) => return Err(transport(operation, effect, source)),
                Err(_) => return Err(silent(operation, effect, self.options.answer)),
            }
        }
    }

    /// What an answer that is a failure says: the server's own words, or its status where somebody else has answered.
    pub(super) async fn failure(
        &self,
        operation: &'static str,
        effect: Effect,
        response: Response,
    ) -> Failed {
        let status = response.status();
        let wait = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let is_text = is_plain_text(&response);
        let body = self.small_body(operation, effect, response).await.unwrap_or_default();
        let said = if is_text { shown(&body) } else { String::new() };
        match serde_json::from_slice::<Fault>(&body) {
            Ok(fault) => Failed { error: Error::from(fault).with_provider(PROVIDER), is_answer: true },
            Err(_) => Failed {
                error: by_status(operation, effect, status, &said, wait.map(Duration::from_secs)),
                is_answer: !status.is_server_error() && status != StatusCode::TOO_MANY_REQUESTS,
            },
        }
    }

    /// The rest of a body as a stream, each piece of which must come in time.
    pub(super) fn body(
        &self,
        operation: &'static str,
        response: Response,
    ) -> BoxStream<'static, Result<Bytes>> {
        let patience = self.options.answer;
        futures::stream::unfold(Some(response), move |response| async move {
            let mut response = response?;
            match timeout(patience, response.chunk()).await {
                Ok(Ok(Some(chunk))) => Some((Ok(chunk), Some(response))),
                Ok(Ok(None)) => None,
                Ok(Err(source)) => Some((
                    Err(fail(ErrorKind::Truncated, operation)
                        .with_message("the connection broke within the answer")
                        .with_retry(Retry::After(None))
                        .with_source(source.without_url())),
                    None,
                )),
                Err(_) => Some((Err(silent(operation, Effect::None, patience)), None)),
            }
        })
        .boxed()
    }
}

/// Shows neither the token nor the address, which may hold one.
impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("options", &self.options).finish_non_exhaustive()
    }
}

pub(super) fn fail(kind: ErrorKind, operation: &'static str) -> Error {
    Error::new(kind, operation).with_provider(PROVIDER)
}

/// What is known when the connection failed.
pub(super) fn transport(operation: &'static str, effect: Effect, source: reqwest::Error) -> Error {
    // Without a connection nothing was sent.
    let (kind, message) = if source.is_connect() {
        (ErrorKind::Unavailable, "the container can't be reached")
    } else if source.is_builder() {
        (ErrorKind::InvalidInput, "the request can't be sent")
    } else {
        (unknown(effect), "the connection broke before the answer")
    };
    let error = fail(kind, operation).with_message(message).with_source(source.without_url());
    if kind == ErrorKind::Unavailable { error.with_retry(Retry::After(None)) } else { error }
}

/// The kind of a failure after which nobody knows.
fn unknown(effect: Effect) -> ErrorKind {
    match effect {
        Effect::None => ErrorKind::Unavailable,
        Effect::Change => ErrorKind::Lost,
    }
}

pub(super) fn silent(operation: &'static str, effect: Effect, patience: Duration) -> Error {
    let message = format!("no answer in {} seconds", patience.as_secs_f32());
    match effect {
        Effect::None => fail(ErrorKind::TimedOut, operation).with_retry(Retry::After(None)),
        Effect::Change => fail(ErrorKind::Lost, operation),
    }
    .with_message(message)
}

/// The most that is told of what somebody on the way says, in characters.
const SHOWN: usize = 300;

fn is_plain_text(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/plain"))
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.trim().chars().take(SHOWN).map(|each| if each.is_control() { ' ' } else { each }).collect()
}

/// An answer of somebody on the way, who speaks HTTP alone, and what it `said` in plain text.
fn by_status(
    operation: &'static str,
    effect: Effect,
    status: StatusCode,
    said: &str,
    wait: Option<Duration>,
) -> Error {
    let (kind, retry) = match status.as_u16() {
        401 => (ErrorKind::Unauthenticated, Retry::Never),
        403 => (ErrorKind::PermissionDenied, Retry::Never),
        404 | 405 => (ErrorKind::Unsupported, Retry::Never),
        wire::GONE => (ErrorKind::Lost, Retry::Never),
        409 => (ErrorKind::Busy, Retry::After(wait)),
        413 => (ErrorKind::LimitExceeded, Retry::Never),
        // Nobody took the request.
        429 | 503 => (ErrorKind::Unavailable, Retry::After(wait)),
        500.. if effect == Effect::Change => (ErrorKind::Lost, Retry::Never),
        500.. => (ErrorKind::Unavailable, Retry::After(wait)),
        _ => (ErrorKind::Internal, Retry::Never),
    };
    let colon = if said.is_empty() { "" } else { ": " };
    fail(kind, operation).with_message(format!("the answer is {status}{colon}{said}")).with_retry(retry)
}

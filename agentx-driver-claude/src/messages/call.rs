//! One call with its retries, as a stream.

use std::{mem, pin::pin, sync::Arc, time::Duration, vec};

use agentx_core::{Error, ErrorKind, ModelEvent, ModelRequest, ModelStream, Result, Retry};
use agentx_resource::{BoxFuture, ByteStream, Secret};
use bytes::Bytes;
use futures::{
    StreamExt,
    future::{self, Either},
    stream,
};

use super::{
    Decoder, HttpRequest, HttpResponse, endpoint,
    error::{self, failure},
    model::Client,
    request, retry,
};

/// The most that is read of a response that is no answer.
const ERROR_BODY_LIMIT: usize = 64 << 10;

/// How long the body of a response that is no answer may take: the status alone decides what comes next.
const ERROR_BODY_WAIT: Duration = Duration::from_secs(5);

/// How long the end of the response may take to follow the end of the answer. A connection is used again only if it
/// did.
const END_WAIT: Duration = Duration::from_millis(100);

pub(super) fn start(client: Arc<Client>, request: ModelRequest) -> ModelStream {
    let call = Call { client, request, failures: 0, told: false, restarted: false, phase: Phase::Prepare };
    stream::unfold(call, |mut call| async { call.next().await.map(|event| (event, call)) }).boxed()
}

struct Call {
    client: Arc<Client>,
    request: ModelRequest,
    failures: u32,
    /// Something was told since the call began or restarted.
    told: bool,
    restarted: bool,
    phase: Phase,
}

enum Phase {
    /// The request is to be written.
    Prepare,
    /// The API is to be asked, after this wait.
    Ask { body: Bytes, wait: Option<BoxFuture<'static, ()>> },
    /// It answers.
    Answer { body: Bytes, answer: Box<Answer> },
    /// The end or an error was told.
    Over,
}

/// An answer under way: what was decoded and not yet told, then the failure that followed it, if any.
struct Answer {
    listener: Listener,
    decoder: Decoder,
    events: vec::IntoIter<ModelEvent>,
    failure: Option<Error>,
}

/// A body that may not be silent for too long.
struct Listener {
    client: Arc<Client>,
    body: ByteStream,
    timer: BoxFuture<'static, ()>,
    /// Something came since the timer was set. Setting it anew for each chunk would cost more than the chunk.
    heard: bool,
}

impl Call {
    async fn next(&mut self) -> Option<Result<ModelEvent>> {
        loop {
            let event = match mem::replace(&mut self.phase, Phase::Over) {
                Phase::Prepare => self.prepare(),
                Phase::Ask { body, wait } => self.ask(body, wait).await,
                Phase::Answer { body, answer } => self.answer(body, answer).await,
                Phase::Over => return None,
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn prepare(&mut self) -> Option<Result<ModelEvent>> {
        match request::body(&self.request, &self.client.settings) {
            Ok(body) => {
                self.phase = Phase::Ask { body, wait: None };
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    async fn ask(&mut self, body: Bytes, wait: Option<BoxFuture<'static, ()>>) -> Option<Result<ModelEvent>> {
        if let Some(wait) = wait {
            wait.await;
        }
        match open(&self.client, body.clone()).await {
            Ok(answer) => {
                self.phase = Phase::Answer { body, answer };
                None
            }
            Err(error) => self.fail(body, error),
        }
    }

    async fn answer(&mut self, body: Bytes, mut answer: Box<Answer>) -> Option<Result<ModelEvent>> {
        if let Some(event) = answer.events.next() {
            if matches!(event, ModelEvent::Stop(_)) {
                answer.listener.drain().await;
            } else {
                self.phase = Phase::Answer { body, answer };
            }
            self.told = true;
            return Some(Ok(event));
        }
        if let Some(error) = answer.failure.take() {
            return self.fail(body, error);
        }
        let mut events = Vec::new();
        let fed = match answer.listener.next().await {
            Some(Ok(bytes)) => answer.decoder.feed(&bytes, &mut events),
            Some(Err(error)) => Err(error),
            None => answer.decoder.finish(),
        };
        answer.events = events.into_iter();
        answer.failure = fed.err();
        self.phase = Phase::Answer { body, answer };
        None
    }

    /// Tries again where that may help and is allowed, or tells the error.
    fn fail(&mut self, body: Bytes, error: Error) -> Option<Result<ModelEvent>> {
        self.failures += 1;
        let wait = retry::wait(error.retry(), self.failures, self.client.settings.retries);
        let Some(wait) = wait.filter(|_| !(self.told && self.restarted)) else {
            let exhausted = self.failures > 1 && error.retry() != Retry::Never;
            return Some(Err(if exhausted { error.with_retry(Retry::Exhausted) } else { error }));
        };
        self.phase = Phase::Ask { body, wait: Some(self.client.clock.sleep(wait)) };
        if !mem::take(&mut self.told) {
            return None;
        }
        self.restarted = true;
        Some(Ok(ModelEvent::Restarted { reason: error.to_string() }))
    }
}

/// Sends the request; an answer has begun when this is done.
async fn open(client: &Arc<Client>, body: Bytes) -> Result<Box<Answer>> {
    let supply = client.supply.provide().await?;
    let url = endpoint::messages_url(supply.base_url.as_deref())?;
    let request = HttpRequest::new(url, body)
        .with_header("content-type", "application/json")
        .with_header("accept", "text/event-stream")
        .with_header("user-agent", concat!("agentx/", env!("CARGO_PKG_VERSION")))
        .with_header("anthropic-version", client.settings.version.as_str())
        .with_header("x-api-key", supply.key.clone());
    let timer = client.clock.sleep(client.settings.idle_timeout);
    let response = match future::select(client.transport.send(request), timer).await {
        Either::Left((response, _)) => response?,
        Either::Right(_) => return Err(silent(client)),
    };
    if !(200..300).contains(&response.status) {
        return Err(refused(client, response, &supply.key).await);
    }
    check_content_type(&response)?;
    Ok(Box::new(Answer {
        listener: Listener::new(client, response.body),
        decoder: Decoder::redacting(supply.key),
        events: Vec::new().into_iter(),
        failure: None,
    }))
}

async fn refused(client: &Arc<Client>, mut response: HttpResponse, key: &Secret) -> Error {
    let mut bytes = Vec::new();
    // What is missing of the body is missing of the message; the status says enough.
    let read = async {
        while let Some(Ok(chunk)) = response.body.next().await {
            bytes.extend_from_slice(&chunk);
            if bytes.len() >= ERROR_BODY_LIMIT {
                bytes.truncate(ERROR_BODY_LIMIT);
                break;
            }
        }
    };
    future::select(pin!(read), client.clock.sleep(ERROR_BODY_WAIT)).await;
    error::of_response(response.status, |name| response.header(name), &bytes, client.clock.now(), key)
}

/// A proxy's login page is no answer, and says so here.
fn check_content_type(response: &HttpResponse) -> Result<()> {
    let Some(found) = response.header("content-type") else { return Ok(()) };
    let essence = found.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("text/event-stream") {
        return Ok(());
    }
    let shown: String = essence.chars().take(100).collect();
    Err(failure(ErrorKind::Corrupt, format!("the answer is {shown:?} and not text/event-stream")))
}

fn silent(client: &Client) -> Error {
    let seconds = client.settings.idle_timeout.as_secs_f64();
    failure(ErrorKind::TimedOut, format!("the API was silent for {seconds} s")).with_retry(Retry::After(None))
}

impl Listener {
    fn new(client: &Arc<Client>, body: ByteStream) -> Self {
        let timer = client.clock.sleep(client.settings.idle_timeout);
        Self { client: client.clone(), body, timer, heard: false }
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            match future::select(self.body.next(), &mut self.timer).await {
                Either::Left((chunk, _)) => {
                    self.heard = true;
                    return chunk;
                }
                Either::Right(_) => {
                    self.timer = self.client.clock.sleep(self.client.settings.idle_timeout);
                    if !mem::take(&mut self.heard) {
                        return Some(Err(silent(&self.client)));
                    }
                }
            }
        }
    }

    /// Reads on to the end of the response, which is empty by now.
    async fn drain(&mut self) {
        let timer = self.client.clock.sleep(END_WAIT);
        let rest = self.body.by_ref().take_while(|chunk| future::ready(chunk.is_ok())).for_each(|_| async {});
        future::select(Box::pin(rest), timer).await;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.listener.client.skip(self.decoder.skipped());
    }
}

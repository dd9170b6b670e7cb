//! One call with its retries, as a stream.

use std::{mem, pin::pin, sync::Arc, vec};

use agentx_core::{Error, ModelEvent, ModelRequest, ModelStream, Result, Retry};
use agentx_resource::{BoxFuture, ByteStream};
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::{self, Either},
    stream,
};

use super::{
    ApiFailure, Decoder,
    endpoint::Endpoint,
    error,
    exchange::{self, Opened},
    model::Client,
    request::{self, Purpose},
    retry,
    timers::Timer,
};

/// The most often that one call is repeated without what the API refused of it.
const OMISSIONS: u32 = 32;

pub(super) fn start(client: Arc<Client>, request: ModelRequest) -> ModelStream {
    let call = Call {
        client,
        request,
        failures: 0,
        omissions: 0,
        ready: Vec::new().into_iter(),
        held: Vec::new(),
        told: false,
        restarted: false,
        phase: Phase::Prepare,
    };
    // Boxed, since it is moved with each event.
    stream::unfold(Box::new(call), |mut call| async { call.next().await.map(|event| (event, call)) }).boxed()
}

struct Call {
    client: Arc<Client>,
    request: ModelRequest,
    failures: u32,
    omissions: u32,
    /// To be told next, before all else.
    ready: vec::IntoIter<ModelEvent>,
    /// The beginning of an answer that has shown nothing yet: if it fails here, it is tried again in silence.
    held: Vec<ModelEvent>,
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
    /// The call ends with this error.
    Fail(Error),
    /// The end or an error was told.
    Over,
}

/// An answer under way: what was decoded and not yet told, then the failure that followed it, if any.
struct Answer {
    listener: Listener,
    decoder: Decoder,
    request_id: Option<String>,
    events: vec::IntoIter<ModelEvent>,
    failure: Option<Error>,
}

/// A body that may not stand still for too long.
struct Listener {
    client: Arc<Client>,
    body: ByteStream,
    timer: Timer,
    /// The decoder's progress when the timer was set. Setting it anew for each chunk would cost more than the chunk.
    progress: u64,
}

impl Call {
    async fn next(&mut self) -> Option<Result<ModelEvent>> {
        loop {
            if let Some(event) = self.ready.next() {
                return Some(Ok(event));
            }
            let event = match mem::replace(&mut self.phase, Phase::Over) {
                Phase::Prepare => self.prepare(),
                // Boxed, since what begins with each event is to be small.
                Phase::Ask { body, wait } => Box::pin(self.ask(body, wait)).await,
                Phase::Answer { body, answer } => self.answer(body, answer).await,
                Phase::Fail(error) => Some(Err(error)),
                Phase::Over => return None,
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn prepare(&mut self) -> Option<Result<ModelEvent>> {
        let (request, settings) = (&self.request, &self.client.settings);
        match request::body(request, settings, &self.client.refused(), Purpose::Answer) {
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
        let opened = exchange::send(&self.client, Endpoint::Messages, body.clone()).await;
        match opened.and_then(|opened| Answer::begin(&self.client, opened)) {
            Ok(answer) => {
                self.phase = Phase::Answer { body, answer };
                None
            }
            Err(error) if self.omits(&error) => None,
            Err(error) => self.fail(body, error),
        }
    }

    async fn answer(&mut self, body: Bytes, mut answer: Box<Answer>) -> Option<Result<ModelEvent>> {
        while let Some(event) = answer.events.next() {
            match event {
                ModelEvent::Start { .. } | ModelEvent::Usage(_) if !self.told => self.held.push(event),
                _ if !self.held.is_empty() => {
                    let held = mem::take(&mut self.held).into_iter().chain([event]);
                    let rest = mem::take(&mut answer.events);
                    answer.events = held.chain(rest).collect::<Vec<_>>().into_iter();
                    self.told = true;
                }
                _ => {
                    if matches!(event, ModelEvent::Stop(_)) {
                        Box::pin(answer.listener.drain()).await;
                    } else {
                        self.phase = Phase::Answer { body, answer };
                    }
                    self.told = true;
                    return Some(Ok(event));
                }
            }
        }
        if let Some(error) = answer.failure.take() {
            return self.fail(body, error::within(error, answer.request_id.as_deref()));
        }
        let mut events = Vec::new();
        let fed = match answer.listener.next(answer.decoder.progress()).await {
            Some(Ok(bytes)) => answer.decoder.feed(&bytes, &mut events),
            Some(Err(error)) => Err(error),
            None => answer.decoder.finish(),
        };
        answer.events = events.into_iter();
        answer.failure = fed.err();
        self.phase = Phase::Answer { body, answer };
        None
    }

    /// Whether the API refused an image or a document, without which the request is worth another try. Each is left
    /// out of this and of all later requests, so that it can't end every turn of a session.
    fn omits(&mut self, error: &Error) -> bool {
        let Some(failed) = ApiFailure::of(error).filter(|_| self.omissions < OMISSIONS) else { return false };
        let mut refused = (*self.client.refused()).clone();
        let learnt = request::learn(&self.request, &self.client.settings, &mut refused, failed);
        if learnt.is_empty() {
            return false;
        }
        self.client.refuse(refused);
        let told = learnt.into_iter().map(|(media_type, reason)| ModelEvent::Omitted { media_type, reason });
        self.ready = told.collect::<Vec<_>>().into_iter();
        self.omissions += 1;
        self.phase = Phase::Prepare;
        true
    }

    /// Tries again where that may help and is allowed, or tells the error.
    fn fail(&mut self, body: Bytes, error: Error) -> Option<Result<ModelEvent>> {
        self.failures += 1;
        let wait = retry::wait(error.retry(), self.failures, self.client.settings.retries);
        let Some(wait) = wait.filter(|_| !(self.told && self.restarted)) else {
            let exhausted = self.failures > 1 && error.retry() != Retry::Never;
            // What a failed answer used is told all the same.
            self.ready = mem::take(&mut self.held).into_iter();
            self.phase = Phase::Fail(if exhausted { error.with_retry(Retry::Exhausted) } else { error });
            return None;
        };
        self.held.clear();
        self.phase = Phase::Ask { body, wait: Some(self.client.clock.sleep(wait)) };
        if !mem::take(&mut self.told) {
            return None;
        }
        self.restarted = true;
        Some(Ok(ModelEvent::Restarted { reason: error.to_string() }))
    }
}

impl Answer {
    fn begin(client: &Arc<Client>, opened: Opened) -> Result<Box<Self>> {
        let Opened { response, request_id, key, timer } = opened;
        exchange::check_content_type(&response, "text/event-stream")
            .map_err(|error| error::within(error, request_id.as_deref()))?;
        Ok(Box::new(Self {
            listener: Listener { client: client.clone(), body: response.body, timer, progress: 0 },
            decoder: Decoder::redacting(key),
            request_id,
            events: Vec::new().into_iter(),
            failure: None,
        }))
    }
}

impl Listener {
    /// The next chunk. What came before it has brought the decoder to `progress`.
    async fn next(&mut self, progress: u64) -> Option<Result<Bytes>> {
        loop {
            // The timer first: a server that never stops pinging would never let it be looked at.
            match future::select(&mut self.timer.time, self.body.next()).await {
                Either::Right((chunk, _)) => return chunk,
                Either::Left(_) => {
                    let whole = self.timer.restart();
                    if mem::replace(&mut self.progress, progress) == progress && whole {
                        return Some(Err(exchange::silent(&self.client)));
                    }
                }
            }
        }
    }

    /// Reads on to the end of the response, which is empty by now.
    async fn drain(&mut self) {
        let mut rest = self.body.by_ref().take_while(|chunk| future::ready(chunk.is_ok()));
        // What is there already needs no timer.
        while let Some(chunk) = rest.next().now_or_never() {
            if chunk.is_none() {
                return;
            }
        }
        let mut timer = self.client.end.start();
        let mut rest = pin!(rest.for_each(|_| async {}));
        loop {
            let over = matches!(future::select(&mut timer.time, rest.as_mut()).await, Either::Left(_));
            if !over || timer.restart() {
                return;
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.listener.client.skip(self.decoder.skipped());
    }
}

//! One call with its retries, as a stream.

use std::{
    collections::VecDeque,
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
    vec,
};

use agentx_core::{Error, ModelEvent, ModelRequest, ModelStream, Result, Retry};
use agentx_resource::{BoxFuture, ByteStream};
use bytes::Bytes;
use futures::{
    FutureExt, Stream, StreamExt,
    future::{self, Either},
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
        body: Bytes::new(),
        failures: 0,
        omissions: 0,
        ready: Vec::new().into_iter(),
        held: Vec::new(),
        told: false,
        restarted: false,
        phase: Phase::Prepare,
    };
    call.boxed()
}

struct Call {
    client: Arc<Client>,
    request: ModelRequest,
    /// The request as it is sent.
    body: Bytes,
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
    /// The API is asked, perhaps after a wait.
    Ask(BoxFuture<'static, Result<Box<Answer>>>),
    /// It answers.
    Answer(Box<Answer>),
    /// The answer is whole: its response is read to the end, and then this is told.
    Drain { stop: ModelEvent, drained: BoxFuture<'static, ()> },
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
    events: VecDeque<ModelEvent>,
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

/// Written by hand, since a future for each piece of an answer would cost more than the piece.
impl Stream for Call {
    type Item = Result<ModelEvent>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let call = self.get_mut();
        loop {
            if let Some(event) = call.ready.next() {
                return Poll::Ready(Some(Ok(event)));
            }
            let event = match &mut call.phase {
                Phase::Answer(_) => ready!(call.poll_answer(cx)),
                Phase::Prepare => call.prepare(),
                Phase::Ask(asked) => {
                    let asked = ready!(asked.poll_unpin(cx));
                    call.answered(asked)
                }
                Phase::Drain { drained, .. } => {
                    ready!(drained.poll_unpin(cx));
                    call.end()
                }
                Phase::Fail(_) => call.end(),
                Phase::Over => return Poll::Ready(None),
            };
            if event.is_some() {
                return Poll::Ready(event);
            }
        }
    }
}

/// What a step tells, if anything.
type Told = Option<Result<ModelEvent>>;

impl Call {
    fn prepare(&mut self) -> Told {
        let (request, settings) = (&self.request, &self.client.settings);
        match request::body(request, settings, &self.client.refused(), Purpose::Answer) {
            Ok(body) => {
                self.body = body;
                self.ask(None);
                None
            }
            Err(error) => {
                self.phase = Phase::Over;
                Some(Err(error))
            }
        }
    }

    fn ask(&mut self, wait: Option<Duration>) {
        let (client, body) = (self.client.clone(), self.body.clone());
        let wait = wait.map(|wait| client.clock.sleep(wait));
        let asked = async move {
            if let Some(wait) = wait {
                wait.await;
            }
            let opened = exchange::send(&client, Endpoint::Messages, body).await?;
            Answer::begin(&client, opened)
        };
        self.phase = Phase::Ask(asked.boxed());
    }

    fn answered(&mut self, asked: Result<Box<Answer>>) -> Told {
        match asked {
            Ok(answer) => {
                self.phase = Phase::Answer(answer);
                None
            }
            Err(error) if self.omits(&error) => None,
            Err(error) => self.fail(error),
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Told> {
        let Phase::Answer(answer) = &mut self.phase else { return Poll::Ready(None) };
        while let Some(event) = answer.events.pop_front() {
            match event {
                ModelEvent::Start { .. } | ModelEvent::Usage(_) if !self.told => self.held.push(event),
                _ if !self.held.is_empty() => {
                    answer.events.push_front(event);
                    for held in mem::take(&mut self.held).into_iter().rev() {
                        answer.events.push_front(held);
                    }
                    self.told = true;
                }
                _ => {
                    self.told = true;
                    if matches!(event, ModelEvent::Stop(_)) {
                        self.drain(event);
                        return Poll::Ready(None);
                    }
                    return Poll::Ready(Some(Ok(event)));
                }
            }
        }
        if let Some(error) = answer.failure.take() {
            let error = error::within(error, answer.request_id.as_deref());
            return Poll::Ready(self.fail(error));
        }
        let chunk = ready!(answer.listener.poll_next(cx, answer.decoder.progress()));
        // Empty by now: what it had room for is used again.
        let mut events = Vec::from(mem::take(&mut answer.events));
        let fed = match chunk {
            Some(Ok(bytes)) => answer.decoder.feed(&bytes, &mut events),
            Some(Err(error)) => Err(error),
            None => answer.decoder.finish(),
        };
        answer.events = events.into();
        answer.failure = fed.err();
        Poll::Ready(None)
    }

    /// Reads the response to its end, so that its connection can be used again, and then tells the stop.
    fn drain(&mut self, stop: ModelEvent) {
        if let Phase::Answer(mut answer) = mem::replace(&mut self.phase, Phase::Over) {
            let drained = async move { answer.listener.drain().await }.boxed();
            self.phase = Phase::Drain { stop, drained };
        }
    }

    fn end(&mut self) -> Told {
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Drain { stop, .. } => Some(Ok(stop)),
            Phase::Fail(error) => Some(Err(error)),
            _ => None,
        }
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
    fn fail(&mut self, error: Error) -> Told {
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
        self.ask(Some(wait));
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
            events: VecDeque::new(),
            failure: None,
        }))
    }
}

impl Listener {
    /// The next chunk. What came before it has brought the decoder to `progress`.
    fn poll_next(&mut self, cx: &mut Context<'_>, progress: u64) -> Poll<Option<Result<Bytes>>> {
        // The timer first: a server that never stops pinging would never let it be looked at.
        while self.timer.time.poll_unpin(cx).is_ready() {
            let whole = self.timer.restart();
            if mem::replace(&mut self.progress, progress) == progress && whole {
                return Poll::Ready(Some(Err(exchange::silent(&self.client))));
            }
        }
        self.body.poll_next_unpin(cx)
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

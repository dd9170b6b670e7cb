//! One WebSocket connection.
//!
//! Everything that goes out is written by one loop, in order: events of the sessions that the client listens to, and
//! answers as they come. What it sends is not queued: a client that reads slowly slows this loop alone, and falls behind
//! its subscriptions, which have their own bounds and tell it so.
//!
//! Most of what it does is to tell what a session's other listeners are told too. So what has to do with that alone is
//! looked at when a session wakes it: all else rings its [`Bells`].

mod bells;
mod places;
mod topics;

use std::{
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use agentx_core::{Cursor, SessionId};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures::{
    FutureExt, SinkExt, StreamExt,
    future::{self, BoxFuture},
    poll,
    stream::{self, BoxStream, FuturesUnordered},
};
use tokio::time::{self, Instant, MissedTickBehavior};

pub(crate) use self::places::Places;
use self::{
    bells::Bells,
    topics::{Told, Topics},
};
use crate::{
    Owner,
    auth::Credentials,
    failure::{Code, Failure},
    server::{Caller, Shared},
    service::{Answer, Started},
    wire::{self, Asked, Control, Frame, Request, Wire},
};

/// How many requests of one connection are worked on at once. More are left unread.
const IN_FLIGHT: usize = 64;

/// How many events leave in one write at most. Between two of them the client is heard.
const AT_ONCE: usize = 64;

/// How long a client may take to read one frame.
const WRITE: Duration = Duration::from_secs(30);

/// How long a connection may take to tell what had happened when the server ends it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a connection may stay nobody's.
const AUTH: Duration = Duration::from_secs(10);

/// How long a client that is told why the server ends its connection may take to end it, too.
const LINGER: Duration = Duration::from_secs(2);

/// The longest frame of somebody who did not say who it is, in bytes: it is read before that is known.
const NOBODYS: usize = 16 << 10;

/// Hears of everything that happens to an owner's agents.
const EVERYTHING: &str = "global";

/// Serves a connection until either side ends it. `caller` is whoever the handshake told of.
pub(crate) async fn serve(socket: WebSocket, shared: Arc<Shared>, caller: Option<Caller>, places: Places) {
    let _connected = shared.metrics.connected();
    let bells = Bells::new();
    let connection = Connection {
        id: format!("conn_{}_{}", now(), shared.service.connections.next()),
        socket,
        shared,
        owner: None,
        lapsed: future::pending().boxed(),
        places,
        wire: Wire::Rpc,
        topics: Topics::new(bells.clone()),
        bells,
        started: stream::pending().boxed(),
        everything: false,
        in_flight: FuturesUnordered::new(),
        turns: FuturesUnordered::new(),
        sent: 0,
        alive: true,
        code: close_code::NORMAL,
    };
    connection.run(caller).await;
}

/// The time, in milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A request, where its asker wants to know, and what came of it.
type Done = (Option<Asked>, Result<Answer, Failure>);

struct Connection {
    id: String,
    socket: WebSocket,
    shared: Arc<Shared>,
    owner: Option<Owner>,
    /// Passes when it may no longer be open for its owner.
    lapsed: BoxFuture<'static, ()>,
    places: Places,
    /// What it spoke last.
    wire: Wire,
    topics: Topics,
    bells: Arc<Bells>,
    /// The owner's agents that begin to run.
    started: BoxStream<'static, Started>,
    /// Whether it hears of all agents of its owner.
    everything: bool,
    in_flight: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Requests that are done but for the end of the turn that they began. The turns of an owner have a bound.
    turns: FuturesUnordered<BoxFuture<'static, Done>>,
    /// How many frames it was sent that it confirms.
    sent: u64,
    /// Whether it was heard since the last ping.
    alive: bool,
    /// Why it ends.
    code: u16,
}

/// What a connection does something about.
enum Happened {
    /// The server ends all connections.
    Closing,
    /// It may no longer be open for its owner.
    Lapsed,
    /// It is still nobody's.
    Nobodys,
    Ping,
    /// The client said something; nothing where it is gone.
    Heard(Option<Message>),
    Started(Started),
    Told(Told),
    Done(Done),
    TurnOver(Done),
}

/// The connection is over.
struct Closed;

impl Connection {
    async fn run(mut self, caller: Option<Caller>) {
        if let Some(caller) = caller {
            self.admit(caller);
        }
        let mut ping = time::interval(self.shared.limits.ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        let nobody = time::sleep_until(Instant::now() + AUTH);
        let closed = self.shared.closed();
        tokio::pin!(nobody, closed);
        loop {
            // First what a flood of frames must not put off; then what the client says: an interrupt is heard in a flood of
            // events.
            let is_free = self.in_flight.len() < IN_FLIGHT;
            let others = async {
                tokio::select! {
                    biased;
                    () = &mut closed => Happened::Closing,
                    () = &mut self.lapsed => Happened::Lapsed,
                    () = &mut nobody, if self.owner.is_none() => Happened::Nobodys,
                    _ = ping.tick() => Happened::Ping,
                    heard = self.socket.recv(), if is_free => {
                        Happened::Heard(heard.and_then(Result::ok))
                    }
                    Some(started) = self.started.next() => Happened::Started(started),
                }
            };
            let happened = tokio::select! {
                biased;
                other = self.bells.guard(others) => other,
                Some(done) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    // What was left unread for it is read.
                    self.bells.ring();
                    Happened::Done(done)
                }
                told = self.topics.next() => Happened::Told(told),
                Some(over) = self.turns.next(), if !self.turns.is_empty() => Happened::TurnOver(over),
            };
            let done = match happened {
                Happened::Closing => {
                    self.code = close_code::AWAY;
                    // Whoever reads no more hears it when it comes back.
                    drop(time::timeout(LAST_WORDS, self.last_words()).await);
                    Err(Closed)
                }
                Happened::Lapsed => {
                    self.code = close_code::POLICY;
                    Err(Closed)
                }
                Happened::Nobodys | Happened::Heard(None) => Err(Closed),
                Happened::Ping => self.ping().await,
                Happened::Heard(Some(message)) => self.hear(message).await,
                Happened::Started(started) => {
                    self.follow(started);
                    Ok(())
                }
                Happened::Told(told) => self.tell(told).await,
                Happened::Done(done) => self.done(done).await,
                Happened::TurnOver((asked, done)) => self.answer(asked, done).await,
            };
            if done.is_err() {
                break;
            }
        }
        let close = CloseFrame { code: self.code, reason: Utf8Bytes::from_static("") };
        // Whoever is gone does not hear it.
        let told = time::timeout(WRITE, self.socket.send(Message::Close(Some(close)))).await;
        if matches!(told, Ok(Ok(()))) && self.code != close_code::NORMAL {
            // A connection that is closed with something unread takes back what was sent, this word too.
            let unread = async { while let Some(Ok(_)) = self.socket.recv().await {} };
            drop(time::timeout(LINGER, unread).await);
        }
    }

    /// Tells what has happened by now, and no more: how the last turns ended.
    async fn last_words(&mut self) -> Result<(), Closed> {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.in_flight.next() => self.done(done).await?,
                told = self.topics.next() => self.tell(told).await?,
                Some((asked, done)) = self.turns.next() => self.answer(asked, done).await?,
                () = tokio::task::yield_now() => return Ok(()),
            }
        }
    }

    fn admit(&mut self, caller: Caller) {
        self.started = self.shared.service.running.listen(&caller.owner).boxed();
        self.owner = Some(caller.owner.clone());
        self.lapsed = self.shared.lapsed(caller).boxed();
    }

    async fn ping(&mut self) -> Result<(), Closed> {
        if !std::mem::take(&mut self.alive) {
            return Err(Closed);
        }
        self.send(Message::Ping(axum::body::Bytes::new())).await
    }

    async fn hear(&mut self, message: Message) -> Result<(), Closed> {
        self.alive = true;
        match message {
            Message::Text(text) if self.owner.is_none() && text.len() > NOBODYS => {
                let failure = Failure::new(Code::Unauthorized, "who asks is not known yet");
                self.refuse(&Asked::nothing(self.wire), &failure).await?;
                Err(Closed)
            }
            Message::Text(text) => {
                for frame in wire::frames(&text, self.wire) {
                    self.take(frame).await?;
                }
                Ok(())
            }
            Message::Binary(_) => {
                let failure = Failure::new(Code::InvalidRequest, "Invalid request: frames are text");
                self.refuse(&Asked::nothing(self.wire), &failure).await
            }
            Message::Close(_) => Err(Closed),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Closed> {
        match frame {
            Frame::Bad(asked, failure) => self.refuse(&asked, &failure).await,
            Frame::Control { control: Control::Acknowledged, asked, .. } => {
                self.obey(asked, Answer::default()).await
            }
            Frame::Control { control, wire, asked } => {
                self.wire = wire;
                let mut answer = Answer::default();
                match control {
                    Control::Acknowledged => {}
                    Control::Auth { headers } => self.authenticate(Credentials::of_frame(&headers)).await?,
                    Control::Subscribe { topic, after } => match self.subscribe(topic, after).await {
                        Ok(Some(place)) => {
                            answer.result.insert("cursor".to_owned(), wire::cursor(place).into());
                        }
                        Ok(None) => {}
                        Err(failure) => return self.answer(asked, Err(failure)).await,
                    },
                    Control::Unsubscribe { topic } => self.unsubscribe(&topic),
                }
                self.obey(asked, answer).await
            }
            Frame::Request(request) => self.request(request).await,
        }
    }

    /// Says that it heard, to who asks about more than the protocol answers.
    async fn obey(&mut self, asked: Option<Asked>, answer: Answer) -> Result<(), Closed> {
        match asked {
            Some(asked) => self.answer(Some(asked), Ok(answer)).await,
            None => Ok(()),
        }
    }

    async fn authenticate(&mut self, credentials: Credentials) -> Result<(), Closed> {
        // Who it is can't change: what was subscribed to is the first one's.
        if self.owner.is_some() {
            return Ok(());
        }
        let failure = match self.shared.caller(credentials).await {
            Ok(Some(caller)) => match self.places.of(&self.shared, &caller).await {
                Ok(()) => {
                    self.admit(caller);
                    return Ok(());
                }
                Err(failure) => failure,
            },
            Ok(None) => Failure::new(Code::Unauthorized, "these credentials are not known"),
            Err(failure) => failure,
        };
        self.refuse(&Asked::nothing(self.wire), &failure).await?;
        Err(Closed)
    }

    async fn request(&mut self, request: Request) -> Result<(), Closed> {
        let wire = request.asked.as_ref().map_or(Wire::Rpc, Asked::wire);
        self.wire = wire;
        let Some(owner) = self.owner.clone() else {
            let asked = request.asked.unwrap_or(Asked::nothing(wire));
            return self.refuse(&asked, &Failure::new(Code::Unauthorized, "who asks is not known yet")).await;
        };
        // The clients of the later generations subscribe to nothing and expect everything that is theirs.
        if wire == Wire::Rpc && !self.everything && !self.topics.declined {
            self.hear_everything(&owner);
        }
        let shared = self.shared.clone();
        let Request { asked, method, params } = request;
        let done = async move { (asked, shared.call(&owner, method, params).await) };
        self.in_flight.push(done.boxed());
        Ok(())
    }

    fn hear_everything(&mut self, owner: &Owner) {
        self.everything = true;
        for running in self.shared.service.running.of(owner) {
            self.topics.follow(&running, None);
        }
    }

    /// An agent of the owner's began to run.
    fn follow(&mut self, started: Started) {
        let agents = match (started, &self.owner) {
            (Started::Agent(running), _) => vec![*running],
            // Those that run are looked through.
            (Started::Missed, Some(owner)) => self.shared.service.running.of(owner),
            (Started::Missed, None) => Vec::new(),
        };
        for running in agents {
            if self.everything || self.topics.knows(&running.agent) {
                self.topics.follow(&running, Some(running.from));
            }
        }
    }

    /// Gives the place behind which the client hears of a session. By the protocol it is no request, and has no answer; who
    /// makes it one is told that a session is not there, or another's.
    async fn subscribe(&mut self, topic: String, after: Option<Cursor>) -> Result<Option<Cursor>, Failure> {
        let owner = self
            .owner
            .clone()
            .ok_or_else(|| Failure::new(Code::Unauthorized, "who asks is not known yet"))?;
        if topic == EVERYTHING {
            self.hear_everything(&owner);
            return Ok(None);
        }
        let missing = || Failure::not_found("Session", topic.chars().take(128).collect::<String>());
        let session = SessionId::new(&topic).map_err(|_| missing())?;
        let running = self.shared.service.agent_of_session(&owner, &session).await?;
        Ok(self.topics.listen(&running, after))
    }

    fn unsubscribe(&mut self, topic: &str) {
        if topic == EVERYTHING {
            self.everything = false;
            self.topics.declined = true;
        } else {
            self.topics.forget(topic);
        }
    }

    /// Tells an event, and what is there behind it: all of it leaves in one write.
    async fn tell(&mut self, first: Told) -> Result<(), Closed> {
        let (mut next, mut fed) = (Some(first), 0);
        while let Some((event, frames)) = next.take() {
            let Some(owner) = &self.owner else { return Ok(()) };
            let frame = match self.wire {
                Wire::Rpc => frames.rpc(owner, &event),
                Wire::Event => {
                    let text = wire::event(owner, &event, self.wire);
                    self.confirmed(&text)
                }
            };
            within(self.socket.feed(Message::Text(frame))).await?;
            fed += 1;
            // What is taken is told: the one behind the last stays where it is.
            if fed < AT_ONCE {
                next = self.topics.take();
            }
        }
        within(self.socket.flush()).await
    }

    /// A request is done, but perhaps for the end of the turn that it began: clients of the later generations hear of
    /// that by the answer, those of the first that it began.
    async fn done(&mut self, (asked, mut done): Done) -> Result<(), Closed> {
        if let (Ok(answer), Some(Asked::Rpc(_))) = (&mut done, &asked)
            && let Some(turn) = answer.turn.take()
        {
            let wait = self.shared.limits.turn_wait;
            let over = async move {
                // How it ended is told by events.
                drop(time::timeout(wait, turn.finish()).await);
                (asked, done)
            };
            self.turns.push(over.boxed());
            return Ok(());
        }
        self.answer(asked, done).await
    }

    /// Answers in the form in which it was asked.
    async fn answer(&mut self, asked: Option<Asked>, done: Result<Answer, Failure>) -> Result<(), Closed> {
        let Some(asked) = asked else { return Ok(()) };
        let text = match done {
            Ok(answer) => wire::reply(&asked, answer, now()),
            Err(failure) => wire::failure(&asked, &failure, now()),
        };
        match asked.wire() {
            Wire::Rpc => self.send(Message::Text(text.into())).await,
            Wire::Event => {
                let frame = self.confirmed(&text);
                self.send(Message::Text(frame)).await
            }
        }
    }

    async fn refuse(&mut self, asked: &Asked, failure: &Failure) -> Result<(), Closed> {
        let text = wire::failure(asked, failure, now());
        self.send(Message::Text(text.into())).await
    }

    /// What a client of the first generation confirms.
    fn confirmed(&mut self, payload: &str) -> Utf8Bytes {
        self.sent += 1;
        wire::acknowledged(&format!("{}_{}", self.id, self.sent), payload).into()
    }

    async fn send(&mut self, message: Message) -> Result<(), Closed> {
        within(self.socket.send(message)).await
    }
}

/// What the client takes in time. Mostly it takes it at once, and no time is measured.
async fn within(written: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Closed> {
    let mut written = pin!(written);
    let written = match poll!(&mut written) {
        Poll::Ready(written) => Ok(written),
        Poll::Pending => time::timeout(WRITE, written).await,
    };
    match written {
        Ok(Ok(())) => Ok(()),
        _ => Err(Closed),
    }
}

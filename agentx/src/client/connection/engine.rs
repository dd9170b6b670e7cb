//! The task that has the socket.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use agentx_core::{Error, ErrorKind, Result, Retry, SessionId};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::{self, Instant, MissedTickBehavior},
};
use tokio_tungstenite::tungstenite::Message;

use super::{
    Command, State, backoff,
    socket::{DialError, Dialer, End, Socket},
    topic::{self, Ask, Topic},
};
use crate::client::{
    RemoteBuilder, failure,
    wire::{self, Frame},
};

/// How many requests may be without an answer. More wait.
const IN_FLIGHT: usize = 1024;

/// The shortest time between two looks at what is overdue.
const TICK: Duration = Duration::from_millis(10);

pub(super) struct Engine {
    options: RemoteBuilder,
    dialer: Dialer,
    commands: mpsc::Receiver<Command>,
    state: Arc<State>,
    pending: BTreeMap<u64, Pending>,
    topics: HashMap<SessionId, Topic>,
    outgoing: VecDeque<Message>,
    /// The number of the last request.
    last: u64,
    heard: Instant,
    /// Since when no server answered anything.
    down: Option<Instant>,
    attempts: u32,
}

/// What has no answer yet.
enum Pending {
    Call {
        text: String,
        operation: &'static str,
        is_repeatable: bool,
        answer: oneshot::Sender<Result<Value>>,
    },
    /// For a session's events, since this moment.
    Topic(SessionId, Instant),
}

/// Why the task is done with a socket.
enum Over {
    Closed,
    Ended(End),
}

impl Engine {
    pub(super) fn new(
        options: RemoteBuilder,
        dialer: Dialer,
        commands: mpsc::Receiver<Command>,
        state: Arc<State>,
    ) -> Self {
        Self {
            options,
            dialer,
            commands,
            state,
            pending: BTreeMap::new(),
            topics: HashMap::new(),
            outgoing: VecDeque::new(),
            last: 0,
            heard: Instant::now(),
            down: None,
            attempts: 0,
        }
    }

    /// Serves until the users are gone, or no server is there any more.
    pub(super) async fn run(mut self, mut socket: Socket) {
        let why = loop {
            let lost = match self.serve(&mut socket).await {
                Over::Closed => {
                    socket.close().await;
                    break failure::error(ErrorKind::Cancelled, "read").with_message("the client was closed");
                }
                Over::Ended(End::Final(error)) => {
                    socket.close().await;
                    break error;
                }
                Over::Ended(End::Lost(error)) => error,
            };
            self.lose(&lost);
            match self.dial_again(lost).await {
                Ok(next) => socket = next,
                Err(error) => break error,
            }
        };
        // First the reason: whoever finds that the task is gone looks there.
        let why = self.state.ended.get_or_init(|| why).clone();
        for topic in self.topics.values_mut() {
            topic.fail(&why);
        }
        // What waits is answered by its absence.
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            drop(command);
        }
    }

    async fn serve(&mut self, socket: &mut Socket) -> Over {
        self.greet();
        let tick = (self.options.silence.min(self.options.request_timeout) / 4).max(TICK);
        let mut ticks = time::interval(tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.state.is_closing() {
                return Over::Closed;
            }
            tokio::select! {
                // What is asked goes first: an interrupt is heard in a flood of events.
                biased;
                Some(command) = self.commands.recv(), if self.pending.len() < IN_FLIGHT => self.take(command),
                () = self.state.wake.notified() => self.tidy(),
                message = socket.next(&mut self.outgoing) => match message.and_then(|message| self.hear(message)) {
                    Ok(()) => {}
                    Err(end) => return Over::Ended(end),
                },
                _ = ticks.tick() => if let Err(end) = self.look_at_the_clock() {
                    return Over::Ended(end);
                },
            }
        }
    }

    /// Says what a new connection needs: that it listens to single sessions, what had no answer, and the sessions.
    fn greet(&mut self) {
        self.heard = Instant::now();
        let declined = json!({"jsonrpc": "2.0", "method": "unsubscribe", "params": {"topic": "global"}});
        self.outgoing.push_back(Message::text(declined.to_string()));
        for pending in self.pending.values() {
            if let Pending::Call { text, .. } = pending {
                self.outgoing.push_back(Message::text(text.clone()));
            }
        }
        self.tidy();
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Call { request, answer } => {
                let text = self.request(request.method, &request.params);
                self.outgoing.push_back(Message::text(text.clone()));
                let (operation, is_repeatable) = (request.operation, request.is_repeatable);
                // What is not asked again is not kept.
                let text = if is_repeatable { text } else { String::new() };
                self.pending.insert(self.last, Pending::Call { text, operation, is_repeatable, answer });
            }
            Command::Listen { context, inbox, seen, ready } => {
                let session = context.session_id.clone();
                let topic = self.topics.entry(session.clone()).or_insert_with(|| Topic::new(context));
                topic.add(inbox, seen, Some(ready));
                self.ask(&session);
            }
        }
    }

    fn request(&mut self, method: &str, params: &Value) -> String {
        self.last += 1;
        json!({"jsonrpc": "2.0", "id": self.last, "method": method, "params": params}).to_string()
    }

    /// Asks for a session's events, where that is due.
    fn ask(&mut self, session: &SessionId) {
        let Some(ask) = self.topics.get_mut(session).and_then(Topic::ask) else { return };
        let params = match ask {
            Ask::Now => json!({"topic": session}),
            Ask::Behind(place) => json!({"topic": session, "afterCursor": wire::cursor(place)}),
        };
        let text = self.request("subscribe", &params);
        self.outgoing.push_back(Message::text(text));
        self.pending.insert(self.last, Pending::Topic(session.clone(), Instant::now()));
    }

    /// Listeners came to have room, or left.
    fn tidy(&mut self) {
        let mut left = Vec::new();
        self.topics.retain(|session, topic| {
            let stays = topic.tidy();
            if !stays {
                left.push(session.clone());
            }
            stays
        });
        for session in left {
            let params = json!({"topic": session});
            let text = json!({"jsonrpc": "2.0", "method": "unsubscribe", "params": params}).to_string();
            self.outgoing.push_back(Message::text(text));
        }
        let sessions: Vec<SessionId> = self.topics.keys().cloned().collect();
        for session in sessions {
            self.ask(&session);
        }
    }

    fn hear(&mut self, message: Message) -> Result<(), End> {
        self.heard = Instant::now();
        let Message::Text(text) = message else {
            // Pings are answered below; of the rest the protocol has nothing.
            if let Message::Binary(_) = message {
                self.state.skip();
            }
            return Ok(());
        };
        let frame: Frame = match serde_json::from_str(&text) {
            Ok(frame) => frame,
            Err(_) if serde_json::from_str::<IgnoredAny>(&text).is_ok() => {
                self.state.skip();
                return Ok(());
            }
            Err(error) => {
                let error = failure::error(ErrorKind::Corrupt, "read").with_source(error);
                return Err(End::Final(error.with_message("the server sent a frame that is no JSON")));
            }
        };
        match (frame.id, frame.method.as_deref()) {
            (Some(id), _) => self.answered(id, frame),
            (None, Some("stream.event")) => self.told(frame, text.len()),
            // What this version does not know, or an answer to nothing.
            (None, _) => self.state.skip(),
        }
        Ok(())
    }

    fn answered(&mut self, id: u64, frame: Frame) {
        (self.down, self.attempts) = (None, 0);
        let Some(pending) = self.pending.remove(&id) else { return self.state.skip() };
        match pending {
            Pending::Call { operation, answer, .. } => {
                let result = match frame.error {
                    Some(error) => Err(failure::answered(operation, &error)),
                    None => Ok(frame.result.unwrap_or_default()),
                };
                // Whoever asked may be gone.
                drop(answer.send(result));
            }
            Pending::Topic(session, _) => {
                let place = frame.result.as_ref().and_then(|result| result.get("cursor")?.as_str());
                let why = match (place.and_then(wire::parse_cursor), &frame.error) {
                    (Some(place), None) => {
                        if let Some(topic) = self.topics.get_mut(&session) {
                            topic.answered(place);
                        }
                        return self.ask(&session);
                    }
                    (_, Some(error)) => failure::answered("listen", error),
                    (None, None) => topic::missing(session.as_str()),
                };
                if let Some(mut topic) = self.topics.remove(&session) {
                    topic.fail(&why);
                }
            }
        }
    }

    fn told(&mut self, frame: Frame, bytes: usize) {
        let event = frame.params.and_then(|params| params.event).and_then(wire::event);
        let Some(event) = event.map(Arc::new) else { return self.state.skip() };
        let session = &event.context.session_id;
        if let Some(topic) = self.topics.get_mut(session)
            && !topic.tell(&event, bytes)
        {
            self.topics.remove(session);
        }
    }

    /// Gives up what nobody waits for, and the connection where it is silent.
    fn look_at_the_clock(&mut self) -> Result<(), End> {
        self.pending.retain(|_, pending| match pending {
            Pending::Call { answer, .. } => !answer.is_closed(),
            Pending::Topic(..) => true,
        });
        let timeout = self.options.request_timeout;
        let is_overdue =
            |pending: &Pending| matches!(pending, Pending::Topic(_, since) if since.elapsed() > timeout);
        if self.heard.elapsed() <= self.options.silence && !self.pending.values().any(is_overdue) {
            return Ok(());
        }
        let silent = failure::error(ErrorKind::TimedOut, "read").with_retry(Retry::After(None));
        Err(End::Lost(silent.with_message("the server is silent")))
    }

    /// The connection is lost, and with it what can't be asked twice.
    fn lose(&mut self, why: &Error) {
        self.down.get_or_insert_with(Instant::now);
        self.outgoing.clear();
        for (id, pending) in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Call { is_repeatable: false, operation, answer, .. } => {
                    let lost = failure::error(ErrorKind::Lost, operation)
                        .with_message("the connection was lost before the answer")
                        .with_source(why.clone());
                    drop(answer.send(Err(lost)));
                }
                repeatable @ Pending::Call { .. } => drop(self.pending.insert(id, repeatable)),
                Pending::Topic(..) => {}
            }
        }
        self.topics.values_mut().for_each(Topic::lost);
    }

    async fn dial_again(&mut self, mut why: Error) -> Result<Socket> {
        loop {
            let wait = backoff::wait(self.attempts);
            self.attempts = self.attempts.saturating_add(1);
            let down = self.down.map_or(Duration::ZERO, |since| since.elapsed());
            if down + wait > self.options.reconnect_within {
                let gone = failure::error(ErrorKind::Unavailable, "connect").with_retry(Retry::Exhausted);
                return Err(gone.with_message("the server is gone").with_source(why));
            }
            let dialed = async {
                time::sleep(wait).await;
                self.dialer.dial().await
            };
            let dialed = tokio::select! {
                () = self.state.closed() => {
                    return Err(failure::error(ErrorKind::Cancelled, "connect").with_message("the client was closed"));
                }
                dialed = dialed => dialed,
            };
            match dialed {
                Ok(socket) => return Ok(socket),
                Err(DialError::Again(error)) => why = error,
                Err(DialError::Final(error)) => return Err(error),
            }
        }
    }
}

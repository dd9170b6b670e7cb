//! One turn: the driver's events, through the state machine, into the store and then to subscribers.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{
    FutureExt, Stream, StreamExt,
    channel::oneshot,
    future::{self, Either},
};

use super::{
    agent::{AgentCore, Done},
    bus::Subscription,
    history,
};
use crate::{
    AgentState, ContentPart, DriverEvent, Error, ErrorKind, Event, EventContext, EventData, Message,
    MessageBody, MessageId, Moment, Outcome, OutcomeKind, Result, Timestamp, Turn, TurnId, TurnInput,
    TurnMachine, Usage,
};

/// How a turn went.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TurnReport {
    /// The turn.
    pub turn_id: TurnId,
    /// How it ended.
    pub outcome: Outcome,
    /// The text of the model's last message.
    pub text: String,
    /// All that it used.
    pub usage: Usage,
}

/// The events of one turn, as they happen. Dropping it changes nothing for the turn.
#[derive(Debug)]
pub struct TurnEvents {
    subscription: Subscription,
    turn_id: TurnId,
    done: Done,
    over: bool,
}

impl TurnEvents {
    pub(super) fn new(subscription: Subscription, turn_id: TurnId, done: Done) -> Self {
        Self { subscription, turn_id, done, over: false }
    }

    /// The turn.
    pub fn turn_id(&self) -> &TurnId {
        &self.turn_id
    }

    /// Waits for the end of the turn.
    ///
    /// # Errors
    /// The error of a turn that failed; `Cancelled` for one that was given up with its runtime. Every other end is a
    /// report: look at its outcome.
    pub async fn finish(self) -> Result<TurnReport> {
        match self.done.await {
            Ok(TurnReport { outcome: Outcome::Failed(error), .. }) => Err(error),
            Ok(report) => Ok(report),
            Err(_) => Err(Error::new(ErrorKind::Cancelled, "run turn").with_message("the runtime is gone")),
        }
    }
}

impl Stream for TurnEvents {
    type Item = Arc<Event>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        while !self.over {
            let Some(event) = std::task::ready!(self.subscription.poll_next_unpin(cx)) else { break };
            let lagged = matches!(event.data, EventData::Lagged { .. });
            if lagged || event.context.turn_id.as_ref() == Some(&self.turn_id) {
                self.over = matches!(event.data, EventData::TurnResponse { .. });
                return Poll::Ready(Some(event));
            }
        }
        Poll::Ready(None)
    }
}

/// A turn that is over and stored, but not yet told of.
pub(super) struct Finished {
    pub(super) state: AgentState,
    pub(super) at: Timestamp,
    pub(super) context: Arc<EventContext>,
    pub(super) events: Vec<EventData>,
    pub(super) report: TurnReport,
}

/// Runs a turn. Tells `stored` when the user's message is safe, or why it is not; then there is no turn.
pub(super) async fn run(
    agent: Arc<AgentCore>,
    turn_id: TurnId,
    said: Vec<ContentPart>,
    interrupted: oneshot::Receiver<()>,
    stored: oneshot::Sender<Result<()>>,
) -> Option<Finished> {
    let context = Arc::new(agent.context.clone().with_turn(turn_id.clone()));
    let task = Task { agent, turn_id, context };
    let begun = task.begin(said).await;
    let (begun, outcome) = match begun {
        Ok(begun) => (Some(begun), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Whoever sent the message may no longer wait; the turn goes on all the same.
    let _ = stored.send(outcome);
    let (machine, turn) = begun?;
    Some(task.drive(machine, turn, interrupted).await)
}

struct Task {
    agent: Arc<AgentCore>,
    turn_id: TurnId,
    context: Arc<EventContext>,
}

impl Task {
    /// Stores the user's message and makes ready what the driver needs.
    async fn begin(&self, content: Vec<ContentPart>) -> Result<(TurnMachine, Turn)> {
        let AgentCore { shared, image, tools, .. } = &*self.agent;
        let sessions = &*shared.repositories.sessions;
        let mut history = history::load(sessions, &image.session_id).await?;
        let id = MessageId::fresh(&*shared.host.ids);
        let user = Message::new(id, shared.host.now(), MessageBody::User { content });
        sessions.append_messages(&image.session_id, std::slice::from_ref(&user)).await?;
        history.push(user.clone());
        let (machine, events) = TurnMachine::start(self.turn_id.clone(), user);
        self.agent.publish(machine.state(), shared.host.now(), &self.context, events);
        let mut turn = Turn::new(history, shared.host.clock.clone())
            .with_tools(tools.clone())
            .with_permission(shared.permission.clone())
            .with_budget(shared.budget.clone());
        turn.system.clone_from(&image.spec.system_prompt);
        turn.settings = shared.settings.clone();
        Ok((machine, turn))
    }

    async fn drive(
        &self,
        mut machine: TurnMachine,
        turn: Turn,
        interrupted: oneshot::Receiver<()>,
    ) -> Finished {
        let shared = &self.agent.shared;
        let mut stream = Some(shared.driver.start(turn));
        // The sender lives as long as the turn; were it gone, nobody could interrupt.
        let mut interrupted = interrupted
            .then(|told| async move {
                if told.is_err() {
                    future::pending::<()>().await;
                }
            })
            .boxed()
            .fuse();
        let mut text = String::new();
        loop {
            let input = next_input(&mut stream, &mut interrupted).await;
            let outcome = match &input {
                TurnInput::Interrupted => Some(Outcome::Interrupted),
                TurnInput::Driver(DriverEvent::End(end)) => Some(end.outcome.clone()),
                TurnInput::Driver(_) => None,
            };
            let at = shared.host.now();
            let moment = Moment { at, ids: &*shared.host.ids };
            let events;
            (machine, events) = machine.step(moment, input);
            if let Err(error) = self.store(&events).await {
                drop(stream);
                return self.give_up(machine, events, error);
            }
            if let Some(said) = events.iter().filter_map(assistant_text).next_back() {
                text = said;
            }
            let state = machine.state();
            match outcome {
                None => self.agent.publish(state, at, &self.context, events),
                Some(outcome) => {
                    let report =
                        TurnReport { turn_id: self.turn_id.clone(), outcome, text, usage: machine.usage() };
                    return Finished { state, at, context: self.context.clone(), events, report };
                }
            }
        }
    }

    /// Stores the messages among `events`, before anybody is told of them and before the driver goes on.
    async fn store(&self, events: &[EventData]) -> Result<()> {
        let messages: Vec<_> = events.iter().filter_map(EventData::message).cloned().collect();
        if messages.is_empty() {
            return Ok(());
        }
        let AgentCore { shared, image, .. } = &*self.agent;
        shared.repositories.sessions.append_messages(&image.session_id, &messages).await.map(drop)
    }

    /// Ends a turn whose messages can't be stored. What could not be stored is not told.
    fn give_up(&self, machine: TurnMachine, mut events: Vec<EventData>, error: Error) -> Finished {
        let host = &self.agent.shared.host;
        let (at, usage) = (host.now(), machine.usage());
        let end = TurnInput::Driver(Outcome::Failed(error.clone()).into());
        let (_, closing) = machine.step(Moment { at, ids: &*host.ids }, end);
        events.extend(closing);
        events.retain(|event| event.message().is_none());
        for event in &mut events {
            if let EventData::TurnResponse { outcome, .. } = event {
                *outcome = OutcomeKind::Failed;
            }
        }
        let outcome = Outcome::Failed(error);
        let report = TurnReport { turn_id: self.turn_id.clone(), outcome, text: String::new(), usage };
        Finished { state: AgentState::Error, at, context: self.context.clone(), events, report }
    }
}

/// What happens next: the driver tells something, or the turn is interrupted. After an interrupt the driver is gone,
/// and with it whatever it was doing.
async fn next_input(
    stream: &mut Option<crate::DriverStream>,
    interrupted: &mut (impl Future<Output = ()> + Unpin),
) -> TurnInput {
    let Some(driver) = stream else { return TurnInput::Interrupted };
    let input = match future::select(interrupted, driver.next()).await {
        Either::Left(((), _)) => TurnInput::Interrupted,
        Either::Right((Some(event), _)) => TurnInput::Driver(event),
        Either::Right((None, _)) => {
            let error =
                Error::new(ErrorKind::Internal, "run turn").with_message("the driver ended without an end");
            TurnInput::Driver(Outcome::Failed(error).into())
        }
    };
    if matches!(input, TurnInput::Interrupted | TurnInput::Driver(DriverEvent::End(_))) {
        *stream = None;
    }
    input
}

fn assistant_text(event: &EventData) -> Option<String> {
    match event {
        EventData::AssistantMessage(message) => Some(message.body.text()),
        _ => None,
    }
}

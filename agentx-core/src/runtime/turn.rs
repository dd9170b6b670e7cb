//! One turn: the driver's events, through the state machine, into the store and then to subscribers.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc};

use futures::{
    FutureExt, StreamExt,
    channel::oneshot,
    future::{self, Either, FusedFuture},
};

use super::{
    core::{AgentCore, Finished},
    events::TurnReport,
    history,
};
use crate::{
    AgentState, ContentPart, DriverEvent, DriverStream, Error, ErrorKind, EventContext, EventData, Message,
    MessageBody, MessageId, Moment, Outcome, OutcomeKind, Result, Turn, TurnId, TurnInput, TurnMachine,
};

/// Stores the user's message, tells of it, and makes ready what the driver needs.
pub(super) async fn begin(
    agent: Arc<AgentCore>,
    turn_id: TurnId,
    said: Vec<ContentPart>,
) -> Result<OpenTurn> {
    let AgentCore { shared, image, tools, .. } = &*agent;
    let sessions = &*shared.repositories.sessions;
    let mut history = history::load(sessions, &image.session_id, &shared.host).await?;
    let id = MessageId::fresh(&*shared.host.ids);
    let user = Message::new(id, shared.host.now(), MessageBody::User { content: said });
    sessions.append_messages(&image.session_id, std::slice::from_ref(&user)).await?;
    history.push(user.clone());

    let context = Arc::new(agent.context.clone().with_turn(turn_id.clone()));
    let (machine, events) = TurnMachine::start(turn_id.clone(), user);
    agent.publish(machine.state(), shared.host.now(), &context, events);

    let mut turn = Turn::new(history, shared.host.clock.clone())
        .with_tools(tools.clone())
        .with_permission(shared.permission.clone())
        .with_budget(shared.budget.clone());
    turn.system.clone_from(&image.spec.system_prompt);
    turn.settings = shared.settings.clone();
    // The driver begins with the first poll, where its panics are caught.
    let driver = shared.driver.clone();
    let stream = Some(future::lazy(move |_| driver.start(turn)).flatten_stream().boxed());
    Ok(OpenTurn { agent, turn_id, context, machine, stream })
}

/// A turn whose message is stored. The driver begins when it is first asked for an event.
pub(super) struct OpenTurn {
    agent: Arc<AgentCore>,
    turn_id: TurnId,
    context: Arc<EventContext>,
    machine: TurnMachine,
    /// None when the turn is over or interrupted: the driver is gone, and with it whatever it was doing.
    stream: Option<DriverStream>,
}

impl OpenTurn {
    /// Runs the turn to its end.
    pub(super) async fn drive(mut self, interrupted: oneshot::Receiver<()>) -> Finished {
        let agent = self.agent.clone();
        let host = &agent.shared.host;
        // The sender lives as long as the turn; were it gone, nobody could interrupt.
        let interrupted = async move {
            if interrupted.await.is_err() {
                future::pending::<()>().await;
            }
        };
        let mut interrupted = pin!(interrupted.fuse());
        let mut text = String::new();
        loop {
            let input = self.next_input(&mut interrupted).await;
            let outcome = match &input {
                TurnInput::Interrupted => Some(Outcome::Interrupted),
                TurnInput::Driver(DriverEvent::End(end)) => Some(end.outcome.clone()),
                TurnInput::Driver(_) => None,
            };
            let at = host.now();
            let events = self.machine.step(Moment { at, ids: &*host.ids }, input);
            if let Err(error) = store(&agent, &events).await {
                self.stream = None;
                return self.give_up(events, error);
            }
            if let Some(said) = events.iter().filter_map(assistant_text).next_back() {
                text = said;
            }
            let state = self.machine.state();
            match outcome {
                None => agent.publish(state, at, &self.context, events),
                Some(outcome) => {
                    let report =
                        TurnReport { turn_id: self.turn_id, outcome, text, usage: self.machine.usage() };
                    return Finished { state, at, context: self.context, events, report };
                }
            }
        }
    }

    /// What happens next: the driver tells something, or the turn is interrupted.
    async fn next_input(&mut self, interrupted: &mut (impl FusedFuture<Output = ()> + Unpin)) -> TurnInput {
        let Some(driver) = &mut self.stream else { return TurnInput::Interrupted };
        let failed = |problem| {
            let error = Error::new(ErrorKind::Internal, "run turn").with_message(problem);
            TurnInput::Driver(Outcome::Failed(error).into())
        };
        // A driver that panicked is not asked again: the turn ends, and with it the stream.
        let next = AssertUnwindSafe(driver.next()).catch_unwind();
        let input = match future::select(interrupted, next).await {
            Either::Left(((), _)) => TurnInput::Interrupted,
            Either::Right((Ok(Some(event)), _)) => TurnInput::Driver(event),
            Either::Right((Ok(None), _)) => failed("the driver ended without an end"),
            Either::Right((Err(_), _)) => failed("the driver panicked"),
        };
        if matches!(input, TurnInput::Interrupted | TurnInput::Driver(DriverEvent::End(_))) {
            self.stream = None;
        }
        input
    }

    /// Ends a turn whose messages can't be stored. What could not be stored is not told.
    fn give_up(mut self, mut events: Vec<EventData>, error: Error) -> Finished {
        let host = &self.agent.shared.host;
        let (at, usage) = (host.now(), self.machine.usage());
        let moment = Moment { at, ids: &*host.ids };
        events.extend(self.machine.give_up(moment, &error));
        events.retain(|event| event.message().is_none());
        for event in &mut events {
            match event {
                EventData::ConversationEnd { reason } => "error".clone_into(reason),
                EventData::TurnResponse { outcome, .. } => *outcome = OutcomeKind::Failed,
                _ => {}
            }
        }
        // The end is the last that is told of a turn, also where the end is what could not be stored.
        events.sort_by_key(|event| {
            matches!(event, EventData::ConversationEnd { .. } | EventData::TurnResponse { .. })
        });
        let outcome = Outcome::Failed(error);
        let report = TurnReport { turn_id: self.turn_id, outcome, text: String::new(), usage };
        Finished { state: AgentState::Error, at, context: self.context, events, report }
    }
}

/// Stores the messages among `events`, before anybody is told of them and before the driver goes on.
async fn store(agent: &AgentCore, events: &[EventData]) -> Result<()> {
    let messages: Vec<_> = events.iter().filter_map(EventData::message).cloned().collect();
    if messages.is_empty() {
        return Ok(());
    }
    agent.shared.repositories.sessions.append_messages(&agent.image.session_id, &messages).await?;
    Ok(())
}

fn assistant_text(event: &EventData) -> Option<String> {
    match event {
        EventData::AssistantMessage(message) => Some(message.body.text()),
        _ => None,
    }
}

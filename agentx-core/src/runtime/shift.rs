//! The work of an agent from taking its session's lease to giving it back: a turn, and those that are queued behind it.

use std::sync::Arc;

use futures::{FutureExt, channel::oneshot, future::Abortable};
use serde_json::Value;

use super::{
    control::{Control, Stop},
    core::{AgentCore, Guard, Then},
    recover::{self, Open, Recovered},
    turn::{self, OpenTurn},
    watch,
    writer::{With, Writer, is_lost, lost},
};
use crate::{
    AgentState, ContentPart, Error, ErrorKind, EventData, Message, MessageBody, MessageId, Moment, Result,
    Retry, TurnId, TurnInput,
};

/// Why the agent is taken.
pub(super) enum Cause {
    /// A message was sent. What comes of it is told when it is stored, or is not.
    Sent {
        content: Vec<ContentPart>,
        options: Option<Arc<Value>>,
        turn_id: TurnId,
        stored: oneshot::Sender<Result<()>>,
    },
    /// There may be something open: a turn that was cut off, an approval that was answered, a queued message. Told when
    /// the session is whole and the agent at work or at rest.
    Waiting { whole: oneshot::Sender<Result<()>> },
    /// What is open is to be closed, and not gone on with.
    Interrupted { whole: oneshot::Sender<Result<()>> },
    /// Something else is to be done with the session, at rest and whole.
    Task { task: Task, done: oneshot::Sender<Result<()>> },
}

/// Something that is done under the lease, between turns.
pub(super) type Task =
    Box<dyn for<'w> FnOnce(&'w mut Writer) -> futures::future::BoxFuture<'w, Result<()>> + Send>;

/// Hands the work to the host, whose it is from here on.
pub(super) fn start(guard: Guard, control: Control, agent: Arc<AgentCore>, cause: Cause) {
    let Control { stopped, registration, .. } = control;
    let spawn = agent.shared.host.spawn.clone();
    let task = run(guard, agent, stopped, cause);
    spawn.spawn(Abortable::new(task, registration).map(drop).boxed());
}

/// Starts what waits, unless the agent is at work, which then goes on with it.
pub(super) fn start_waiting_work(agent: &Arc<AgentCore>) {
    while !agent.want() {
        match agent.occupy("go on") {
            Ok((guard, control)) => {
                let (whole, _) = oneshot::channel();
                return start(guard, control, agent.clone(), Cause::Waiting { whole });
            }
            // Somebody was quicker, and is told.
            Err(error) if error.kind() == ErrorKind::Busy => {}
            Err(_) => return,
        }
    }
}

/// Takes up a session that was left in the middle of something, and waits until it is whole.
pub(super) async fn take_up(agent: &Arc<AgentCore>) -> Result<()> {
    let (guard, control) = agent.occupy("run image")?;
    let (whole, is_whole) = oneshot::channel();
    start(guard, control, agent.clone(), Cause::Waiting { whole });
    // A host that gave it up leaves it to the next who wants something of the session.
    is_whole.await.unwrap_or(Ok(()))
}

/// Tells subscribers of a failure outside of a turn.
pub(super) fn tell(agent: &AgentCore, error: &Error) {
    let error_code = Some(error.kind().as_str().replace(' ', "_"));
    let failed = EventData::ErrorReceived { message: error.to_string(), error_code };
    agent.publish(AgentState::Error, agent.shared.host.now(), &agent.context, vec![failed], None);
}

async fn run(guard: Guard, agent: Arc<AgentCore>, stopped: oneshot::Receiver<Stop>, cause: Cause) {
    match cause {
        Cause::Sent { content, options, turn_id, stored } => {
            let user = Message::new(
                MessageId::fresh(&*agent.shared.host.ids),
                agent.shared.host.now(),
                MessageBody::User { content },
            );
            match send(&agent, turn_id, user, options).await {
                Ok((writer, turn)) => {
                    // Whoever sent the message may no longer wait for this; the turn goes on all the same.
                    let _ = stored.send(Ok(()));
                    turns(guard, writer, turn, stopped).await;
                }
                Err((error, state)) => {
                    rest_in(guard, &agent, state);
                    let _ = stored.send(Err(error));
                }
            }
        }
        Cause::Waiting { whole } => match wait(&agent).await {
            Ok(Waited::Turn(writer, turn)) => {
                let _ = whole.send(Ok(()));
                turns(guard, *writer, *turn, stopped).await;
            }
            Ok(Waited::Rest(state)) => {
                rest_in(guard, &agent, state);
                let _ = whole.send(Ok(()));
            }
            Err(error) => {
                tell(&agent, &error);
                guard.rest(AgentState::Error);
                let _ = whole.send(Err(error));
            }
        },
        Cause::Interrupted { whole } => {
            let outcome = give_up(&agent).await;
            let state = match &outcome {
                Ok(()) => agent.state(),
                Err(error) => {
                    tell(&agent, error);
                    if error.kind() == ErrorKind::Busy { AgentState::Elsewhere } else { AgentState::Error }
                }
            };
            rest_in(guard, &agent, state);
            let _ = whole.send(outcome);
        }
        Cause::Task { task, done } => {
            let state = agent.state();
            let outcome = between(&agent, task).await;
            guard.rest(state);
            let _ = done.send(outcome);
        }
    }
}

/// Frees the agent, which looks on where another process has the session.
fn rest_in(guard: Guard, agent: &Arc<AgentCore>, state: AgentState) {
    let elsewhere = state == AgentState::Elsewhere;
    guard.rest(state);
    if elsewhere {
        watch::begin(agent);
    }
}

/// Stores the message, and gives the turn that answers it; or why not, and how the agent is then.
async fn send(
    agent: &Arc<AgentCore>,
    turn_id: TurnId,
    user: Message,
    options: Option<Arc<Value>>,
) -> Result<(Writer, OpenTurn), (Error, AgentState)> {
    if let Some((token, history)) = agent.take_history() {
        let mut writer = Writer::again(agent.clone(), token, history);
        match turn::begin(&mut writer, turn_id.clone(), user.clone(), Vec::new(), options.clone()).await {
            Ok(turn) => return Ok((writer, turn)),
            // Somebody else had the session since.
            Err(error) if error.kind() == ErrorKind::ConditionFailed && writer.is_unproved() => {}
            Err(error) => return Err((error, AgentState::Error)),
        }
    }
    let mut writer = Writer::acquire(agent.clone()).await.map_err(|error| match error.kind() {
        ErrorKind::Busy => (error, AgentState::Elsewhere),
        _ => (error, AgentState::Error),
    })?;
    let begun = match recover::recover(&mut writer).await {
        Ok(Recovered::Whole) => turn::begin(&mut writer, turn_id, user, Vec::new(), options).await,
        Ok(Recovered::Open(_)) => {
            writer.abandon().await;
            let error = Error::new(ErrorKind::Busy, "send message")
                .with_path(&agent.context.image_id)
                .with_message("a tool call waits for an approval")
                .with_retry(Retry::After(None));
            return Err((error, AgentState::AwaitingApproval));
        }
        Err(error) => Err(error),
    };
    match begun {
        Ok(turn) => Ok((writer, turn)),
        Err(error) => {
            writer.abandon().await;
            Err((error, AgentState::Error))
        }
    }
}

/// What there is to do in a session that is whole.
enum Waited {
    Turn(Box<Writer>, Box<OpenTurn>),
    Rest(AgentState),
}

/// Makes the session whole, and gives what is to be gone on with, if anything.
async fn wait(agent: &Arc<AgentCore>) -> Result<Waited> {
    let mut writer = match Writer::acquire(agent.clone()).await {
        // Whoever has it goes on with what waits, or dies.
        Err(error) if error.kind() == ErrorKind::Busy => return Ok(Waited::Rest(AgentState::Elsewhere)),
        writer => writer?,
    };
    let turn = match recover::recover(&mut writer).await {
        Ok(Recovered::Open(open)) if open.is_answered() => open.go_on(&mut writer).await.map(Some),
        Ok(Recovered::Open(_)) => {
            writer.abandon().await;
            return Ok(Waited::Rest(AgentState::AwaitingApproval));
        }
        Ok(Recovered::Whole) => next_queued(&mut writer).await,
        Err(error) => Err(error),
    };
    match turn {
        Ok(Some(turn)) => Ok(Waited::Turn(Box::new(writer), Box::new(turn))),
        Ok(None) => {
            rest(writer);
            Ok(Waited::Rest(agent.state()))
        }
        Err(error) => {
            writer.abandon().await;
            Err(error)
        }
    }
}

/// Closes a turn that waits for approvals.
async fn give_up(agent: &Arc<AgentCore>) -> Result<()> {
    let mut writer = Writer::acquire(agent.clone()).await?;
    let closed = async {
        let Recovered::Open(open) = recover::recover(&mut writer).await? else { return Ok(()) };
        let Open { mut machine, turn_id, .. } = *open;
        let host = &agent.shared.host;
        let at = host.now();
        let events = machine.step(Moment { at, ids: &*host.ids }, TurnInput::Interrupted);
        let with = With { closes_approvals: true, ..With::default() };
        let (first, _) = writer.append(at, Some(&turn_id), &events, with).await?;
        let context = Arc::new((*agent.context).clone().with_turn(turn_id));
        agent.publish(machine.state(), at, &context, events, first);
        Ok(())
    };
    let closed = closed.await;
    end(writer, closed).await
}

/// Does something with a session that is whole and at rest.
async fn between(agent: &Arc<AgentCore>, task: Task) -> Result<()> {
    let mut writer = Writer::acquire(agent.clone()).await?;
    let done = match recover::recover(&mut writer).await {
        Ok(Recovered::Whole) => task(&mut writer).await,
        Ok(Recovered::Open(_)) => Err(Error::new(ErrorKind::Busy, "change session")
            .with_path(&agent.context.image_id)
            .with_message("a tool call waits for an approval")),
        Err(error) => Err(error),
    };
    end(writer, done).await
}

/// Gives the lease back, where all went well.
async fn end(mut writer: Writer, outcome: Result<()>) -> Result<()> {
    match outcome {
        Ok(()) => {
            if writer.release().await? {
                rest(writer);
            } else {
                writer.abandon().await;
                writer.agent().want();
            }
            Ok(())
        }
        Err(error) => {
            writer.abandon().await;
            Err(error)
        }
    }
}

fn rest(writer: Writer) {
    let agent = writer.agent().clone();
    agent.keep_history(writer.history);
}

/// The turn of the next queued message; none where none waits, and the lease is given back.
async fn next_queued(writer: &mut Writer) -> Result<Option<OpenTurn>> {
    let agent = writer.agent().clone();
    loop {
        let queue = agent.shared.repositories.inbox.list_queued(&agent.context.session_id, 1).await?;
        let Some(next) = queue.into_iter().next() else {
            if writer.release().await? {
                return Ok(None);
            }
            continue;
        };
        let turn_id = TurnId::fresh(&*agent.shared.host.ids);
        let body = MessageBody::User { content: next.content };
        let user = Message::new(next.id.clone(), next.timestamp, body);
        return turn::begin(writer, turn_id, user, vec![next.id], next.options).await.map(Some);
    }
}

/// Runs a turn to its end, and then those that are queued.
async fn turns(
    mut guard: Guard,
    mut writer: Writer,
    mut turn: OpenTurn,
    mut stopped: oneshot::Receiver<Stop>,
) {
    let agent = writer.agent().clone();
    loop {
        let Some(finished) = turn.drive(&mut writer, stopped).await else {
            writer.abandon().await;
            let state = agent.state();
            return guard.rest(state);
        };
        match finished.then {
            Then::Rest => {
                rest(writer);
                return guard.finish(finished);
            }
            Then::Broken => {
                writer.abandon().await;
                return guard.finish(finished);
            }
            Then::Elsewhere => {
                guard.finish(finished);
                return watch::begin(&agent);
            }
            Then::Queued => {}
        }
        // What is told of the next turn is told behind the end of this one.
        stopped = match guard.next_turn(finished) {
            Ok(stopped) => stopped,
            Err(finished) => {
                writer.abandon().await;
                return finished.map_or((), |finished| guard.finish(*finished));
            }
        };
        turn = match next_queued(&mut writer).await {
            Ok(Some(turn)) => turn,
            Ok(None) => {
                rest(writer);
                let state = agent.state();
                return guard.rest(state);
            }
            Err(error) if is_lost(&error) => {
                tell(&agent, &lost(error));
                return rest_in(guard, &agent, AgentState::Elsewhere);
            }
            Err(error) => {
                writer.abandon().await;
                tell(&agent, &error);
                return guard.rest(AgentState::Error);
            }
        };
    }
}

//! One turn: the driver's events, through the state machine, into the store and then to subscribers.

use std::{
    mem,
    panic::{self, AssertUnwindSafe},
    pin::pin,
    sync::{Arc, PoisonError},
    task::Poll,
    time::Duration,
};

use futures::{FutureExt, StreamExt, channel::oneshot, future};
use serde_json::Value;

use super::{
    approval::StoredApprovals,
    control::Stop,
    core::{AgentCore, Finished, Then},
    events::TurnReport,
    history, spent,
    writer::{With, Writer, is_lost, lost},
};
use crate::{
    AgentState, ApprovalRecord, DriverEvent, DriverStream, Error, ErrorKind, EventContext, EventData,
    HookPoint, Ledger, Message, MessageBody, MessageId, Moment, NestedEvent, NestedStep, Outcome,
    OutcomeKind, Result, ResumedCall, Spent, Timestamp, Turn, TurnId, TurnInput, TurnMachine, Usage, hook,
};

/// So many steps of a driver are stored at once at most.
const MAX_STEPS: usize = 64;

/// Stores the user's message, tells of it, and makes ready what the driver needs.
pub(super) async fn begin(
    writer: &mut Writer,
    turn_id: TurnId,
    user: Message,
    taken: Vec<MessageId>,
    options: Option<Arc<Value>>,
) -> Result<OpenTurn> {
    let agent = writer.agent().clone();
    let ledger = spent::ledger(&agent).await?;
    let shown = history::shown_ids(&writer.history);
    let told = options.as_deref().cloned();
    let (machine, events) = TurnMachine::start_with(turn_id.clone(), user, told);
    let machine = machine.with_history(shown);
    let at = agent.shared.host.now();
    let with = With { taken, ..With::default() };
    let (first, _) = writer.append(at, Some(&turn_id), &events, with).await?;
    let turn = OpenTurn::new(writer, turn_id, machine, Vec::new(), ledger, options);
    agent.publish(turn.machine.state(), at, &turn.context, events, first);
    Ok(turn)
}

/// A turn whose message is stored. The driver begins when it is first asked for an event.
pub(super) struct OpenTurn {
    agent: Arc<AgentCore>,
    turn_id: TurnId,
    context: Arc<EventContext>,
    machine: TurnMachine,
    /// None when the turn is over or interrupted: the driver is gone, and with it whatever it was doing.
    stream: Option<DriverStream>,
    /// Whether the driver is gone without an end of its own, so that it asked no hooks behind the turn.
    cut: Option<OutcomeKind>,
    /// Whether the turn ever waited for an approval.
    has_approvals: bool,
    /// The session's, and what was spent of it when the turn began.
    ledger: Ledger,
    before: Spent,
}

/// What a driver did since the last events were stored.
#[derive(Default)]
struct Step {
    events: Vec<EventData>,
    approvals: Vec<ApprovalRecord>,
    outcome: Option<Outcome>,
    /// Whether the driver may be asked on before all this is stored: nothing that it announced begins with that.
    may_go_on: bool,
}

/// What is to be known of what a driver did.
#[derive(Clone, Copy, Default)]
struct Taken {
    /// Something of it is stored.
    stores: bool,
    /// Something begins with the next poll, and is to be stored before.
    announces: bool,
}

/// What is looked for, in the order in which it counts.
enum Next {
    Stop(Stop),
    Told(std::thread::Result<Option<DriverEvent>>),
    Renewal,
}

/// What comes next in a turn.
enum Happened {
    Input(TurnInput),
    /// It is time to renew the lease.
    Renewal,
    /// The turn is to stand as it is stored.
    Leave,
}

impl OpenTurn {
    fn new(
        writer: &Writer,
        turn_id: TurnId,
        machine: TurnMachine,
        resume: Vec<ResumedCall>,
        ledger: Ledger,
        options: Option<Arc<Value>>,
    ) -> Self {
        let agent = writer.agent().clone();
        let shared = &agent.shared;
        // Its own, since an agent at rest is to be small.
        let image = Arc::new(agent.image.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let has_approvals = !resume.is_empty();
        let mut turn = Turn::new(writer.history.clone(), shared.host.clock.clone())
            .with_tools(agent.tools.clone())
            .with_permission(shared.permission.clone())
            .with_approvals(Arc::new(StoredApprovals(shared.clone())))
            .with_resume(resume)
            .with_budget(shared.budget.clone())
            .with_ledger(ledger.clone());
        turn.system.clone_from(&image.spec.system_prompt);
        turn.settings = shared.settings.clone();
        turn.agent_name = Some(image.spec.name.clone()).filter(|name| !name.is_empty());
        turn.session = Some(image.session_id.clone());
        turn.options = options;
        turn.hooks.clone_from(&shared.hooks);
        turn.image = Some(image);
        // The driver begins with the first poll, where its panics are caught.
        let driver = shared.driver.clone();
        let stream = Some(future::lazy(move |_| driver.start(turn)).flatten_stream().boxed());
        let context = Arc::new((*agent.context).clone().with_turn(turn_id.clone()));
        let before = ledger.spent();
        Self { agent, turn_id, context, machine, stream, cut: None, has_approvals, ledger, before }
    }

    /// A turn that goes on with these calls.
    pub(super) fn resumed(
        writer: &Writer,
        turn_id: TurnId,
        machine: TurnMachine,
        resume: Vec<ResumedCall>,
        ledger: Ledger,
        options: Option<Arc<Value>>,
    ) -> Self {
        let turn = Self::new(writer, turn_id, machine, resume, ledger, options);
        turn.agent.set_state(turn.machine.state());
        turn
    }

    /// Runs the turn to its end; none where it was left before.
    pub(super) async fn drive(
        mut self,
        writer: &mut Writer,
        mut stopped: oneshot::Receiver<Stop>,
    ) -> Option<Finished> {
        let mut text = String::new();
        let mut step = Step::default();
        loop {
            let input = match self.next(writer, &mut stopped).await {
                Happened::Input(input) => input,
                Happened::Leave => return None,
                Happened::Renewal => match writer.renew().await {
                    Ok(()) => continue,
                    Err(error) => return Some(self.give_up(Vec::new(), error)),
                },
            };
            let failures = match self.cut {
                Some(_) => Box::pin(self.hooks_behind_a_cut()).await,
                None => Vec::new(),
            };
            let at = self.agent.shared.host.now();
            for failure in failures {
                self.step(at, TurnInput::Driver(DriverEvent::HookFailed(failure)), &mut step);
            }
            self.step(at, input, &mut step);
            self.go_on(at, &mut step);

            let over = step.outcome.is_some();
            let with = With {
                approvals: mem::take(&mut step.approvals),
                closes_approvals: over && self.has_approvals,
                releases: over,
                ..With::default()
            };
            let (first, appended) = match writer.append(at, Some(&self.turn_id), &step.events, with).await {
                Ok(appended) => appended,
                Err(error) => return Some(self.give_up(step.events, error)),
            };
            if let Some(said) = step.events.iter().filter_map(assistant_text).next_back() {
                text = said;
            }
            let state = self.machine.state();
            match step.outcome.take() {
                None => {
                    let leaves = state == AgentState::AwaitingApproval && self.agent.leaves();
                    self.agent.publish(state, at, &self.context, step.events.drain(..), first);
                    if leaves {
                        return None;
                    }
                    // A driver that always has something ready lets nobody look at the timer.
                    if writer.is_due(at)
                        && let Err(error) = writer.renew().await
                    {
                        return Some(self.give_up(Vec::new(), error));
                    }
                }
                Some(outcome) => {
                    let usage = self.machine.usage();
                    let spent = told_spent(&step.events).unwrap_or_else(|| self.spent());
                    let stop_details = self.machine.stop_details().cloned();
                    let turn_id = self.turn_id;
                    let report = TurnReport { turn_id, outcome, stop_details, text, usage, spent };
                    let (context, events) = (self.context, step.events);
                    let then = if appended.released { Then::Rest } else { Then::Queued };
                    return Some(Finished { state, at, context, events, first, report, then });
                }
            }
        }
    }

    /// What the turn has spent. A driver that counts nothing tells at least what its models used.
    fn spent(&self) -> Spent {
        let mut spent = self.ledger.spent().since(&self.before);
        if spent.usage == Usage::default() {
            spent.turns = 1;
            spent.add_call(self.machine.usage(), None);
        }
        spent
    }

    /// Takes one input, which may hold several, into what is stored next.
    fn step(&mut self, at: Timestamp, input: TurnInput, step: &mut Step) {
        let taken = match input {
            TurnInput::Driver(event @ (DriverEvent::Together(_) | DriverEvent::Nested(_))) => {
                let mut taken = Taken::default();
                for event in event.one_by_one() {
                    let Taken { stores, announces } = self.take(at, TurnInput::Driver(event), step);
                    taken.stores |= stores;
                    taken.announces |= announces;
                }
                taken
            }
            input => self.take(at, input, step),
        };
        step.may_go_on = taken.stores && !taken.announces && step.outcome.is_none();
    }

    fn take(&mut self, at: Timestamp, input: TurnInput, step: &mut Step) -> Taken {
        let host = &self.agent.shared.host;
        match &input {
            TurnInput::Interrupted => step.outcome = Some(Outcome::Interrupted),
            TurnInput::Driver(DriverEvent::End(end)) => step.outcome = Some(end.outcome.clone()),
            TurnInput::Driver(_) => {}
        }
        let innermost = match &input {
            TurnInput::Driver(event) => Some(innermost(event)),
            TurnInput::Interrupted => None,
        };
        if let Some(DriverEvent::ApprovalRequested(request)) = innermost {
            self.has_approvals = true;
            step.approvals.push(ApprovalRecord::new(
                request.approval.clone(),
                self.agent.context.session_id.clone(),
                self.turn_id.clone(),
                request.call.clone(),
                &request.reason,
                at,
            ));
        }
        let announces =
            matches!(innermost, Some(DriverEvent::ToolStart(_) | DriverEvent::ApprovalRequested(_)));
        let before = step.events.len();
        self.machine.step_into(Moment { at, ids: &*host.ids }, input, &mut step.events);
        let mut stores = false;
        for event in step.events.iter_mut().skip(before) {
            stores |= event.is_stored();
            if let EventData::TurnResponse { spent: spent @ None, duration, .. } = event {
                *spent = Some(Spent { duration: Duration::from_millis(*duration), ..self.spent() });
            }
        }
        Taken { stores, announces }
    }

    /// Takes what the driver has ready behind something that is to be stored, so that it is stored at once: an answer and
    /// the tool that it starts, the results of tools that end together, the last words and the end.
    fn go_on(&mut self, at: Timestamp, step: &mut Step) {
        for _ in 1..MAX_STEPS {
            if !step.may_go_on {
                return;
            }
            let Some(driver) = &mut self.stream else { return };
            let Some(next) = AssertUnwindSafe(driver.next()).catch_unwind().now_or_never() else { return };
            let input = self.input(next);
            let stored = step.events.len();
            self.step(at, input, step);
            // What is only told does not wait for a store.
            step.may_go_on |=
                step.events.get(stored..).is_some_and(<[_]>::is_empty) && step.outcome.is_none();
        }
    }

    /// Asks the hooks behind a turn whose driver can't. Gives their failures.
    async fn hooks_behind_a_cut(&mut self) -> Vec<Error> {
        let Some(outcome) = self.cut.take() else { return Vec::new() };
        let (shared, spent) = (&self.agent.shared, self.spent());
        let mut failures = Vec::new();
        for hook in &shared.hooks {
            let point = HookPoint::AfterTurn { outcome: outcome.clone(), spent };
            failures.extend(hook::ask(hook, point, &*shared.host.clock).await.err());
        }
        failures
    }

    /// What happens next: the driver tells something, the turn is stopped, or the lease is to be renewed.
    async fn next(&mut self, writer: &mut Writer, stopped: &mut oneshot::Receiver<Stop>) -> Happened {
        let Some(driver) = &mut self.stream else { return Happened::Input(TurnInput::Interrupted) };
        let mut renewal = pin!(writer.renewal());
        let next = future::poll_fn(|cx| {
            if let Ok(Some(stop)) = stopped.try_recv() {
                return Poll::Ready(Next::Stop(stop));
            }
            // Before the timer: what the driver has ready is told without a look at that.
            let polled = panic::catch_unwind(AssertUnwindSafe(|| driver.poll_next_unpin(cx)));
            match polled {
                Ok(Poll::Ready(event)) => return Poll::Ready(Next::Told(Ok(event))),
                Ok(Poll::Pending) => {}
                Err(panic) => return Poll::Ready(Next::Told(Err(panic))),
            }
            // The sender lives as long as the turn; were it gone, nobody could stop it.
            if let Poll::Ready(Ok(stop)) = stopped.poll_unpin(cx) {
                return Poll::Ready(Next::Stop(stop));
            }
            renewal.as_mut().poll(cx).map(|()| Next::Renewal)
        });
        match next.await {
            Next::Told(told) => Happened::Input(self.input(told)),
            Next::Renewal => Happened::Renewal,
            Next::Stop(stop) => {
                self.stream = None;
                match stop {
                    Stop::Interrupt => {
                        self.cut = Some(OutcomeKind::Interrupted);
                        Happened::Input(TurnInput::Interrupted)
                    }
                    Stop::Leave => Happened::Leave,
                }
            }
        }
    }

    /// What a driver told. One that panicked is not asked again: the turn ends, and with it the stream.
    fn input(&mut self, next: std::thread::Result<Option<DriverEvent>>) -> TurnInput {
        let mut failed = |problem| {
            self.cut = Some(OutcomeKind::Failed);
            let error = Error::new(ErrorKind::Internal, "run turn").with_message(problem);
            TurnInput::Driver(Outcome::Failed(error).into())
        };
        let input = match next {
            Ok(Some(event)) => TurnInput::Driver(event),
            Ok(None) => failed("the driver ended without an end"),
            Err(_) => failed("the driver panicked"),
        };
        if matches!(input, TurnInput::Driver(DriverEvent::End(_))) {
            self.stream = None;
        }
        input
    }

    /// Ends a turn that can't be stored. What could not be stored is not told, but for the end.
    fn give_up(mut self, mut events: Vec<EventData>, error: Error) -> Finished {
        self.stream = None;
        let then = if is_lost(&error) { Then::Elsewhere } else { Then::Broken };
        let error = lost(error);
        let host = &self.agent.shared.host;
        let (at, usage, spent) = (host.now(), self.machine.usage(), self.spent());
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
        let (turn_id, text) = (self.turn_id, String::new());
        let report = TurnReport { turn_id, outcome, stop_details: None, text, usage, spent };
        Finished { state: AgentState::Error, at, context: self.context, events, first: None, report, then }
    }
}

/// What happens in the innermost of the turns that run within one another.
fn innermost(event: &DriverEvent) -> &DriverEvent {
    match event {
        DriverEvent::Nested(NestedEvent { step: NestedStep::Driver(inner), .. }) => innermost(inner),
        event => event,
    }
}

/// What the turn's end tells that it spent.
fn told_spent(events: &[EventData]) -> Option<Spent> {
    events.iter().rev().find_map(|event| match event {
        EventData::TurnResponse { spent, .. } => *spent,
        _ => None,
    })
}

fn assistant_text(event: &EventData) -> Option<String> {
    match event {
        EventData::AssistantMessage(message) => match &message.body {
            MessageBody::Assistant(message) => Some(message.text()),
            _ => None,
        },
        _ => None,
    }
}

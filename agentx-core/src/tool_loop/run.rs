use std::{
    collections::VecDeque,
    mem,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context as Task, Poll, ready},
    time::SystemTime,
};

use agentx_resource::BoxFuture;
use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future::{self, Either},
};

use super::{
    Options,
    calls::{Calls, Next},
    context::{Context, model_name},
    judge::Judge,
    meter::Meter,
    metered::{Metered, Seen},
};
use crate::{
    AssistantMessage, CompactionRequest, CompactionStep, ContextOverflow, DriverEvent, Error, ErrorKind,
    HookAction, HookPoint, Ledger, MessageAssembler, MessageBody, Model, ModelEvent, ModelRequest,
    ModelStream, Outcome, OverBudget, Result, StopReason, ToolCall, ToolChoice, ToolResult, Turn, TurnEnd,
    hook,
    tool::{Teller, Told, TurnScope},
};

/// The longest answer of a model, in bytes: far more than any model says, and no more than memory can hold.
const MAX_ANSWER: usize = 64 << 20;

/// The most often that a turn compacts a conversation which its model has refused as too long.
const MAX_REFUSALS: u32 = 3;

/// A turn under way. What comes next is with [`Run::poll_answer`] or, where that has nothing, with [`Run::next`]. Each does
/// no more than what leads to the next event, so that an event is always told before its effect.
pub(super) struct Run<M> {
    model: Arc<M>,
    options: Options,
    turn: Turn,
    ledger: Ledger,
    started: SystemTime,
    deadline: BoxFuture<'static, OverBudget>,
    context: Context,
    /// The model that answered last, as it names itself.
    answered: Option<String>,
    /// Whether the model was asked before.
    called: bool,
    /// How often the model has refused the conversation as too long, and how it did so last.
    refusals: u32,
    refused: Option<Error>,
    teller: Teller,
    told: mpsc::Receiver<Told>,
    /// A tool that waits until what it told is taken.
    taken: Option<oneshot::Sender<()>>,
    /// What is told before anything else happens.
    queue: VecDeque<DriverEvent>,
    phase: Phase,
}

enum Phase {
    /// Nothing has happened yet.
    Begin,
    /// The model is to be asked, if the conversation fits.
    Ask,
    /// The conversation is compacted.
    Compact { step: BoxFuture<'static, Result<CompactionStep>>, seen: Seen, refused: Option<Error> },
    /// The model is asked.
    Call,
    /// The model answers.
    Answer { stream: ModelStream, message: MessageAssembler, meter: Meter },
    /// The answer is complete.
    Judge { message: AssistantMessage, reason: StopReason },
    /// Tools are decided on and run.
    Run { calls: Calls },
    /// The turn is to end like this.
    Cut(Outcome),
    /// The end is to be told.
    End(TurnEnd),
    /// The end was told.
    Over,
}

impl<M: Model> Run<M> {
    pub(super) fn new(model: Arc<M>, mut turn: Turn, options: Options) -> Self {
        let history = mem::take(&mut turn.history);
        let context = Context::new(history, &turn);
        let ledger = Ledger::of_turn(turn.budget.clone(), turn.within.clone());
        let deadline = match ledger.time_left() {
            Some((left, over)) => turn.clock.sleep(left).map(move |()| over).boxed(),
            None => future::pending().boxed(),
        };
        let (teller, told) = Teller::new();
        Self {
            started: turn.clock.now(),
            model,
            options,
            turn,
            ledger,
            deadline,
            context,
            answered: None,
            called: false,
            refusals: 0,
            refused: None,
            teller,
            told,
            taken: None,
            queue: VecDeque::new(),
            phase: Phase::Begin,
        }
    }

    /// Whether the end was told.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The next event of an answer; `None` where the model does not answer now. An answer has many pieces, so each is taken
    /// where it stands: a future for it would cost more than the piece.
    pub(super) fn poll_answer(&mut self, task: &mut Task<'_>) -> Poll<Option<DriverEvent>> {
        let Phase::Answer { stream, .. } = &mut self.phase else { return Poll::Ready(None) };
        let taken = match self.deadline.poll_unpin(task) {
            Poll::Ready(over) => Err(over.into()),
            Poll::Pending => {
                let event = ready!(stream.poll_next_unpin(task));
                self.take(event)
            }
        };
        Poll::Ready(taken.unwrap_or_else(|outcome| {
            self.phase = Phase::Cut(outcome);
            None
        }))
    }

    /// The next event; `None` where the model answers, and after the end.
    pub(super) async fn next(&mut self) -> Option<DriverEvent> {
        if let Some(taken) = self.taken.take() {
            // A tool that has ended since waits for nothing.
            let _ = taken.send(());
        }
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            match &self.phase {
                Phase::Answer { .. } | Phase::Over => return None,
                Phase::End(_) | Phase::Cut(_) => match mem::replace(&mut self.phase, Phase::Over) {
                    Phase::End(end) => return Some(DriverEvent::End(end)),
                    Phase::Cut(outcome) => {
                        self.end(outcome).await;
                        continue;
                    }
                    _ => return None,
                },
                _ => {}
            }
            let mut deadline = mem::replace(&mut self.deadline, future::pending().boxed());
            let step = {
                let step = std::pin::pin!(self.step());
                match future::select(&mut deadline, step).await {
                    Either::Left((over, _)) => Err(over.into()),
                    Either::Right((step, _)) => step,
                }
            };
            self.deadline = deadline;
            match step {
                Ok(Some(event)) => return Some(event),
                Ok(None) => {}
                Err(outcome) => self.phase = Phase::Cut(outcome),
            }
        }
    }

    /// One step: perhaps something to tell, or the outcome that ends the turn.
    async fn step(&mut self) -> Result<Option<DriverEvent>, Outcome> {
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Begin => self.begin().await,
            Phase::Ask => Ok(self.ask()),
            Phase::Compact { step, seen, refused } => self.compact(step, &seen, refused).await,
            Phase::Call => self.call(),
            Phase::Judge { message, reason } => self.judge(message, &reason),
            Phase::Run { calls } => self.run(calls).await,
            Phase::Answer { .. } | Phase::Cut(_) | Phase::End(_) | Phase::Over => {
                Err(failed(ErrorKind::Internal, "the turn was polled after its end"))
            }
        }
    }

    async fn begin(&mut self) -> Result<Option<DriverEvent>, Outcome> {
        let resume = mem::take(&mut self.turn.resume);
        if resume.is_empty() {
            self.ledger.begin_turn()?;
        }
        for hook in &self.turn.hooks {
            let point = HookPoint::BeforeTurn { message: self.context.messages().last().cloned() };
            match hook::ask(hook, point, &*self.turn.clock).await {
                Ok(HookAction::Deny(reason)) => {
                    let error = Error::new(ErrorKind::PermissionDenied, "begin turn").with_message(reason);
                    return Err(Outcome::Failed(error));
                }
                Ok(_) => {}
                Err(error) => return Err(Outcome::Failed(error)),
            }
        }
        self.phase = if resume.is_empty() {
            Phase::Ask
        } else {
            let messages = self.context.messages().clone();
            let made = move |call: &ToolCall| {
                messages.iter().any(|message| match message {
                    MessageBody::Assistant(message) => message.tool_calls().any(|made| made == call),
                    _ => false,
                })
            };
            Phase::Run {
                calls: Calls::resume(self.judge_of_calls(), self.options.parallel_tools, resume, made),
            }
        };
        Ok(None)
    }

    fn ask(&mut self) -> Option<DriverEvent> {
        let model = model_name(self.answered.as_ref(), &self.turn.settings);
        let refused = self.refused.take();
        let excess = match &refused {
            Some(_) => Some(self.context.refused(&self.options, model)),
            None => self.context.excess(&self.options, model),
        };
        self.phase = match (excess, self.options.compactor.clone()) {
            (Some((tokens, limit, window)), Some(compactor)) => {
                let seen = Seen::default();
                let request = CompactionRequest {
                    messages: self.context.messages().clone(),
                    tokens,
                    limit,
                    window,
                    model: Arc::new(Metered {
                        model: self.model.clone(),
                        ledger: self.ledger.clone(),
                        models: self.options.models.clone(),
                        seen: seen.clone(),
                    }),
                    settings: self.turn.settings.clone(),
                };
                let step = AssertUnwindSafe(async move { compactor.compact(request).await }).catch_unwind();
                let step = step.map(|step| step.unwrap_or_else(|_| Err(compaction_panicked()))).boxed();
                Phase::Compact { step, seen, refused }
            }
            _ => Phase::Call,
        };
        None
    }

    async fn compact(
        &mut self,
        step: BoxFuture<'static, Result<CompactionStep>>,
        seen: &Seen,
        refused: Option<Error>,
    ) -> Result<Option<DriverEvent>, Outcome> {
        // Where nothing can be done about a conversation that was refused, that is the end.
        let leave = |run: &mut Self| {
            run.context.leave();
            refused.map_or(Ok(None), |error| Err(Outcome::Failed(error)))
        };
        let step = step.await.map_err(|error| seen.over().map_or(Outcome::Failed(error), Outcome::from))?;
        self.phase = Phase::Call;
        match step {
            CompactionStep::Nothing => leave(self),
            // A summary that stands for nothing is none.
            CompactionStep::Summarize(compaction) if compaction.kept >= self.context.messages().len() => {
                leave(self)
            }
            CompactionStep::Offload(calls) => {
                let calls = self.context.offload(&calls);
                if calls.is_empty() {
                    return leave(self);
                }
                // Each round has less to offload.
                self.phase = Phase::Ask;
                Ok(Some(DriverEvent::Offloaded(calls)))
            }
            CompactionStep::Summarize(compaction) => {
                let mut compaction = self.context.summarize(compaction).map_err(Outcome::Failed)?;
                compaction.usage = seen.used();
                self.context.leave();
                Ok(Some(DriverEvent::Compacted(compaction)))
            }
        }
    }

    fn call(&mut self) -> Result<Option<DriverEvent>, Outcome> {
        let mut settings = self.turn.settings.clone();
        let model = model_name(self.answered.as_ref(), &settings).map(str::to_owned);
        self.check_price(model.as_deref())?;
        self.ledger.begin_step()?;
        // Forced each time, the model could never end the turn.
        let forced = settings.tool_choice.as_ref().is_some_and(ToolChoice::is_forced);
        if forced && mem::replace(&mut self.called, true) {
            settings.tool_choice = Some(ToolChoice::Auto);
        }
        let meter = Meter::new(self.ledger.clone(), self.options.models.clone(), model);
        let request = ModelRequest {
            system: self.turn.system.clone(),
            messages: self.context.messages().clone(),
            tools: self.turn.tools.definitions(),
            settings,
        };
        let message = MessageAssembler::new();
        self.phase = Phase::Answer { stream: self.model.call(request), message, meter };
        Ok(None)
    }

    /// Money can only be bounded where prices are known. A model that is not named yet is asked once: it names itself.
    fn check_price(&self, model: Option<&str>) -> Result<(), Outcome> {
        let Some(model) = model.filter(|_| self.ledger.bounds_cost()) else { return Ok(()) };
        if self.options.models.get(model).is_some_and(|info| info.prices.is_some()) {
            return Ok(());
        }
        let error = Error::new(ErrorKind::Unsupported, "ask model").with_path(model).with_message(
            "the budget bounds money, and the price of this model is not known: add it to the table of models",
        );
        Err(Outcome::Failed(error))
    }

    /// Takes what came of an answer.
    fn take(&mut self, event: Option<Result<ModelEvent>>) -> Result<Option<DriverEvent>, Outcome> {
        let Phase::Answer { message, meter, .. } = &mut self.phase else { return Ok(None) };
        let event = match event {
            Some(Ok(event)) => event,
            Some(Err(error)) if message.is_empty() && self.may_shorten(&error) => {
                self.refused = Some(error);
                self.phase = Phase::Ask;
                return Ok(None);
            }
            Some(Err(error)) => return Err(Outcome::Failed(error)),
            None => {
                return Err(failed(ErrorKind::Truncated, "the model's answer ended without a stop reason"));
            }
        };
        meter.push(&event);
        message.push(&event);
        if message.size() > MAX_ANSWER {
            return Err(failed(ErrorKind::LimitExceeded, "the model's answer is longer than 64 MiB"));
        }
        match &event {
            ModelEvent::Start { model } => self.answered = Some(model.clone()),
            ModelEvent::Stop(reason) => {
                let message = mem::take(message).finish();
                self.phase = Phase::Judge { message, reason: reason.clone() };
            }
            _ => {}
        }
        Ok(Some(DriverEvent::Model(event)))
    }

    /// Whether the model refused the conversation as too long, and it can be made shorter.
    fn may_shorten(&mut self, error: &Error) -> bool {
        let may = self.options.compactor.is_some()
            && self.refusals < MAX_REFUSALS
            && ContextOverflow::caused(error);
        self.refusals += u32::from(may);
        may
    }

    fn judge(
        &mut self,
        message: AssistantMessage,
        reason: &StopReason,
    ) -> Result<Option<DriverEvent>, Outcome> {
        let calls: Vec<_> = message.tool_calls().cloned().collect();
        if !message.content.is_empty() {
            let usage = message.usage;
            self.context.push(message);
            if let Some(usage) = usage {
                self.context.measure(usage);
            }
        }
        self.phase = match reason {
            StopReason::ToolUse | StopReason::PauseTurn if !calls.is_empty() => {
                Phase::Run { calls: Calls::new(self.judge_of_calls(), self.options.parallel_tools, calls) }
            }
            // The model's own words are the whole answer to a pause. The bound on steps ends a model that never stops.
            StopReason::PauseTurn => Phase::Ask,
            StopReason::MaxTokens | StopReason::ContextWindowExceeded => return Err(Outcome::Truncated),
            StopReason::Refusal => return Err(Outcome::Refused),
            StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse | StopReason::Other(_) => {
                return Err(Outcome::Completed);
            }
        };
        Ok(None)
    }

    async fn run(&mut self, mut calls: Calls) -> Result<Option<DriverEvent>, Outcome> {
        let next = calls.next(&mut self.told).await;
        self.phase = Phase::Run { calls };
        match next {
            Next::Tell(event) => Ok(Some(event)),
            Next::Told(Told { event, taken }) => {
                self.taken = Some(taken);
                Ok(Some(event))
            }
            Next::Answered { result, failures } => {
                self.record(&result);
                self.queue.extend(failures.into_iter().map(DriverEvent::HookFailed));
                self.queue.push_back(DriverEvent::ToolEnd(result));
                Ok(None)
            }
            Next::Done(Some(over)) => Err(over.into()),
            Next::Done(None) => {
                self.phase = Phase::Ask;
                Ok(None)
            }
        }
    }

    /// Ends the turn: whatever runs is dropped, what it used is counted, and the hooks are asked.
    async fn end(&mut self, outcome: Outcome) {
        self.phase = Phase::Over;
        self.taken = None;
        let time = self.turn.clock.now().duration_since(self.started).unwrap_or_default();
        self.ledger.add_time(time);
        let spent = self.ledger.spent();
        for hook in &self.turn.hooks {
            let point = HookPoint::AfterTurn { outcome: outcome.kind(), spent };
            if let Err(error) = hook::ask(hook, point, &*self.turn.clock).await {
                self.queue.push_back(DriverEvent::HookFailed(error));
            }
        }
        self.phase = Phase::End(TurnEnd::new(outcome).with_spent(spent));
    }

    fn judge_of_calls(&self) -> Judge {
        let scope = TurnScope {
            permission: self.turn.permission.clone(),
            approvals: self.turn.approvals.clone(),
            hooks: self.turn.hooks.clone(),
            ledger: self.ledger.clone(),
            depth: self.turn.depth,
            teller: self.teller.clone(),
        };
        Judge { scope, tools: self.turn.tools.clone(), clock: self.turn.clock.clone() }
    }

    fn record(&mut self, result: &ToolResult) {
        self.context.push_result(result.clone());
    }
}

fn compaction_panicked() -> Error {
    Error::new(ErrorKind::Internal, "compact conversation").with_message("the compactor panicked")
}

fn failed(kind: ErrorKind, message: &'static str) -> Outcome {
    Outcome::Failed(Error::new(kind, "run turn").with_message(message))
}

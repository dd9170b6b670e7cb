use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use agentx_core::{
    BlockChange, BlockKind, CallStream, DriverEvent, DriverStream, ErrorKind, MessageAssembler, MessageBody,
    ModelEvent, Outcome, OverBudget, Result, StopReason, ToolCall, ToolResult, Turn, TurnEnd, TurnFrame,
};
use agentx_resource::BoxFuture;
use futures::{
    FutureExt, StreamExt,
    channel::mpsc,
    future::{self, Either},
    stream::{self, SelectAll},
};
use serde_json::Value;

use super::{
    answers::Answers,
    desk::{Desk, Grant},
    outcome::outcome,
    results::results,
    tally::Tally,
};
use crate::code::{
    Frame, TurnResult,
    driver::{Seen, Shared, Talk},
    failure, mcp, transcript,
};

/// What the CLI is told where a turn goes on with the results of calls that waited.
const GO_ON: &str = "Go on.";

/// The longest answer of a model, in bytes of its frames.
const MAX_ANSWER: usize = 256 << 20;

/// The turn as a stream.
pub(in crate::code) fn start(shared: Arc<Shared>, turn: Turn) -> DriverStream {
    // Boxed, since it is moved with each event.
    let run = Box::new(Run::new(shared, turn));
    stream::unfold(run, |mut run| async move { run.next().await.map(|event| (event, run)) }).boxed()
}

/// A turn under way. Each call of [`Run::next`] does no more than what leads to the next event, so that an event is told
/// before its effect: what the CLI is answered because of an event stands behind it in the queue.
struct Run {
    shared: Arc<Shared>,
    turn: Turn,
    frame: TurnFrame,
    tally: Tally,
    deadline: BoxFuture<'static, OverBudget>,
    phase: Phase,
    queue: VecDeque<Step>,
    /// The CLI, once it is there.
    talk: Option<Talk>,
    /// The results of calls that the turn resumed with.
    resumed: Vec<ToolResult>,
    seen: Seen,
    answers: Answers,
    message: MessageAssembler,
    /// The bytes of the frames since the last complete answer.
    size: usize,
    /// Whether the model has said anything to its end.
    answered: bool,
    /// Whether the next model call was counted before it began.
    prepaid: bool,
    calls: SelectAll<CallStream>,
    desk: Desk,
    grants: mpsc::Receiver<Grant>,
    silence: BoxFuture<'static, ()>,
    /// Whether a frame came since the silence was last looked at.
    heard: bool,
}

enum Phase {
    /// Nothing has happened yet.
    Begin,
    /// Calls of an earlier turn are dealt with.
    Resume(CallStream),
    /// The CLI is to be told the message.
    Open,
    /// The CLI is at work.
    Talk,
    /// The end is to be told.
    End(TurnEnd),
    /// The end was told.
    Over,
}

enum Step {
    Tell(DriverEvent),
    Send(Value),
}

enum Happened {
    Call(Result<DriverEvent, OverBudget>),
    Grant(Grant),
    Frame(Result<Option<Frame>>),
    Silence,
}

impl Run {
    fn new(shared: Arc<Shared>, turn: Turn) -> Self {
        let frame = TurnFrame::new(&turn, shared.settings.parallel_tools);
        let (desk, grants) = Desk::new();
        Self {
            tally: Tally::new(frame.ledger().clone(), shared.models.clone()),
            deadline: frame.deadline(),
            phase: Phase::Begin,
            queue: VecDeque::new(),
            talk: None,
            resumed: Vec::new(),
            seen: Seen::of(&turn.history),
            answers: Answers::default(),
            message: MessageAssembler::new(),
            size: 0,
            answered: false,
            prepaid: false,
            calls: SelectAll::new(),
            desk,
            grants,
            silence: future::pending().boxed(),
            heard: false,
            shared,
            turn,
            frame,
        }
    }

    /// The next event, or `None` after the end.
    async fn next(&mut self) -> Option<DriverEvent> {
        loop {
            while let Some(step) = self.queue.pop_front() {
                match (step, &mut self.talk) {
                    (Step::Tell(event), _) => return Some(event),
                    (Step::Send(answer), Some(talk)) => talk.cli.send(&answer),
                    (Step::Send(_), None) => {}
                }
            }
            match mem::replace(&mut self.phase, Phase::Over) {
                Phase::Over => return None,
                Phase::End(end) => return Some(DriverEvent::End(end)),
                phase => self.phase = phase,
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
            if let Err(outcome) = step {
                self.end(outcome).await;
            }
        }
    }

    async fn step(&mut self) -> Result<(), Outcome> {
        match mem::replace(&mut self.phase, Phase::Over) {
            Phase::Begin => self.begin().await,
            Phase::Resume(calls) => self.resume(calls).await,
            Phase::Open => self.open().await,
            Phase::Talk => {
                self.phase = Phase::Talk;
                let happened = self.happens().await;
                self.take(happened)
            }
            Phase::End(_) | Phase::Over => {
                let error = failure(ErrorKind::Internal, "run turn");
                Err(Outcome::Failed(error.with_message("the turn was polled after its end")))
            }
        }
    }

    async fn begin(&mut self) -> Result<(), Outcome> {
        let shown = self.turn.shown_history();
        self.frame.begin(shown.last().cloned()).await?;
        if self.turn.resume.is_empty() {
            self.phase = Phase::Open;
            return Ok(());
        }
        // The process that a call of the CLI's own belongs to is gone: it is answered with that.
        let waiting: Vec<_> = self.turn.resume.iter().map(|waiting| waiting.call.clone()).collect();
        let (mut gone, _) = Desk::new();
        let tools = gone.tools(&self.turn.tools, &waiting);
        let made = |call: &ToolCall| {
            shown.iter().any(|message| match message {
                MessageBody::Assistant(message) => message.tool_calls().any(|made| made == call),
                _ => false,
            })
        };
        self.phase = Phase::Resume(self.frame.resumed_calls(tools, made));
        Ok(())
    }

    async fn resume(&mut self, mut calls: CallStream) -> Result<(), Outcome> {
        self.phase = match calls.next().await {
            Some(event) => {
                let event = event?;
                if let DriverEvent::ToolEnd(result) = &event {
                    self.seen.push(&MessageBody::Tool(result.clone()));
                    self.resumed.push(result.clone());
                }
                self.queue.push_back(Step::Tell(event));
                Phase::Resume(calls)
            }
            None => Phase::Open,
        };
        Ok(())
    }

    /// Sees to it that the CLI knows the conversation, and tells it what the user says.
    async fn open(&mut self) -> Result<(), Outcome> {
        let mut before = self.turn.shown_history();
        before.extend(self.resumed.iter().map(|result| MessageBody::Tool(result.clone().into_shown())));
        let message = match before.pop() {
            Some(user @ MessageBody::User { .. }) => user,
            last => {
                before.extend(last);
                MessageBody::user(GO_ON)
            }
        };
        let content = transcript::prompt(&message).map_err(Outcome::Failed)?;
        if !mem::replace(&mut self.prepaid, true) {
            self.frame.ledger().begin_step()?;
        }
        let mut talk = self.shared.talk(&self.turn, &before).await.map_err(Outcome::Failed)?;
        talk.cli.send_user(&content);
        self.talk = Some(talk);
        self.silence = self.turn.clock.sleep(self.shared.settings.idle_timeout);
        self.phase = Phase::Talk;
        Ok(())
    }

    async fn happens(&mut self) -> Happened {
        let Self { calls, grants, talk, silence, .. } = self;
        let Some(talk) = talk else { return Happened::Frame(Ok(None)) };
        let mut frame = std::pin::pin!(talk.cli.next_frame());
        future::poll_fn(|cx: &mut Context<'_>| {
            // An empty set of calls is ready with nothing, and that is nothing that happens.
            if let Poll::Ready(Some(event)) = calls.poll_next_unpin(cx) {
                return Poll::Ready(Happened::Call(event));
            }
            if let Poll::Ready(Some(grant)) = grants.poll_next_unpin(cx) {
                return Poll::Ready(Happened::Grant(grant));
            }
            if let Poll::Ready(frame) = frame.as_mut().poll(cx) {
                return Poll::Ready(Happened::Frame(frame));
            }
            silence.poll_unpin(cx).map(|()| Happened::Silence)
        })
        .await
    }

    fn take(&mut self, happened: Happened) -> Result<(), Outcome> {
        match happened {
            Happened::Call(event) => self.call(event?),
            Happened::Grant(grant) => {
                let answers = self.desk.grant(grant);
                self.send(answers);
                Ok(())
            }
            Happened::Frame(frame) => {
                self.heard = true;
                match frame {
                    Ok(Some(frame)) => {
                        if let Some(talk) = &mut self.talk {
                            talk.is_kept = false;
                        }
                        self.frame(frame)
                    }
                    // It died between the turns, or just now, without a word: another takes its place.
                    Ok(None) if self.talk.as_ref().is_some_and(|talk| talk.is_kept) => {
                        self.talk = None;
                        self.phase = Phase::Open;
                        Ok(())
                    }
                    Ok(None) => {
                        self.told_whole()?;
                        Err(self.gone())
                    }
                    Err(error) => {
                        self.told_whole()?;
                        Err(Outcome::Failed(error))
                    }
                }
            }
            Happened::Silence => {
                let limit = self.shared.settings.idle_timeout;
                self.silence = self.turn.clock.sleep(limit);
                if mem::take(&mut self.heard) || self.desk.is_busy() {
                    return Ok(());
                }
                let words = self.talk.as_ref().map(|talk| talk.cli.last_words()).unwrap_or_default();
                let message = format!("the claude CLI said nothing for {limit:?}{words}");
                Err(Outcome::Failed(failure(ErrorKind::TimedOut, "run turn").with_message(message)))
            }
        }
    }

    /// An answer that came whole was told, whatever comes behind it.
    fn told_whole(&mut self) -> Result<(), Outcome> {
        let mut events = Vec::new();
        let flushed = self.answers.flush(&mut events);
        for event in events {
            self.model(event)?;
        }
        flushed.map_err(Outcome::Failed)
    }

    /// The CLI ended without a result.
    fn gone(&mut self) -> Outcome {
        match self.talk.take() {
            Some(talk) => Outcome::Failed(talk.cli.gone()),
            None => Outcome::Failed(failure(ErrorKind::Internal, "run turn")),
        }
    }

    fn call(&mut self, event: DriverEvent) -> Result<(), Outcome> {
        let answers = match &event {
            DriverEvent::ToolStart(call) => {
                let is_own = self.turn.tools.get(&call.name).is_some();
                self.desk.started(&call.id, is_own)
            }
            DriverEvent::ToolEnd(result) => {
                self.seen.push(&MessageBody::Tool(result.clone()));
                self.desk.ended(result.clone())
            }
            _ => Vec::new(),
        };
        let is_last = matches!(event, DriverEvent::ToolEnd(_)) && !self.desk.is_busy();
        self.queue.push_back(Step::Tell(event));
        if is_last && !self.prepaid {
            // With its last result the CLI asks the model again.
            self.frame.ledger().begin_step()?;
            self.prepaid = true;
        }
        self.send(answers);
        Ok(())
    }

    fn frame(&mut self, frame: Frame) -> Result<(), Outcome> {
        if let Frame::Stream { event: part, .. } | Frame::Assistant { message: part, .. } = &frame {
            self.size += part.get().len();
            if self.size > MAX_ANSWER {
                let error = failure(ErrorKind::LimitExceeded, "run turn");
                return Err(Outcome::Failed(error.with_message("the model's answer is longer than 256 MiB")));
            }
        }
        let mut events = Vec::new();
        let taken = match &frame {
            Frame::Stream { event, nested: false } => self.answers.event(event, &mut events),
            Frame::Assistant { message, nested: false } => self.answers.message(message, &mut events),
            // A failed call is tried again; what it said before is void.
            Frame::Retry { error, .. } => {
                self.answers.retract(error, &mut events);
                Ok(())
            }
            _ => self.answers.flush(&mut events),
        };
        for event in events {
            self.model(event)?;
        }
        taken.map_err(Outcome::Failed)?;
        match frame {
            Frame::Request { id, request } => {
                let answers = self.desk.request(id, request);
                self.send(answers);
            }
            Frame::Cancelled { id } => self.desk.cancel(&id),
            Frame::User { message, nested: false } => {
                for (call, output) in results(&message) {
                    self.desk.told(&call, output);
                }
            }
            Frame::Result(result) => return Err(self.result(&result)),
            _ => {}
        }
        Ok(())
    }

    fn model(&mut self, mut event: ModelEvent) -> Result<(), Outcome> {
        self.name_own(&mut event);
        self.tally.push(&event);
        self.message.push(&event);
        let started = matches!(event, ModelEvent::Start { .. });
        let reason = match &event {
            ModelEvent::Stop(reason) => Some(reason.clone()),
            _ => None,
        };
        if let ModelEvent::Restarted { .. } = event {
            self.desk.forget();
            // It is the same step once more.
            self.prepaid = true;
        }
        self.queue.push_back(Step::Tell(DriverEvent::Model(event)));
        if started {
            if !mem::take(&mut self.prepaid) {
                self.frame.ledger().begin_step()?;
            }
            if self.tally.lacks_price() {
                let error = failure(ErrorKind::Unsupported, "ask model").with_message(
                    "the budget bounds money, and the price of this model is not known: add it to the table of models",
                );
                return Err(Outcome::Failed(error));
            }
        }
        reason.map_or(Ok(()), |reason| self.stop(&reason))
    }

    /// An answer is complete.
    fn stop(&mut self, reason: &StopReason) -> Result<(), Outcome> {
        self.answered = true;
        self.size = 0;
        let message = mem::take(&mut self.message).finish();
        let calls: Vec<_> = message.tool_calls().cloned().collect();
        if !message.content.is_empty() {
            self.seen.push(&MessageBody::Assistant(message));
        }
        match reason {
            // The CLI would go on by itself, with words that the user never said.
            StopReason::MaxTokens | StopReason::ContextWindowExceeded => Err(Outcome::Truncated),
            StopReason::Refusal => Err(Outcome::Refused),
            _ => {
                if !calls.is_empty() {
                    let tools = self.desk.tools(&self.turn.tools, &calls);
                    self.calls.push(self.frame.calls(tools, calls));
                }
                Ok(())
            }
        }
    }

    /// The turn's tools under their own names.
    fn name_own(&self, event: &mut ModelEvent) {
        if let ModelEvent::Block { change: BlockChange::Start(BlockKind::ToolUse { name, .. }), .. } = event
            && let Some(own) = mcp::own_name(name).filter(|own| self.turn.tools.get(own).is_some())
        {
            *name = own.to_owned();
        }
    }

    fn send(&mut self, answers: Vec<Value>) {
        self.queue.extend(answers.into_iter().map(Step::Send));
    }

    fn result(&mut self, result: &TurnResult) -> Outcome {
        let mut text = result.text.clone().unwrap_or_default();
        if text.is_empty() {
            text = result.errors.join("; ");
        }
        if let Some(talk) = &mut self.talk {
            if let Some(dollars) = talk.cost(result) {
                self.tally.settle(dollars);
            }
            text = talk.cli.redact(&text);
        }
        match outcome(result, text) {
            Outcome::Completed if !self.answered => {
                let message = "the claude CLI told a success, and the model said nothing";
                Outcome::Failed(failure(ErrorKind::Corrupt, "run turn").with_message(message))
            }
            outcome => outcome,
        }
    }

    /// Ends the turn. A process whose turn came to its own end is kept; any other is ended.
    async fn end(&mut self, outcome: Outcome) {
        self.phase = Phase::Over;
        // What it has queued for the CLI would no longer be of use.
        self.queue.retain(|step| matches!(step, Step::Tell(_)));
        self.calls.clear();
        if let Some(talk) = self.talk.take() {
            let is_idle = !self.desk.is_busy() && !self.desk.is_asked();
            match &outcome {
                Outcome::Completed if is_idle => self.shared.keep(talk, mem::take(&mut self.seen)),
                // It has ended its turn itself, or will say nothing of use any more.
                Outcome::Completed | Outcome::Failed(_) => drop(talk),
                // What it knows of the turn's end is not what is stored: it is not kept.
                _ => {
                    if let Some(dollars) = talk.wind_down(&*self.turn.clock).await {
                        self.tally.settle(dollars);
                    }
                }
            }
        }
        let (failures, end) = self.frame.end(outcome).await;
        self.queue.extend(failures.into_iter().map(|error| Step::Tell(DriverEvent::HookFailed(error))));
        self.phase = Phase::End(end);
    }
}

use std::{collections::VecDeque, sync::Arc, time::SystemTime};

use agentx_resource::BoxFuture;
use futures::{
    FutureExt, StreamExt,
    channel::{mpsc, oneshot},
    future,
    stream::{self, BoxStream},
};

use super::{
    calls::{Calls, Next},
    judge::Judge,
};
use crate::{
    DriverEvent, Error, ErrorKind, HookAction, HookPoint, Ledger, MessageBody, Outcome, OverBudget,
    ResumedCall, ToolCall, ToolSet, Turn, TurnEnd, hook,
    tool::{Teller, Told, TurnScope},
};

/// Tool calls as they are decided on, run and answered. It ends when each has its [`DriverEvent::ToolEnd`], or with the
/// bound that lets no more of them begin. Dropping it ends the tools that run.
pub type CallStream = BoxStream<'static, Result<DriverEvent, OverBudget>>;

/// What every turn has, whoever asks the model: its bounds, the hooks around it, and how its tool calls are decided on
/// and run. For a [`Driver`](crate::Driver) over an agent that asks its model by itself; a
/// [`ToolLoop`](crate::ToolLoop) brings its own.
///
/// ```
/// # use agentx_core::{Outcome, Turn, TurnFrame};
/// # async fn run(turn: Turn) -> Result<(), Outcome> {
/// let frame = TurnFrame::new(&turn, 8);
/// frame.begin(turn.history.last().map(|message| message.body.clone())).await?;
/// // … the agent answers, and its calls go to `frame.calls` …
/// let (failed_hooks, end) = frame.end(Outcome::Completed).await;
/// # let _ = (failed_hooks, end);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TurnFrame {
    /// Without its history.
    turn: Turn,
    ledger: Ledger,
    started: SystemTime,
    parallel: usize,
}

impl TurnFrame {
    /// The frame of a turn that begins now, and that runs at most so many tools at a time.
    pub fn new(turn: &Turn, parallel: usize) -> Self {
        let ledger = Ledger::of_turn(turn.budget.clone(), turn.within.clone());
        let started = turn.clock.now();
        Self {
            turn: Turn { history: Vec::new(), ..turn.clone() },
            ledger,
            started,
            parallel: parallel.max(1),
        }
    }

    /// Where what the turn uses is counted.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Counts the turn and asks the hooks before it; `message` is the last of the history.
    ///
    /// # Errors
    /// What ends the turn at once: a bound, or a hook that denies it or fails.
    pub async fn begin(&self, message: Option<MessageBody>) -> Result<(), Outcome> {
        if self.turn.resume.is_empty() {
            self.ledger.begin_turn()?;
        }
        for hook in &self.turn.hooks {
            let point = HookPoint::BeforeTurn { message: message.clone() };
            match hook::ask(hook, point, &*self.turn.clock).await {
                Ok(HookAction::Deny(reason)) => {
                    let error = Error::new(ErrorKind::PermissionDenied, "begin turn").with_message(reason);
                    return Err(Outcome::Failed(error));
                }
                Ok(_) => {}
                Err(error) => return Err(Outcome::Failed(error)),
            }
        }
        Ok(())
    }

    /// Completes when the turn's time is over; never where its time is not bounded.
    pub fn deadline(&self) -> BoxFuture<'static, OverBudget> {
        match self.ledger.time_left() {
            Some((left, over)) => self.turn.clock.sleep(left).map(move |()| over).boxed(),
            None => future::pending().boxed(),
        }
    }

    /// Deals with the calls of an answer, as a tool loop does: hooks and permission decide on each in the model's order,
    /// and what is allowed runs in parallel, on these tools.
    pub fn calls(&self, tools: ToolSet, calls: Vec<ToolCall>) -> CallStream {
        let (judge, told) = self.judge(tools);
        stream_of(Calls::new(judge, self.parallel, calls), told)
    }

    /// Deals with the calls that the turn resumes with, on these tools; `made` says whether the model made a call just so.
    pub fn resumed_calls(&self, tools: ToolSet, made: impl Fn(&ToolCall) -> bool) -> CallStream {
        let (judge, told) = self.judge(tools);
        let resume: Vec<ResumedCall> = self.turn.resume.clone();
        stream_of(Calls::resume(judge, self.parallel, resume, made), told)
    }

    /// Counts the turn's time and asks the hooks behind it. Gives the hooks' failures, and the end as it is told.
    pub async fn end(&self, outcome: Outcome) -> (Vec<Error>, TurnEnd) {
        let time = self.turn.clock.now().duration_since(self.started).unwrap_or_default();
        self.ledger.add_time(time);
        let spent = self.ledger.spent();
        let mut failures = Vec::new();
        for hook in &self.turn.hooks {
            let point = HookPoint::AfterTurn { outcome: outcome.kind(), spent };
            failures.extend(hook::ask(hook, point, &*self.turn.clock).await.err());
        }
        (failures, TurnEnd::new(outcome).with_spent(spent))
    }

    fn judge(&self, tools: ToolSet) -> (Judge, mpsc::Receiver<Told>) {
        let (teller, told) = Teller::new();
        let turn = &self.turn;
        let scope = TurnScope {
            permission: turn.permission.clone(),
            approvals: turn.approvals.clone(),
            hooks: turn.hooks.clone(),
            ledger: self.ledger.clone(),
            depth: turn.depth,
            teller,
        };
        (Judge { scope, tools, clock: Arc::clone(&turn.clock) }, told)
    }
}

struct Course {
    calls: Calls,
    told: mpsc::Receiver<Told>,
    /// A tool that waits until what it told is taken.
    taken: Option<oneshot::Sender<()>>,
    queue: VecDeque<DriverEvent>,
    over: bool,
}

fn stream_of(calls: Calls, told: mpsc::Receiver<Told>) -> CallStream {
    let course = Course { calls, told, taken: None, queue: VecDeque::new(), over: false };
    // Boxed, since it is moved with each event.
    stream::unfold(Box::new(course), |mut course| async move {
        let event = course.next().await?;
        Some((event, course))
    })
    .boxed()
}

impl Course {
    async fn next(&mut self) -> Option<Result<DriverEvent, OverBudget>> {
        if let Some(taken) = self.taken.take() {
            // A tool that has ended since waits for nothing.
            let _ = taken.send(());
        }
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            match self.calls.next(&mut self.told).await {
                Next::Tell(event) => self.queue.extend(event.one_by_one()),
                Next::Told(Told { event, taken }) => {
                    self.taken = Some(taken);
                    return Some(Ok(event));
                }
                Next::Answered { result, failures } => {
                    self.queue.extend(failures.into_iter().map(DriverEvent::HookFailed));
                    self.queue.push_back(DriverEvent::ToolEnd(result));
                }
                Next::Done(over) => {
                    self.over = true;
                    return over.map(Err);
                }
            }
        }
    }
}

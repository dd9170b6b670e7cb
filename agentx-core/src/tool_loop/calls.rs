use std::{
    collections::VecDeque,
    mem,
    panic::AssertUnwindSafe,
    task::{Context, Poll},
};

use agentx_resource::BoxFuture;
use futures::{FutureExt, StreamExt, channel::mpsc, future, stream::FuturesUnordered};

use super::judge::{self, Granted, Judge, Verdict};
use crate::{
    ApprovalRequest, Decision, DriverEvent, Error, HookAction, HookPoint, OverBudget, Resumed, ResumedCall,
    ToolCall, ToolContext, ToolOutput, ToolResult, hook, tool::Told,
};

/// The most that a model is told of one call, in bytes. Tools have lower bounds of their own; this one keeps a tool
/// without any from filling memory and the session.
const MAX_OUTPUT: usize = 8 << 20;

/// The tool calls of one answer. First each is decided on, in the model's order. Then what is allowed runs, some at a
/// time, while others wait for approvals.
pub(super) struct Calls {
    judge: Judge,
    parallel: usize,
    undecided: VecDeque<Undecided>,
    ready: VecDeque<Granted>,
    waiting: FuturesUnordered<BoxFuture<'static, (Granted, Decision)>>,
    running: FuturesUnordered<BoxFuture<'static, Ran>>,
    /// What is announced, and told before anything else happens: it begins with the next poll of the turn.
    announced: Vec<DriverEvent>,
    /// The bound that lets no more calls begin. What runs is waited for.
    over: Option<OverBudget>,
}

/// A call and what is known of it; calls of an answer are new, those of a turn that resumes may be further.
struct Undecided {
    granted: Granted,
    state: Resumed,
}

/// A call that ran.
struct Ran {
    result: ToolResult,
    /// Hooks that failed after it.
    failures: Vec<Error>,
}

/// What comes next of the calls.
pub(super) enum Next {
    /// Something to tell.
    Tell(DriverEvent),
    /// A call is answered, and hooks may have failed after it.
    Answered { result: ToolResult, failures: Vec<Error> },
    /// A tool told something.
    Told(Told),
    /// All are answered, or no more may begin.
    Done(Option<OverBudget>),
}

impl Calls {
    /// The calls of an answer.
    pub(super) fn new(judge: Judge, parallel: usize, calls: impl IntoIterator<Item = ToolCall>) -> Self {
        let undecided = calls
            .into_iter()
            .map(|call| Undecided { granted: Granted { call, edited: false }, state: Resumed::Undecided });
        Self::with(judge, parallel, undecided.collect())
    }

    /// The open calls of an earlier turn. Each was edited if `made` says that the model made it otherwise.
    pub(super) fn resume(
        judge: Judge,
        parallel: usize,
        calls: Vec<ResumedCall>,
        made: impl Fn(&ToolCall) -> bool,
    ) -> Self {
        let undecided = calls.into_iter().map(|ResumedCall { call, state }| {
            let edited = !made(&call);
            Undecided { granted: Granted { call, edited }, state }
        });
        Self::with(judge, parallel, undecided.collect())
    }

    fn with(judge: Judge, parallel: usize, undecided: VecDeque<Undecided>) -> Self {
        Self {
            judge,
            parallel,
            undecided,
            ready: VecDeque::new(),
            waiting: FuturesUnordered::new(),
            running: FuturesUnordered::new(),
            announced: Vec::new(),
            over: None,
        }
    }

    /// What comes next. `told` is where tools tell events while they run.
    pub(super) async fn next(&mut self, told: &mut mpsc::Receiver<Told>) -> Next {
        while let Some(Undecided { granted, state }) = self.undecided.pop_front() {
            let verdict = match state {
                Resumed::Undecided => self.judge.decide(granted).await,
                Resumed::Decided(decision) => self.judge.apply(granted, decision),
                Resumed::Pending(approval) => match self.judge.scope.approvals.clone() {
                    Some(approvals) => {
                        self.waiting
                            .push(judge::wait(approvals, approval).map(|answer| (granted, answer)).boxed());
                        continue;
                    }
                    None => self.judge.apply(granted, Decision::Ask("it waited for one before".to_owned())),
                },
            };
            if let Some(next) = self.follow(verdict) {
                return next;
            }
        }
        loop {
            self.begin();
            if let Some(announced) = DriverEvent::together(mem::take(&mut self.announced)) {
                return Next::Tell(announced);
            }
            // An approval that comes when nothing may begin any more changes nothing.
            if self.running.is_empty() && (self.over.is_some() || self.waiting.is_empty()) {
                return Next::Done(self.over);
            }
            let happened = future::poll_fn(|cx| self.poll(cx, told)).await;
            let next = match happened {
                Happened::Told(told) => return Next::Told(told),
                Happened::Ran(Ran { result, failures }) => return Next::Answered { result, failures },
                Happened::Answered(granted, decision) => {
                    let verdict = self.judge.answered(granted, decision);
                    self.follow(verdict)
                }
            };
            if let Some(next) = next {
                return next;
            }
        }
    }

    /// What is told of a verdict at once, if anything is.
    fn follow(&mut self, verdict: Verdict) -> Option<Next> {
        match verdict {
            Verdict::Run(granted) => {
                self.ready.push_back(granted);
                None
            }
            Verdict::Refuse(result) => Some(Next::Answered { result, failures: Vec::new() }),
            Verdict::Ask { granted, approvals, reason } => {
                let approval = approvals.fresh_id();
                let request = ApprovalRequest::new(approval.clone(), granted.call.clone(), reason);
                // It is first polled when the request is stored.
                self.waiting.push(judge::wait(approvals, approval).map(|answer| (granted, answer)).boxed());
                self.announced.push(DriverEvent::ApprovalRequested(request));
                None
            }
        }
    }

    /// Begins the next calls that may run, as far as there is room for them.
    fn begin(&mut self) {
        while self.over.is_none() && self.running.len() < self.parallel {
            let Some(granted) = self.ready.pop_front() else { return };
            if let Err(over) = self.judge.scope.ledger.begin_tool_call() {
                self.over = Some(over);
                return;
            }
            self.announced.push(DriverEvent::ToolStart(granted.call.clone()));
            self.running.push(run(granted, self.judge.clone()).boxed());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, told: &mut mpsc::Receiver<Told>) -> Poll<Happened> {
        // First what is told: a tool that tells waits for that, and is not polled meanwhile.
        if let Poll::Ready(Some(told)) = told.poll_next_unpin(cx) {
            return Poll::Ready(Happened::Told(told));
        }
        if let Poll::Ready(Some(ran)) = self.running.poll_next_unpin(cx) {
            return Poll::Ready(Happened::Ran(ran));
        }
        // What the tools have told just now.
        if let Poll::Ready(Some(told)) = told.poll_next_unpin(cx) {
            return Poll::Ready(Happened::Told(told));
        }
        match self.waiting.poll_next_unpin(cx) {
            Poll::Ready(Some((granted, decision))) => Poll::Ready(Happened::Answered(granted, decision)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

enum Happened {
    Told(Told),
    Ran(Ran),
    Answered(Granted, Decision),
}

/// Runs a call, and asks the hooks behind it.
async fn run(granted: Granted, judge: Judge) -> Ran {
    let Granted { call, edited } = granted;
    let output = match judge.tools.get(&call.name).cloned() {
        None => ToolOutput::error(format!("There is no tool called {:?}.", call.name)),
        Some(tool) => {
            let context =
                ToolContext::new(call.id.clone(), judge.clock.clone()).with_scope(judge.scope.clone());
            let input = call.input.clone();
            match AssertUnwindSafe(async { tool.call(input, context).await }).catch_unwind().await {
                Ok(Ok(output)) => output,
                Ok(Err(error)) => ToolOutput::error(error.to_string()),
                Err(_) => ToolOutput::error(format!("The tool {:?} panicked.", call.name)),
            }
        }
    };
    let mut result = ToolResult::new(&call.id, &call.name, output.bounded(MAX_OUTPUT));
    result.input = edited.then(|| call.input.clone());
    let mut failures = Vec::new();
    for hook in &judge.scope.hooks {
        let point = HookPoint::AfterTool { call: call.clone(), result: result.clone() };
        match hook::ask(hook, point, &*judge.clock).await {
            Ok(HookAction::ReplaceOutput(output)) => {
                drop(mem::replace(&mut result.output, output.bounded(MAX_OUTPUT)));
            }
            Ok(_) => {}
            Err(error) => failures.push(error),
        }
    }
    Ran { result, failures }
}

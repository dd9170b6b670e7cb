use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use agentx_resource::{Error, ExecEvent, ExitStatus, Result};
use futures::future::BoxFuture;
use tokio::{
    runtime::Handle,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    ending::Ending,
    failure,
    group::MemoryWatch,
    idle::Idle,
    output::{Output, Step},
    tree::Tree,
};

const SIGKILL: i32 = 9;

/// Turns what a command does into events, from its first output until nothing of it is left.
pub(super) struct Pump {
    pub(super) tree: Arc<Tree>,
    pub(super) ending: Arc<Ending>,
    pub(super) runtime: Handle,
    /// The one whose turn it is comes first.
    pub(super) outputs: [Output; 2],
    pub(super) idle: Option<Idle>,
    pub(super) memory: Option<MemoryWatch>,
    pub(super) kill_grace: Duration,
    pub(super) drain_grace: Duration,
    pub(super) buffer: Vec<u8>,
    pub(super) phase: Phase,
}

#[derive(Default)]
pub(super) enum Phase {
    /// The command's first process runs.
    #[default]
    Running,
    /// It has exited; what holds its output is read until it lets go, or the grace is over.
    Draining { status: ExitStatus, told: bool, grace: Grace },
    /// What it left behind is being killed.
    Sweeping(BoxFuture<'static, ()>),
    /// What the pipes still hold is read.
    Finishing,
    /// All was told, and nothing of it is left.
    Over,
}

/// How long output is read on. Most commands have ended by the first look, before it comes to a timer: setting one
/// wakes another thread of the runtime.
pub(super) struct Grace {
    end: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Grace {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    fn poll(&mut self, cx: &mut Context<'_>, runtime: &Handle) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| {
            let _entered = runtime.enter();
            Box::pin(sleep_until(self.end))
        });
        timer.as_mut().poll(cx)
    }
}

/// A look at both output streams.
enum Look {
    Event(ExecEvent),
    /// Nothing to read now.
    Idle,
    /// Nothing to read ever again.
    Ended,
}

impl Pump {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The next event. All state is in `self`, so a dropped call loses nothing.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<ExecEvent>>> {
        loop {
            match &mut self.phase {
                Phase::Running => {
                    // Asked before the output is read: what came before the exit is then read before it is told.
                    let exit = self.poll_exit(cx);
                    if let Poll::Ready(status) = exit {
                        self.drain(status);
                        continue;
                    }
                    match self.look(cx, false) {
                        Ok(Look::Event(event)) => return Poll::Ready(Ok(Some(event))),
                        Ok(Look::Idle | Look::Ended) => {
                            self.check_idle(cx);
                            return Poll::Pending;
                        }
                        Err(error) => return Poll::Ready(Err(self.fail(error))),
                    }
                }
                Phase::Draining { status, told, grace } => {
                    let status = (!*told).then_some(*status);
                    let look = if grace.is_over() { Ok(Look::Ended) } else { self.look(cx, true) };
                    match (look, status) {
                        (Ok(Look::Event(event)), _) => return Poll::Ready(Ok(Some(event))),
                        (Ok(Look::Idle | Look::Ended), Some(status)) => {
                            if let Phase::Draining { told, .. } = &mut self.phase {
                                *told = true;
                            }
                            return Poll::Ready(Ok(Some(ExecEvent::Exited(status))));
                        }
                        (Ok(Look::Idle), None) => {
                            if let Phase::Draining { grace, .. } = &mut self.phase {
                                ready!(grace.poll(cx, &self.runtime));
                            }
                        }
                        (Ok(Look::Ended), None) => self.sweep(),
                        (Err(error), _) => return Poll::Ready(Err(self.fail(error))),
                    }
                }
                Phase::Sweeping(sweep) => {
                    ready!(sweep.as_mut().poll(cx));
                    self.phase = Phase::Finishing;
                }
                Phase::Finishing => {
                    for output in &mut self.outputs {
                        if let Step::Event(event) = output.finish(&mut self.buffer) {
                            return Poll::Ready(Ok(Some(event)));
                        }
                    }
                    self.tree.reap();
                    self.phase = Phase::Over;
                }
                Phase::Over => return Poll::Ready(Ok(None)),
            }
        }
    }

    fn poll_exit(&self, cx: &mut Context<'_>) -> Poll<ExitStatus> {
        self.tree.poll_exit(cx).map(|status| self.ending.cause().unwrap_or_else(|| self.explain(status)))
    }

    /// Whoever was killed while the kernel ended processes for memory was killed for that.
    fn explain(&self, status: ExitStatus) -> ExitStatus {
        match &self.memory {
            Some(memory) if status == ExitStatus::Signal(SIGKILL) && memory.has_killed() => {
                ExitStatus::OutOfMemory
            }
            _ => status,
        }
    }

    fn check_idle(&mut self, cx: &mut Context<'_>) {
        let read = self.outputs.iter().map(Output::bytes_read).sum();
        if self.idle.as_mut().is_some_and(|idle| idle.poll(cx, read).is_ready()) {
            self.idle = None;
            self.ending.begin(ExitStatus::TimedOut);
        }
    }

    fn drain(&mut self, status: ExitStatus) {
        // What was asked to end keeps the time that it was given for that.
        let grace = if self.ending.cause().is_some() { self.kill_grace } else { self.drain_grace };
        // As far away as a time can be told.
        let now = Instant::now();
        let end = now.checked_add(grace).unwrap_or(now + Duration::from_hours(24 * 365 * 30));
        let grace = Grace { end, timer: None };
        self.phase = Phase::Draining { status, told: false, grace };
    }

    /// Reads from both streams in turn.
    fn look(&mut self, cx: &mut Context<'_>, eager: bool) -> io::Result<Look> {
        let mut ended = 0;
        for _ in 0..self.outputs.len() {
            let [output, _] = &mut self.outputs;
            let mut step = output.poll_next(cx, &self.runtime, &mut self.buffer, eager)?;
            if matches!(step, Poll::Ready(Step::Exceeded)) {
                self.ending.begin(ExitStatus::OutputLimit);
                step = output.poll_next(cx, &self.runtime, &mut self.buffer, eager)?;
            }
            self.outputs.reverse();
            match step {
                Poll::Ready(Step::Event(event)) => return Ok(Look::Event(event)),
                Poll::Ready(Step::Ended) => ended += 1,
                Poll::Ready(Step::Exceeded) | Poll::Pending => {}
            }
        }
        Ok(if ended == self.outputs.len() { Look::Ended } else { Look::Idle })
    }

    /// Ends what the command left behind. Nearly always there is nothing, which one look on the spot tells.
    fn sweep(&mut self) {
        self.phase = if self.tree.is_over() {
            Phase::Finishing
        } else {
            Phase::Sweeping(Box::pin(Arc::clone(&self.tree).end(self.runtime.clone())))
        };
    }

    /// The platform's error, after which nothing is known of the command. It is ended with its tree.
    fn fail(&mut self, source: io::Error) -> Error {
        if !matches!(self.phase, Phase::Draining { told: true, .. }) {
            self.drain(ExitStatus::Lost);
        }
        failure("next_event", source)
    }
}

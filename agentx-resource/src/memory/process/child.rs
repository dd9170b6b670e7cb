use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{super::lock, InputPipe, OutputPipe};
use crate::{
    BoxFuture, Child, Clock, Error, ErrorKind, ExecEvent, ExitStatus, Result, Signal, TerminalSize,
    memory::PROVIDER,
};

/// A program's future and its pipes. Whoever awaits an event drives the program.
pub(super) struct MemoryChild {
    id: String,
    run: Mutex<Run>,
    input: Arc<InputPipe>,
    output: Arc<OutputPipe>,
}

struct Run {
    /// The program, until it has ended.
    program: Option<BoxFuture<'static, i32>>,
    deadline: Option<BoxFuture<'static, ()>>,
    idle: Option<Idle>,
    /// What is told after the output.
    ending: VecDeque<ExecEvent>,
    /// Who awaits an event.
    waiting: Option<Waker>,
}

/// The time for which a program may write nothing.
pub(super) struct Idle {
    clock: Arc<dyn Clock>,
    timeout: Duration,
    end: BoxFuture<'static, ()>,
    /// The count of writes from which `end` is reckoned.
    since: u64,
}

impl Idle {
    pub(super) fn new(clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        let end = clock.sleep(timeout);
        Self { clock, timeout, end, since: 0 }
    }

    /// Whether nothing was written for so long.
    fn poll(&mut self, cx: &mut Context<'_>, writes: u64) -> bool {
        if writes != self.since {
            self.since = writes;
            self.end = self.clock.sleep(self.timeout);
        }
        self.end.as_mut().poll(cx).is_ready()
    }
}

impl MemoryChild {
    pub(super) fn new(
        id: String,
        program: BoxFuture<'static, i32>,
        deadline: Option<BoxFuture<'static, ()>>,
        idle: Option<Idle>,
        input: Arc<InputPipe>,
        output: Arc<OutputPipe>,
    ) -> Self {
        let run = Run { program: Some(program), deadline, idle, ending: VecDeque::new(), waiting: None };
        Self { id, run: Mutex::new(run), input, output }
    }

    fn poll_event(&self, cx: &mut Context<'_>) -> Poll<Option<ExecEvent>> {
        let mut run = lock(&self.run);
        if let Some(event) = self.output.pop() {
            return Poll::Ready(Some(event));
        }
        if let Some(status) = run.poll(cx, &self.output) {
            run.end(status, &self.output);
        }
        match self.output.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if run.program.is_some() => {
                run.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(run.ending.pop_front()),
        }
    }
}

impl Run {
    /// Lets the program run on, and says how it ended.
    fn poll(&mut self, cx: &mut Context<'_>, output: &OutputPipe) -> Option<ExitStatus> {
        let program = self.program.as_mut()?;
        // Time comes first, so that a program that is never idle ends too.
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Some(ExitStatus::TimedOut);
        }
        let polled = program.as_mut().poll(cx);
        match polled {
            _ if output.exceeded() => Some(ExitStatus::OutputLimit),
            Poll::Ready(code) => Some(ExitStatus::Code(code)),
            Poll::Pending => {
                let idle = self.idle.as_mut().is_some_and(|idle| idle.poll(cx, output.writes()));
                idle.then_some(ExitStatus::TimedOut)
            }
        }
    }

    fn end(&mut self, status: ExitStatus, output: &OutputPipe) {
        self.program = None;
        self.deadline = None;
        self.idle = None;
        self.ending = output.rest();
        self.ending.push_back(ExecEvent::Exited(status));
    }
}

impl fmt::Debug for MemoryChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryChild").field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl Child for MemoryChild {
    fn id(&self) -> &str {
        &self.id
    }

    async fn write_stdin(&self, data: Bytes) -> Result<()> {
        self.input.write(data).await
    }

    async fn close_stdin(&self) -> Result<()> {
        self.input.close();
        Ok(())
    }

    async fn next_event(&self) -> Result<Option<ExecEvent>> {
        Ok(poll_fn(|cx| self.poll_event(cx)).await)
    }

    async fn signal(&self, _: Signal) -> Result<()> {
        Err(undeclared("signal"))
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Err(undeclared("resize"))
    }

    async fn kill(&self) -> Result<()> {
        let mut run = lock(&self.run);
        if run.program.is_some() {
            run.end(ExitStatus::Killed, &self.output);
        }
        run.waiting.take().into_iter().for_each(Waker::wake);
        Ok(())
    }
}

fn undeclared(operation: &'static str) -> Error {
    Error::new(ErrorKind::Unsupported, operation).with_provider(PROVIDER)
}

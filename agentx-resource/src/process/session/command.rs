use std::{collections::VecDeque, fmt, future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use futures::lock::OwnedMutexGuard;

use super::{ShellOptions, Turn, fail, frame::Mark, reply::Answer, reply::Reply, shell::Shell};
use crate::{
    BoxFuture, Child, Clock, Error, ErrorKind, ExecEvent, ExitStatus, LimitedOutput, OutputStream, Result,
    Retry,
};

/// How long a shell that is killed may take to tell its end, until it is dropped.
const PATIENCE: Duration = Duration::from_secs(10);

/// A command that runs in a [`ShellSession`](super::ShellSession). Dropping it before its end ends the shell and
/// everything that it started.
pub struct ShellCommand {
    // Dropped before `turn`, so that the next command begins when nothing of this one is left.
    work: Option<BoxFuture<'static, Result<()>>>,
    shell: Option<Shell>,
    turn: Option<OwnedMutexGuard<Turn>>,

    clock: Arc<dyn Clock>,
    deadline: Option<BoxFuture<'static, ()>>,
    idle: Option<Idle>,

    reply: Reply,
    stdout: LimitedOutput,
    stderr: LimitedOutput,
    queue: VecDeque<ExecEvent>,

    /// Why the shell is being killed.
    verdict: Option<ExitStatus>,
    /// How the shell itself ended.
    exited: Option<ExitStatus>,
    /// Why the shell did not get the command.
    undelivered: Option<Error>,
    cwd: Option<String>,
    pub(super) restarted: bool,
    ended: bool,
}

struct Idle {
    timeout: Duration,
    end: BoxFuture<'static, ()>,
}

enum Happening {
    /// The command was handed over, or the shell was told to end.
    Done(Result<()>),
    Told(Result<Option<ExecEvent>>),
    Late,
}

impl ShellCommand {
    pub(super) fn new(
        turn: OwnedMutexGuard<Turn>,
        shell: Shell,
        clock: Arc<dyn Clock>,
        options: ShellOptions,
        mark: &Mark,
        text: Bytes,
    ) -> Self {
        let child = shell.child();
        let limit = options.output_limit;
        Self {
            work: Some(Box::pin(async move { child.write_stdin(text).await })),
            shell: Some(shell),
            cwd: turn.directory.clone(),
            turn: Some(turn),
            deadline: options.timeout.map(|timeout| clock.sleep(timeout)),
            idle: options.idle_timeout.map(|timeout| Idle { timeout, end: clock.sleep(timeout) }),
            clock,
            reply: Reply::new(mark),
            stdout: LimitedOutput::new(OutputStream::Stdout, limit),
            stderr: LimitedOutput::new(OutputStream::Stderr, limit),
            queue: VecDeque::new(),
            verdict: None,
            exited: None,
            undelivered: None,
            restarted: false,
            ended: false,
        }
    }

    /// The next event, or `None` after the end. As in [`Child::next_event`](crate::Child::next_event): output as it
    /// comes, then what was cut off, then `Exited` as the last one. A dropped call loses no event.
    ///
    /// # Errors
    /// `Unavailable` when the shell had ended before it got the command, which did not run then; whatever the platform
    /// reports, after which the outcome is unknown. The shell has ended in both cases.
    pub async fn next_event(&mut self) -> Result<Option<ExecEvent>> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(Some(event));
            }
            let Some(child) = self.shell.as_ref().map(Shell::child) else { return Ok(None) };
            match self.happening(&*child).await {
                Happening::Done(result) => self.done(result),
                Happening::Late => match self.verdict {
                    Some(status) => self.end(status, None),
                    None => self.kill(ExitStatus::TimedOut),
                },
                Happening::Told(Ok(Some(event))) => self.take(event),
                Happening::Told(Ok(None)) => {
                    let answered = self.reply.answer().map(|answer| ExitStatus::Code(answer.status));
                    let status = self.verdict.or(answered).or(self.exited).unwrap_or(ExitStatus::Lost);
                    self.end(status, None);
                }
                Happening::Told(Err(error)) => {
                    self.end(ExitStatus::Lost, None);
                    self.queue.clear();
                    return Err(error);
                }
            }
            if self.ended
                && let Some(error) = self.undelivered.take()
            {
                self.queue.clear();
                return Err(error);
            }
        }
    }

    /// As [`ShellOutput::restarted`](super::ShellOutput::restarted); known from the beginning.
    pub fn restarted(&self) -> bool {
        self.restarted
    }

    /// As [`ShellOutput::ended`](super::ShellOutput::ended); known when the events have ended.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// As [`ShellOutput::cwd`](super::ShellOutput::cwd); known when the events have ended, and until then the
    /// directory in which the command began.
    pub fn cwd(&self) -> Option<&str> {
        self.cwd.as_deref()
    }

    /// What happens next. Time comes first, so that a command that is never silent ends too.
    async fn happening(&mut self, child: &dyn Child) -> Happening {
        let mut event = child.next_event();
        poll_fn(|cx| {
            let idle = self.idle.as_mut().map(|idle| &mut idle.end);
            for sleep in self.deadline.as_mut().into_iter().chain(idle) {
                if sleep.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Happening::Late);
                }
            }
            if let Some(work) = &mut self.work
                && let Poll::Ready(result) = work.as_mut().poll(cx)
            {
                self.work = None;
                return Poll::Ready(Happening::Done(result));
            }
            Pin::new(&mut event).poll(cx).map(Happening::Told)
        })
        .await
    }

    fn done(&mut self, result: Result<()>) {
        match (self.verdict, result) {
            (_, Ok(())) => {}
            (Some(status), Err(_)) => self.end(status, None),
            (None, Err(error)) => {
                let undelivered = fail(ErrorKind::Unavailable, "run")
                    .with_message("the shell had ended before it got the command")
                    .with_retry(Retry::After(None));
                self.undelivered = Some(undelivered.with_source(error));
                self.kill(ExitStatus::Lost);
            }
        }
    }

    /// Takes what the shell tells.
    pub(super) fn take(&mut self, event: ExecEvent) {
        match event {
            ExecEvent::Stdout(piece) => self.output(OutputStream::Stdout, piece),
            ExecEvent::Stderr(piece) => self.output(OutputStream::Stderr, piece),
            ExecEvent::Exited(status) => self.exited = Some(status),
            // What the process threw away unasked may be the answer.
            ExecEvent::Truncated { .. } => self.kill(ExitStatus::Lost),
        }
        if self.reply.is_complete() && self.verdict.is_none() && self.exited.is_none() {
            match self.reply.answer() {
                Some(answer) => self.end(ExitStatus::Code(answer.status), Some(answer)),
                None => self.kill(ExitStatus::Lost),
            }
        }
    }

    fn output(&mut self, stream: OutputStream, piece: Bytes) {
        if let Some(idle) = &mut self.idle {
            idle.end = self.clock.sleep(idle.timeout);
        }
        let (limited, queue) = match stream {
            OutputStream::Stdout => (&mut self.stdout, &mut self.queue),
            OutputStream::Stderr => (&mut self.stderr, &mut self.queue),
        };
        self.reply.push(stream, piece, &mut |bytes| queue.extend(limited.push(bytes)));
        if limited.is_exceeded() {
            self.kill(ExitStatus::OutputLimit);
        }
    }

    /// Begins to kill the shell, whose end is awaited for a while.
    fn kill(&mut self, status: ExitStatus) {
        let Some(shell) = self.shell.as_ref().filter(|_| self.verdict.is_none()) else { return };
        let child = shell.child();
        self.verdict = Some(status);
        self.work = Some(Box::pin(async move { child.kill().await }));
        self.deadline = Some(self.clock.sleep(PATIENCE));
        self.idle = None;
    }

    /// Tells the rest. The shell goes back if it has answered, and ends if it has not.
    fn end(&mut self, status: ExitStatus, answer: Option<Answer>) {
        (self.work, self.deadline, self.idle) = (None, None, None);
        for (stream, limited) in
            [(OutputStream::Stdout, &mut self.stdout), (OutputStream::Stderr, &mut self.stderr)]
        {
            self.queue.extend(limited.push(&self.reply.finish(stream)));
            self.queue.extend(std::iter::from_fn(|| limited.finish()));
        }
        self.queue.push_back(ExecEvent::Exited(status));
        self.ended = answer.is_none();
        let turn = self.turn.take();
        // Dropped before `turn`, as above.
        let shell = self.shell.take();
        if let (Some(answer), Some(mut turn)) = (answer, turn) {
            self.cwd.clone_from(&answer.directory);
            *turn = Turn { shell, directory: answer.directory, status: answer.status, lost: false };
        }
    }
}

impl fmt::Debug for ShellCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShellCommand")
            .field("shell", &self.shell)
            .field("verdict", &self.verdict)
            .field("restarted", &self.restarted)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{Either, select, try_join},
};

use super::{fail, frame, frame::Mark, reply::Reply};
use crate::{
    Child, Clock, ErrorKind, ExecEvent, ExecRequest, ExitStatus, OutputLimit, OutputStream, Process, Result,
    Retry, Stdin,
};

/// How long a shell may take until it answers for the first time.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much of what waits is read before a command, in events.
const WAITING: usize = 16;
/// How much is told of what a shell wrote that did not start.
const LAST_WORDS: usize = 300;

/// A shell that waits for a command.
#[derive(Debug)]
pub(super) struct Shell {
    child: Arc<dyn Child>,
    answer: String,
}

impl Shell {
    /// Starts a shell, and waits until it has answered.
    pub(super) async fn open(
        process: &dyn Process,
        clock: &dyn Clock,
        mut request: ExecRequest,
        directory: Option<&str>,
        mark: &Mark,
    ) -> Result<Self> {
        request.stdin = Stdin::Piped;
        (request.timeout, request.idle_timeout, request.terminal) = (None, None, None);
        request.output_limit = OutputLimit::none();
        let child: Arc<dyn Child> = Arc::from(process.spawn(request).await?);
        let answer = mark.function();
        let prologue = frame::prologue(&answer, directory, mark);
        let ready = Box::pin(ready(&*child, prologue.into(), mark));
        match select(ready, clock.sleep(PATIENCE)).await {
            Either::Left((ready, _)) => ready?,
            Either::Right(_) => {
                return Err(fail(ErrorKind::TimedOut, "start").with_message("the shell does not answer"));
            }
        }
        Ok(Self { child, answer })
    }

    /// Itself and the output that waits, or `None` if it has ended in the meantime.
    pub(super) fn waiting(self) -> Option<(Self, Vec<ExecEvent>)> {
        let mut events = Vec::new();
        while events.len() < WAITING
            && let Some(event) = self.child.next_event().now_or_never()
        {
            match event {
                Ok(Some(ExecEvent::Exited(_)) | None) | Err(_) => return None,
                Ok(Some(event)) => events.push(event),
            }
        }
        Some((self, events))
    }

    pub(super) fn child(&self) -> Arc<dyn Child> {
        Arc::clone(&self.child)
    }

    /// The name of the function by which it answers.
    pub(super) fn answer(&self) -> &str {
        &self.answer
    }
}

/// Tells the shell how to answer, and reads its first answer.
async fn ready(child: &dyn Child, prologue: Bytes, mark: &Mark) -> Result<()> {
    let write = async {
        // A shell that is not there reads nothing; how it ended says more.
        match child.write_stdin(prologue).await {
            Err(error) if error.kind() != ErrorKind::Unavailable => Err(error),
            _ => Ok(()),
        }
    };
    let read = async {
        let mut reply = Reply::new(mark);
        let (mut words, mut status) = (Vec::new(), ExitStatus::Lost);
        while let Some(event) = child.next_event().await? {
            match event {
                ExecEvent::Stdout(piece) => reply.push(OutputStream::Stdout, piece, &mut |_| ()),
                ExecEvent::Stderr(piece) => reply.push(OutputStream::Stderr, piece, &mut |text| {
                    words.extend(text.iter().take(LAST_WORDS.saturating_sub(words.len())));
                }),
                ExecEvent::Truncated { .. } => {}
                ExecEvent::Exited(exited) => status = exited,
            }
            if reply.is_complete() {
                return Ok(());
            }
        }
        let words = String::from_utf8_lossy(&words).trim().to_owned();
        let kind = if status == ExitStatus::Code(127) { ErrorKind::NotFound } else { ErrorKind::Unavailable };
        let error = fail(kind, "start").with_message(format!("the shell ended at once ({status}): {words}"));
        Err(if kind == ErrorKind::NotFound { error } else { error.with_retry(Retry::After(None)) })
    };
    try_join(write, read).await.map(|_| ())
}

use bytes::BytesMut;

use super::{ExecEvent, ExecOutput, ExecRequest, ExitStatus, OutputStream, Process};
use crate::Result;

/// What callers want most, in terms of `spawn`. Every [`Process`] has it.
pub trait ProcessExt: Process {
    /// Runs a command to its end and gives what it wrote. Memory is bounded by the request's output limit, twice.
    /// Dropping the future kills the command and everything that it started.
    ///
    /// # Errors
    /// Those of [`Process::spawn`] and of [`Child::next_event`](crate::Child::next_event). A command that fails is
    /// no error: look at the status.
    fn exec(&self, request: ExecRequest) -> impl Future<Output = Result<ExecOutput>> + Send {
        async move {
            let child = self.spawn(request).await?;
            let mut output = ExecOutput::new(ExitStatus::Lost);
            let (mut stdout, mut stderr) = (BytesMut::new(), BytesMut::new());
            while let Some(event) = child.next_event().await? {
                match event {
                    ExecEvent::Stdout(bytes) => stdout.extend_from_slice(&bytes),
                    ExecEvent::Stderr(bytes) => stderr.extend_from_slice(&bytes),
                    ExecEvent::Truncated { stream: OutputStream::Stdout, dropped } => {
                        output.stdout_dropped = dropped;
                        output.stdout_head = stdout.len();
                    }
                    ExecEvent::Truncated { stream: OutputStream::Stderr, dropped } => {
                        output.stderr_dropped = dropped;
                        output.stderr_head = stderr.len();
                    }
                    ExecEvent::Exited(status) => output.status = status,
                }
            }
            if output.stdout_dropped == 0 {
                output.stdout_head = stdout.len();
            }
            if output.stderr_dropped == 0 {
                output.stderr_head = stderr.len();
            }
            output.stdout = stdout.freeze();
            output.stderr = stderr.freeze();
            Ok(output)
        }
    }
}

impl<T: Process + ?Sized> ProcessExt for T {}

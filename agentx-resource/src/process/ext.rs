use super::{ExecOutput, ExecRequest, Process, collect::Collector};
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
            let mut output = Collector::default();
            while let Some(event) = child.next_event().await? {
                output.push(event);
            }
            Ok(output.finish())
        }
    }
}

impl<T: Process + ?Sized> ProcessExt for T {}

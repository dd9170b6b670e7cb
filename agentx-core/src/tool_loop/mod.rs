//! The loop that makes a driver of a model: call, run the tools that it asks for, call again.

mod run;
mod tools;

use futures::{FutureExt, StreamExt, future, stream};

use self::run::Run;
use crate::{Driver, DriverStream, Model, Turn};

/// A [`Driver`] over any single-call [`Model`].
///
/// Tool calls of one answer run in parallel, at most [`ToolLoop::with_parallel_tools`] at a time. Each is first put to
/// the turn's [`Permission`](crate::Permission). The loop ends when the model asks for no more tools, or at a bound
/// of the turn's [`Budget`](crate::Budget). An answer of more than 64 MiB fails the turn.
#[derive(Debug)]
pub struct ToolLoop<M> {
    model: std::sync::Arc<M>,
    parallel_tools: usize,
}

impl<M: Model> ToolLoop<M> {
    /// A loop over `model`, with at most 8 tools at a time.
    pub fn new(model: M) -> Self {
        Self { model: std::sync::Arc::new(model), parallel_tools: 8 }
    }

    /// Runs at most so many tools at a time; at least one.
    pub fn with_parallel_tools(mut self, count: usize) -> Self {
        self.parallel_tools = count.max(1);
        self
    }
}

impl<M: Model> Driver for ToolLoop<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn start(&self, turn: Turn) -> DriverStream {
        let deadline = match turn.budget.duration {
            Some(duration) => turn.clock.sleep(duration),
            None => future::pending().boxed(),
        };
        let run = Run::new(self.model.clone(), turn, self.parallel_tools);
        stream::unfold((run, deadline), |(mut run, mut deadline)| async move {
            run.next(&mut deadline).await.map(|event| (event, (run, deadline)))
        })
        .boxed()
    }
}

//! The loop that makes a driver of a model: call, run the tools that it asks for, call again.

mod calls;
mod judge;
mod meter;
mod run;

use std::sync::Arc;

use futures::{StreamExt, stream};

use self::run::Run;
use crate::{Driver, DriverStream, Model, ModelTable, Turn};

/// A [`Driver`] over any single-call [`Model`].
///
/// Each tool call is put to the turn's [`Hook`](crate::Hook)s and to its [`Permission`](crate::Permission), in the
/// model's order. What is allowed runs in parallel, at most [`ToolLoop::with_parallel_tools`] at a time; calls that need
/// an approval wait for it meanwhile. The loop ends when the model asks for no more tools, or at a bound of the turn's
/// [`Budget`](crate::Budget). An answer of more than 64 MiB fails the turn.
#[derive(Debug)]
pub struct ToolLoop<M> {
    model: Arc<M>,
    options: Options,
}

#[derive(Clone, Debug)]
struct Options {
    parallel_tools: usize,
    models: Arc<ModelTable>,
}

impl<M: Model> ToolLoop<M> {
    /// A loop over `model`, with at most 8 tools at a time and the models that the library knows.
    pub fn new(model: M) -> Self {
        let options = Options { parallel_tools: 8, models: Arc::new(ModelTable::known()) };
        Self { model: Arc::new(model), options }
    }

    /// Runs at most so many tools at a time; at least one.
    pub fn with_parallel_tools(mut self, count: usize) -> Self {
        self.options.parallel_tools = count.max(1);
        self
    }

    /// Goes by these prices and context windows.
    pub fn with_models(mut self, models: ModelTable) -> Self {
        self.options.models = Arc::new(models);
        self
    }
}

impl<M: Model> Driver for ToolLoop<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn start(&self, turn: Turn) -> DriverStream {
        let run = Run::new(self.model.clone(), turn, self.options.clone());
        stream::unfold(run, |mut run| async move { run.next().await.map(|event| (event, run)) }).boxed()
    }
}

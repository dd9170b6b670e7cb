//! The loop that makes a driver of a model: call, run the tools that it asks for, call again.

mod calls;
mod context;
mod course;
mod frame;
mod judge;
mod meter;
mod metered;
mod run;

use std::sync::Arc;

use futures::StreamExt;

pub use self::frame::{CallStream, TurnFrame};
use self::{course::Course, run::Run};
use crate::{Compactor, Driver, DriverStream, Model, ModelTable, SummaryCompactor, Turn};

/// A [`Driver`] over any single-call [`Model`].
///
/// Each tool call is put to the turn's [`Hook`](crate::Hook)s and to its [`Permission`](crate::Permission), in the
/// model's order. What is allowed runs in parallel, at most [`ToolLoop::with_parallel_tools`] at a time; calls that need
/// an approval wait for it meanwhile. The loop ends when the model asks for no more tools, or at a bound of the turn's
/// [`Budget`](crate::Budget). A conversation that grows too long for the model is put to a [`Compactor`]. An answer of more than 64 MiB fails the turn.
#[derive(Debug)]
pub struct ToolLoop<M> {
    model: Arc<M>,
    options: Options,
}

#[derive(Clone, Debug)]
struct Options {
    parallel_tools: usize,
    models: Arc<ModelTable>,
    compactor: Option<Arc<dyn Compactor>>,
    /// The share of a window from which on the conversation is compacted, in percent.
    share: u8,
    window: Option<u64>,
}

impl<M: Model> ToolLoop<M> {
    /// A loop over `model`, with at most 8 tools at a time, the models that the library knows, and a
    /// [`SummaryCompactor`].
    pub fn new(model: M) -> Self {
        let options = Options {
            parallel_tools: 8,
            models: Arc::new(ModelTable::known()),
            compactor: Some(Arc::new(SummaryCompactor::default())),
            share: 80,
            window: None,
        };
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

    /// Has this decide what becomes of conversations that grow too long.
    pub fn with_compactor(mut self, compactor: Arc<dyn Compactor>) -> Self {
        self.options.compactor = Some(compactor);
        self
    }

    /// Lets conversations grow until their model takes them no longer.
    pub fn without_compactor(mut self) -> Self {
        self.options.compactor = None;
        self
    }

    /// Compacts a conversation once it has more than so many percent of the model's window: 80 unless it is set, and at
    /// most 100.
    pub fn with_compaction_at(mut self, percent: u8) -> Self {
        self.options.share = percent.min(100);
        self
    }

    /// Takes the model's window to have so many tokens, instead of what the table of models says; 200,000 for a model
    /// that is not in it.
    pub fn with_context_window(mut self, tokens: u64) -> Self {
        self.options.window = Some(tokens);
        self
    }
}

impl<M: Model> Driver for ToolLoop<M> {
    fn name(&self) -> &str {
        self.model.name()
    }

    fn start(&self, turn: Turn) -> DriverStream {
        let run = Run::new(self.model.clone(), turn, self.options.clone());
        Course::Rest(Box::new(run)).boxed()
    }
}

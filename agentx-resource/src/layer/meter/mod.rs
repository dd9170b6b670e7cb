mod counters;
mod snapshot;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::SystemTime,
};

use self::counters::Counters;
pub use self::snapshot::{MeterSnapshot, Usage};
use super::{
    Layer,
    around::{self, Around, Operation, Verb},
};
use crate::{Clock, Env, FileSystem, LLMProvider, Process, Result};

/// Counts what reaches a resource: operations, errors, bytes and time, by verb. What flows through bodies, writers and
/// children counts as it flows. All resources that one value wraps count together; a clone shows the same counts.
///
/// Bytes of a write count once it has succeeded, those of a writer or a command's input piece by piece.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, Layer, ResourcePath, layer::Meter};
/// use agentx_resource::memory::{ManualClock, MemoryFileSystem};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let meter = Meter::new(Arc::new(ManualClock::default()));
/// let fs = meter.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
/// fs.write_file(&ResourcePath::new("/a")?, "hello").await?;
/// let counted = meter.snapshot();
/// assert_eq!((counted.write.operations, counted.write.bytes_sent), (1, 5));
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Meter {
    clock: Arc<dyn Clock>,
    counters: Arc<Counters>,
}

impl Meter {
    /// A meter at zero, which takes times from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, counters: Arc::default() }
    }

    /// What was counted until now. Each figure is exact; operations under way may show in one and not yet in another.
    pub fn snapshot(&self) -> MeterSnapshot {
        self.counters.snapshot()
    }
}

impl Around for Meter {
    type Operation = Metered;

    async fn begin(&self, verb: Verb, _subject: &str) -> Metered {
        self.counters.of(verb).operation();
        Metered { meter: self.clone(), verb, failed: AtomicBool::new(false) }
    }
}

#[derive(Debug)]
pub(super) struct Metered {
    meter: Meter,
    verb: Verb,
    failed: AtomicBool,
}

impl Operation for Metered {
    async fn step<T, F>(&self, step: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let waiting = Waiting { operation: self, since: self.meter.clock.now() };
        let result = step.await;
        drop(waiting);
        if result.is_err() && !self.failed.swap(true, Relaxed) {
            self.meter.counters.of(self.verb).error();
        }
        result
    }

    fn sent(&self, bytes: usize) {
        self.meter.counters.of(self.verb).sent(bytes);
    }

    fn received(&self, bytes: usize) {
        self.meter.counters.of(self.verb).received(bytes);
    }
}

/// Counts the time of a step, also of one that is given up.
struct Waiting<'a> {
    operation: &'a Metered,
    since: SystemTime,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Metered { meter, verb, .. } = self.operation;
        // A clock that was set back has counted nothing.
        let waited = meter.clock.now().duration_since(self.since).unwrap_or_default();
        meter.counters.of(*verb).waited(waited);
    }
}

impl Layer<dyn FileSystem> for Meter {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        around::file_system(inner, self.clone())
    }
}

impl Layer<dyn Process> for Meter {
    fn layer(&self, inner: Arc<dyn Process>) -> Arc<dyn Process> {
        around::process(inner, self.clone())
    }
}

impl Layer<dyn Env> for Meter {
    fn layer(&self, inner: Arc<dyn Env>) -> Arc<dyn Env> {
        around::env(inner, self.clone())
    }
}

impl<S: Send + 'static> Layer<dyn LLMProvider<S>> for Meter {
    fn layer(&self, inner: Arc<dyn LLMProvider<S>>) -> Arc<dyn LLMProvider<S>> {
        around::llm_provider(inner, self.clone())
    }
}

#[cfg(test)]
mod tests;

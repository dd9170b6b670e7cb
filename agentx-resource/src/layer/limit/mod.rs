mod semaphore;

use std::{num::NonZeroUsize, sync::Arc};

use self::semaphore::{Permit, Semaphore};
use super::{
    Layer,
    around::{self, Around, Operation, Verb},
};
use crate::{Env, FileSystem, LLMProvider, Process, Result};

/// Lets a number of operations run at a time; the others wait in the order of asking. All resources that one value
/// wraps share the number.
///
/// An operation lasts until its body, list, writer or child has ended or is dropped. So who reads one file while
/// writing another needs two: a number that is smaller than what one caller holds at once makes it wait for itself. A
/// [`Timeout`](super::Timeout) around it bounds each wait.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, Layer, ResourcePath, layer::Limit, memory::MemoryFileSystem};
/// use std::{num::NonZeroUsize, sync::Arc};
///
/// # futures::executor::block_on(async {
/// let limit = Limit::new(NonZeroUsize::new(4).unwrap());
/// let fs = limit.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
/// let writer = fs.writer(&ResourcePath::new("/a")?, Default::default()).await?;
/// assert_eq!(limit.free(), 3);
/// writer.close().await?;
/// assert_eq!(limit.free(), 4);
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Limit {
    semaphore: Semaphore,
}

impl Limit {
    /// Lets `concurrent` operations run at a time.
    pub fn new(concurrent: NonZeroUsize) -> Self {
        Self { semaphore: Semaphore::new(concurrent.get()) }
    }

    /// How many more operations could run now.
    pub fn free(&self) -> usize {
        self.semaphore.free()
    }
}

impl Around for Limit {
    type Operation = Permit;

    async fn begin(&self, _verb: Verb, _subject: &str) -> Permit {
        self.semaphore.acquire().await
    }
}

impl Operation for Permit {
    async fn step<T, F>(&self, step: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        step.await
    }
}

impl Layer<dyn FileSystem> for Limit {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        around::file_system(inner, self.clone())
    }
}

impl Layer<dyn Process> for Limit {
    fn layer(&self, inner: Arc<dyn Process>) -> Arc<dyn Process> {
        around::process(inner, self.clone())
    }
}

impl Layer<dyn Env> for Limit {
    fn layer(&self, inner: Arc<dyn Env>) -> Arc<dyn Env> {
        around::env(inner, self.clone())
    }
}

impl<S: Send + 'static> Layer<dyn LLMProvider<S>> for Limit {
    fn layer(&self, inner: Arc<dyn LLMProvider<S>>) -> Arc<dyn LLMProvider<S>> {
        around::llm_provider(inner, self.clone())
    }
}

#[cfg(test)]
mod tests;

mod body;
mod env;
mod fs;
mod llm;

use std::{sync::Arc, time::Duration};

use self::{env::RetryEnv, fs::RetryFileSystem, llm::RetryLlmProvider};
use super::Layer;
use crate::{BoxFuture, Clock, Env, Error, FileSystem, LLMProvider, Result, Retry as Retryability};

/// Tries again what failed with `Retry::After`, as long as another try can do no harm.
///
/// Tried again are:
/// * reads, `stat`, `Env`, `LLMProvider`; a list until its first entry; the opening of a writer;
/// * a read body that breaks off: it goes on in the same version at the byte where it broke. Where the file has
///   changed, or has no versions, the error is told;
/// * `mkdir` with `recursive`, `rm` with `force`;
/// * a write with `CreateNew` or `IfMatch`, while a look shows that it had no effect: nothing is there yet, or still
///   the version that is replaced. Otherwise whether it took effect can't be told apart from another's write of the
///   same content, and the answer is `Lost`.
///
/// Nothing else is: not `Overwrite`, since a lost request may arrive behind a later write; not `Append`, `rename`,
/// `copy`, the pieces and the end of a writer; and no commands, so it does not wrap a `Process`.
///
/// The wait before the second try is `first_wait`, then twice as long each time up to `longest_wait`; or longer, where
/// the error names a time. A time beyond `longest_wait` is not waited for: the caller gets the error as it is. After
/// the last try the error says `Retry::Exhausted`.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, Layer, ResourcePath, layer::Retry};
/// use agentx_resource::memory::{ManualClock, MemoryFileSystem};
/// use std::{sync::Arc, time::Duration};
///
/// # futures::executor::block_on(async {
/// let retry = Retry::new(Arc::new(ManualClock::default())).with_attempts(5);
/// let fs = retry.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
/// assert!(!fs.exists(&ResourcePath::new("/a")?).await?);
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Retry {
    clock: Arc<dyn Clock>,
    attempts: u32,
    first_wait: Duration,
    longest_wait: Duration,
}

impl Retry {
    /// Tries 3 times in all, with waits of 100 ms to 30 s by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let (first_wait, longest_wait) = (Duration::from_millis(100), Duration::from_secs(30));
        Self { clock, attempts: 3, first_wait, longest_wait }
    }

    /// Tries so often in all; 0 counts as 1.
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Waits so long before the second try.
    pub fn with_first_wait(mut self, wait: Duration) -> Self {
        self.first_wait = wait;
        self
    }

    /// Never waits longer.
    pub fn with_longest_wait(mut self, wait: Duration) -> Self {
        self.longest_wait = wait;
        self
    }

    /// Repeats `operation` until it succeeds or may not be repeated.
    async fn run<'a, T: Send>(&self, operation: impl Fn() -> BoxFuture<'a, Result<T>> + Send) -> Result<T> {
        let mut tries = Tries::default();
        loop {
            match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => tries.wait(self, error).await?,
            }
        }
    }
}

/// How often something was tried in vain.
#[derive(Default)]
struct Tries(u32);

impl Tries {
    /// Waits for the next try.
    ///
    /// # Errors
    /// `error`, when there is none.
    async fn wait(&mut self, retry: &Retry, error: Error) -> Result<()> {
        let Retryability::After(named) = error.retry() else { return Err(error) };
        if self.0.saturating_add(1) >= retry.attempts {
            return Err(error.with_retry(Retryability::Exhausted));
        }
        let named = named.unwrap_or_default();
        if named > retry.longest_wait {
            return Err(error);
        }
        let doubled = retry.first_wait.saturating_mul(2_u32.saturating_pow(self.0)).min(retry.longest_wait);
        self.0 += 1;
        retry.clock.sleep(doubled.max(named)).await;
        Ok(())
    }
}

impl Layer<dyn FileSystem> for Retry {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        Arc::new(RetryFileSystem::new(inner, self.clone()))
    }
}

impl Layer<dyn Env> for Retry {
    fn layer(&self, inner: Arc<dyn Env>) -> Arc<dyn Env> {
        Arc::new(RetryEnv::new(inner, self.clone()))
    }
}

impl<S: Send + 'static> Layer<dyn LLMProvider<S>> for Retry {
    fn layer(&self, inner: Arc<dyn LLMProvider<S>>) -> Arc<dyn LLMProvider<S>> {
        Arc::new(RetryLlmProvider::new(inner, self.clone()))
    }
}

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use futures::future::{Either, select};

use super::{
    Layer,
    around::{self, Around, Operation, Verb},
};
use crate::{Clock, Env, Error, ErrorKind, FileSystem, LLMProvider, Process, Result, Retry};

/// Gives up what takes too long, with `TimedOut`: each call, each piece of a body, each entry of a list, each step of
/// a writer. A transfer that makes progress may take as long as it needs.
///
/// What is given up is dropped, which cancels it. A change that was under way may still take effect, whole or not at
/// all; a writer whose `write` timed out publishes nothing. The error says that another try may succeed
/// (`Retry::After(None)`).
///
/// A command takes as long as it takes: of a child, starting it, closing its input and killing it are bounded;
/// awaiting an event and writing input are not. [`ExecRequest::timeout`](crate::ExecRequest::timeout) bounds those.
///
/// ```
/// use agentx_resource::{ErrorKind, FileSystem, FileSystemExt, Layer, ResourcePath, layer::Timeout};
/// use agentx_resource::memory::{ManualClock, MemoryFileSystem};
/// use std::{sync::Arc, time::Duration};
///
/// # futures::executor::block_on(async {
/// let timeout = Timeout::new(Arc::new(ManualClock::default()), Duration::from_secs(30));
/// let fs = timeout.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
/// fs.write_file(&ResourcePath::new("/a")?, "in time").await?;
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Timeout {
    clock: Arc<dyn Clock>,
    allowed: Duration,
}

impl Timeout {
    /// Allows each step this long, by `clock`.
    pub fn new(clock: Arc<dyn Clock>, allowed: Duration) -> Self {
        Self { clock, allowed }
    }
}

impl Around for Timeout {
    type Operation = Bounded;

    async fn begin(&self, verb: Verb, subject: &str) -> Bounded {
        Bounded { timeout: self.clone(), verb, subject: subject.into() }
    }
}

#[derive(Debug)]
pub(super) struct Bounded {
    timeout: Timeout,
    verb: Verb,
    subject: Box<str>,
}

impl Operation for Bounded {
    async fn step<T, F>(&self, step: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let Timeout { clock, allowed } = &self.timeout;
        // The step is asked first: what is there counts, however late it is asked for.
        match select(Box::pin(step), clock.sleep(*allowed)).await {
            Either::Left((result, _)) => result,
            Either::Right(((), _)) => Err(Error::new(ErrorKind::TimedOut, self.verb.as_str())
                .with_path(&self.subject)
                .with_message(format!("no answer within {allowed:?}"))
                .with_retry(Retry::After(None))),
        }
    }

    async fn wait<T, F>(&self, wait: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        wait.await
    }
}

impl Layer<dyn FileSystem> for Timeout {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        around::file_system(inner, self.clone())
    }
}

impl Layer<dyn Process> for Timeout {
    fn layer(&self, inner: Arc<dyn Process>) -> Arc<dyn Process> {
        around::process(inner, self.clone())
    }
}

impl Layer<dyn Env> for Timeout {
    fn layer(&self, inner: Arc<dyn Env>) -> Arc<dyn Env> {
        around::env(inner, self.clone())
    }
}

impl<S: Send + 'static> Layer<dyn LLMProvider<S>> for Timeout {
    fn layer(&self, inner: Arc<dyn LLMProvider<S>>) -> Arc<dyn LLMProvider<S>> {
        around::llm_provider(inner, self.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        num::NonZeroUsize,
        sync::atomic::{AtomicU32, Ordering::SeqCst},
    };

    use futures::{FutureExt, StreamExt, executor::block_on};

    use super::{super::Limit, *};
    use crate::{
        ExecRequest, FileSystemExt, ListOptions, ReadOptions, ResourcePath, StatOptions, WriteOptions,
        memory::{ManualClock, MemoryFileSystem, MemoryProcess},
    };

    /// A file system that hangs while its one permit is held.
    fn hanging() -> (Arc<dyn FileSystem>, Limit, ManualClock) {
        let (limit, clock) = (Limit::new(NonZeroUsize::MIN), ManualClock::default());
        let fs = limit.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
        (Timeout::new(Arc::new(clock.clone()), Duration::from_secs(5)).layer(fs), limit, clock)
    }

    fn path(path: &str) -> ResourcePath {
        ResourcePath::new(path).unwrap()
    }

    #[test]
    fn a_call_and_a_list_are_given_up_in_time() {
        let (fs, limit, clock) = hanging();
        let permit = block_on(limit.begin(Verb::Stat, ""));
        let a = path("/a");
        let mut stat = fs.stat(&a, StatOptions::default());
        assert!((&mut stat).now_or_never().is_none());
        clock.advance(Duration::from_secs(4));
        assert!((&mut stat).now_or_never().is_none());
        clock.advance(Duration::from_secs(1));
        let error = block_on(stat).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::TimedOut, Some("/a")));
        assert_eq!((error.operation(), error.retry()), ("stat", Retry::After(None)));
        let mut entries = fs.list(&path("/"), ListOptions::default());
        assert!(entries.next().now_or_never().is_none());
        clock.advance(Duration::from_secs(5));
        assert_eq!(block_on(entries.next()).unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(block_on(entries.next()).is_none());
        drop(permit);
        assert_eq!(limit.free(), 1);
    }

    /// The step of this number hangs.
    #[derive(Clone, Debug)]
    struct Hang(u32, Arc<AtomicU32>);

    impl Around for Hang {
        type Operation = Self;

        async fn begin(&self, _verb: Verb, _subject: &str) -> Self {
            self.clone()
        }
    }

    impl Operation for Hang {
        async fn step<T, F>(&self, step: F) -> Result<T>
        where
            T: Send,
            F: Future<Output = Result<T>> + Send,
        {
            if self.1.fetch_add(1, SeqCst) == self.0 { std::future::pending().await } else { step.await }
        }
    }

    /// A file system that hangs at a step, and the tree below.
    fn hanging_at(step: u32) -> (Arc<dyn FileSystem>, MemoryFileSystem, ManualClock) {
        let (below, clock) = (MemoryFileSystem::new(), ManualClock::default());
        let fs = around::file_system(Arc::new(below.clone()), Hang(step, Arc::default()));
        (Timeout::new(Arc::new(clock.clone()), Duration::from_secs(5)).layer(fs), below, clock)
    }

    #[test]
    fn a_writer_whose_write_timed_out_publishes_nothing() {
        let (fs, below, clock) = hanging_at(1);
        block_on(async {
            let mut writer = fs.writer(&path("/a"), WriteOptions::default()).await.unwrap();
            let mut write = writer.write("x".into());
            assert!((&mut write).now_or_never().is_none());
            clock.advance(Duration::from_secs(5));
            assert_eq!(write.await.unwrap_err().kind(), ErrorKind::TimedOut);
            assert_eq!(writer.close().await.unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(!below.exists(&path("/a")).await.unwrap());
        });
    }

    #[test]
    fn a_silent_command_is_no_timeout() {
        let clock = ManualClock::default();
        let inner = MemoryProcess::new(Arc::new(clock.clone())).program("hang", |_| std::future::pending());
        let process = Timeout::new(Arc::new(clock.clone()), Duration::from_secs(5))
            .layer(Arc::new(inner) as Arc<dyn Process>);
        let child = block_on(process.spawn(ExecRequest::program("hang", [""; 0]))).unwrap();
        let mut event = child.next_event();
        assert!((&mut event).now_or_never().is_none());
        clock.advance(Duration::from_mins(1));
        assert!((&mut event).now_or_never().is_none());
    }

    #[test]
    fn a_body_that_stops_is_given_up() {
        let (fs, below, clock) = hanging_at(1);
        block_on(async {
            below.write_file(&path("/a"), "x").await.unwrap();
            let mut read = fs.read(&path("/a"), ReadOptions::default()).await.unwrap();
            assert!(read.body.next().now_or_never().is_none());
            clock.advance(Duration::from_secs(5));
            assert_eq!(read.body.next().await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
            assert!(read.body.next().await.is_none());
        });
    }
}

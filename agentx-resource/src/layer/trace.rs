use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tracing::{Instrument, Span, field::Empty};

use super::{
    Layer,
    around::{self, Around, Operation, Verb},
};
use crate::{Env, FileSystem, LLMProvider, Process, Result};

/// Opens a `tracing` span named `resource` for each operation, at level `DEBUG`, with these fields: `operation` (the
/// verb), `subject` (a path; the program of a command, or `shell`; the name of a variable or provider) and `outcome`
/// (`ok`, the kind of the first error, or `cancelled`). The span lasts as long as the operation: until its body,
/// list, writer or child has ended or is dropped. Contents, arguments, scripts and values are never shown.
///
/// Needs the feature `tracing`.
///
/// ```
/// use agentx_resource::{FileSystem, FileSystemExt, Layer, ResourcePath, layer::Trace, memory::MemoryFileSystem};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let fs = Trace.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
/// fs.write_file(&ResourcePath::new("/a")?, "not in the trace").await?;
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Trace;

impl Around for Trace {
    type Operation = Traced;

    async fn begin(&self, verb: Verb, subject: &str) -> Traced {
        let span = tracing::debug_span!("resource", operation = verb.as_str(), subject, outcome = Empty);
        Traced { span, told: AtomicBool::new(false) }
    }
}

#[derive(Debug)]
pub(super) struct Traced {
    span: Span,
    /// Whether the outcome is known.
    told: AtomicBool,
}

impl Traced {
    /// The first outcome counts.
    fn tell(&self, outcome: &'static str) {
        if !self.told.swap(true, Relaxed) {
            self.span.record("outcome", outcome);
        }
    }
}

impl Operation for Traced {
    async fn step<T, F>(&self, step: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let mut unfinished = Unfinished(Some(self));
        let result = step.instrument(self.span.clone()).await;
        unfinished.0 = None;
        if let Err(error) = &result {
            self.tell(error.kind().as_str());
        }
        result
    }

    async fn wait<T, F>(&self, wait: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        // Whoever awaits an event may stop, and ask again later.
        let result = wait.instrument(self.span.clone()).await;
        if let Err(error) = &result {
            self.tell(error.kind().as_str());
        }
        result
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        self.tell("ok");
    }
}

/// A step that is dropped before its end.
struct Unfinished<'a>(Option<&'a Traced>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(operation) = self.0 {
            operation.tell("cancelled");
        }
    }
}

impl Layer<dyn FileSystem> for Trace {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        around::file_system(inner, *self)
    }
}

impl Layer<dyn Process> for Trace {
    fn layer(&self, inner: Arc<dyn Process>) -> Arc<dyn Process> {
        around::process(inner, *self)
    }
}

impl Layer<dyn Env> for Trace {
    fn layer(&self, inner: Arc<dyn Env>) -> Arc<dyn Env> {
        around::env(inner, *self)
    }
}

impl<S: Send + 'static> Layer<dyn LLMProvider<S>> for Trace {
    fn layer(&self, inner: Arc<dyn LLMProvider<S>>) -> Arc<dyn LLMProvider<S>> {
        around::llm_provider(inner, *self)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::Debug,
        sync::{Mutex, atomic::AtomicU64},
    };

    use futures::executor::block_on;
    use tracing::{
        Metadata, Subscriber,
        field::{Field, Visit},
        span::{Attributes, Id, Record},
    };

    use super::*;
    use crate::{FileSystemExt, ReadOptions, ResourcePath, WriteOptions, memory::MemoryFileSystem};

    /// Writes down each field of each span.
    #[derive(Clone, Default)]
    struct Notes {
        lines: Arc<Mutex<Vec<String>>>,
        spans: Arc<AtomicU64>,
    }

    impl Visit for Notes {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.lines.lock().unwrap().push(format!("{field}={value:?}"));
        }
    }

    impl Subscriber for Notes {
        fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            span.record(&mut self.clone());
            Id::from_u64(self.spans.fetch_add(1, Relaxed) + 1)
        }

        fn record(&self, _span: &Id, values: &Record<'_>) {
            values.record(&mut self.clone());
        }

        fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

        fn event(&self, _event: &tracing::Event<'_>) {}

        fn enter(&self, _span: &Id) {}

        fn exit(&self, _span: &Id) {}
    }

    #[test]
    fn a_span_tells_verb_subject_and_outcome_and_no_content() {
        let notes = Notes::default();
        tracing::subscriber::with_default(notes.clone(), || {
            block_on(async {
                let fs = Trace.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
                let (a, b) = (ResourcePath::new("/a").unwrap(), ResourcePath::new("/b").unwrap());
                fs.write_file(&a, "s3cret").await.unwrap();
                let read = fs.read(&a, ReadOptions::default()).await.unwrap();
                assert_eq!(notes.lines.lock().unwrap().last().unwrap(), "subject=\"/a\"");
                drop(read);
                fs.read_file(&b).await.unwrap_err();
                let writer = fs.writer(&b, WriteOptions::default()).await.unwrap();
                writer.close().await.unwrap();
            });
        });
        let lines = notes.lines.lock().unwrap().join(" ");
        assert_eq!(
            lines,
            "operation=\"write\" subject=\"/a\" outcome=\"ok\" operation=\"read\" subject=\"/a\" outcome=\"ok\" \
             operation=\"read\" subject=\"/b\" outcome=\"not found\" operation=\"write\" subject=\"/b\" outcome=\"ok\""
        );
    }
}

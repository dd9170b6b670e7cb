//! A file system between a mirror and a tree, which counts the operations and does something at one of them.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use agentx_resource::{
    EntryStream, Error, ErrorKind, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata,
    MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, channel::oneshot, stream};

/// What happens at the operation with the number of a [`Script`], which begins at 0.
pub(crate) enum What {
    Nothing,
    /// It and all later ones never end: the program was killed before it.
    DiesBefore,
    /// It takes effect, and it and all later ones never end.
    DiesAfter,
    /// It fails, and has no effect.
    Fails,
    /// It takes effect, and its answer is lost.
    Unanswered,
    /// It and all later ones fail: the network is gone.
    Gone,
    /// Somebody does this right before it.
    Somebody(Box<dyn FnOnce() + Send>),
}

/// What happens to the operations on both trees, which are counted together.
pub(crate) struct Script {
    number: usize,
    what: Mutex<What>,
    count: AtomicUsize,
    died: Mutex<Option<oneshot::Sender<()>>>,
    log: Mutex<Vec<String>>,
}

impl Script {
    /// The script, and what tells that the program was killed.
    pub(crate) fn new(number: usize, what: What) -> (Arc<Self>, oneshot::Receiver<()>) {
        let (died, told) = oneshot::channel();
        let script = Self {
            number,
            what: Mutex::new(what),
            count: AtomicUsize::new(0),
            died: Mutex::new(Some(died)),
            log: Mutex::default(),
        };
        (Arc::new(script), told)
    }

    pub(crate) fn nothing() -> Arc<Self> {
        Self::new(usize::MAX, What::Nothing).0
    }

    /// How many operations there were.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// What was done up to and around the operation.
    pub(crate) fn log(&self) -> String {
        let log = self.log.lock().unwrap();
        let (start, end) = (self.number.saturating_sub(6).min(log.len()), (self.number + 6).min(log.len()));
        log[start..end].join("\n")
    }

    async fn die(&self) -> std::convert::Infallible {
        if let Some(died) = self.died.lock().unwrap().take() {
            died.send(()).ok();
        }
        futures::future::pending().await
    }

    async fn step<T>(&self, name: String, operation: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let number = self.count.fetch_add(1, Relaxed);
        self.log.lock().unwrap().push(format!("{number}: {name}"));
        let (mut dies, mut fails, mut dies_after, mut fails_after) = (false, false, false, false);
        match &mut *self.what.lock().unwrap() {
            What::DiesBefore => dies = number >= self.number,
            What::DiesAfter => (dies, dies_after) = (number > self.number, number == self.number),
            What::Fails => fails = number == self.number,
            What::Unanswered => fails_after = number == self.number,
            What::Gone => fails = number >= self.number,
            what @ What::Somebody(_) if number == self.number => {
                if let What::Somebody(act) = std::mem::replace(what, What::Nothing) {
                    act();
                }
            }
            What::Nothing | What::Somebody(_) => {}
        }
        if dies {
            self.die().await;
        }
        if fails {
            return Err(Error::new(ErrorKind::Unavailable, "test"));
        }
        let result = operation.await;
        if dies_after {
            self.die().await;
        }
        if fails_after { Err(Error::new(ErrorKind::Lost, "test")) } else { result }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct Tap {
    name: &'static str,
    inner: Arc<dyn FileSystem>,
    script: Arc<Script>,
}

impl Tap {
    pub(crate) fn around(
        name: &'static str,
        inner: Arc<dyn FileSystem>,
        script: &Arc<Script>,
    ) -> Arc<dyn FileSystem> {
        Arc::new(Self { name, inner, script: Arc::clone(script) })
    }

    async fn step<T>(
        &self,
        verb: &str,
        path: &ResourcePath,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.script.step(format!("{} {verb} {path}", self.name), operation).await
    }
}

#[async_trait]
impl FileSystem for Tap {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let mut read = self.step("read", path, self.inner.read(path, options)).await?;
        // Pieces of 300 KiB, each of which is an operation.
        let (script, name) = (Arc::clone(&self.script), format!("{} body {path}", self.name));
        read.body = read
            .body
            .flat_map(|piece| {
                let piece = piece.unwrap();
                let parts: Vec<Bytes> = (0..piece.len())
                    .step_by(300 << 10)
                    .map(|start| piece.slice(start..piece.len().min(start + (300 << 10))))
                    .collect();
                stream::iter(parts)
            })
            .then(move |part| {
                let (script, name) = (Arc::clone(&script), name.clone());
                async move { script.step(name, async { Ok(part) }).await }
            })
            .boxed();
        Ok(read)
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        self.step("write", path, self.inner.write(path, data, options)).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let inner = self.step("writer", path, self.inner.writer(path, options)).await?;
        let name = format!("{} writer {path}", self.name);
        Ok(Box::new(TapWriter { name, inner, script: Arc::clone(&self.script) }))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.step("stat", path, self.inner.stat(path, options)).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let (script, inner, path) = (Arc::clone(&self.script), Arc::clone(&self.inner), path.clone());
        let name = format!("{} list {path}", self.name);
        stream::once(async move {
            match script.step(name, async { Ok(inner.list(&path, options)) }).await {
                Ok(list) => list,
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        })
        .flatten()
        .boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.step("mkdir", path, self.inner.mkdir(path, options)).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.step("rm", path, self.inner.rm(path, options)).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.step("rename", from, self.inner.rename(from, to, options)).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.step("copy", from, self.inner.copy(from, to, options)).await
    }
}

#[derive(Debug)]
struct TapWriter {
    name: String,
    inner: Box<dyn FileWriter>,
    script: Arc<Script>,
}

#[async_trait]
impl FileWriter for TapWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.script.step(format!("{} write", self.name), self.inner.write(data)).await
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        self.script.step(format!("{} close", self.name), self.inner.close()).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.script.step(format!("{} abort", self.name), self.inner.abort()).await
    }
}

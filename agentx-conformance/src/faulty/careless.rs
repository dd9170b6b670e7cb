use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use agentx_resource::{
    DirEntry, EntryStream, Error, ErrorKind, FileRead, FileSystem, FileSystemExt, FileWriter, FsCapabilities,
    ListOptions, Metadata, MkdirOptions, ReadOptions, ReadRange, RemoveOptions, ResourcePath, Result,
    StatOptions, TransferOptions, WriteMode, WriteOptions, memory::MemoryFileSystem,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use super::FileSystemFault as Fault;

/// How many bodies or lists may be open at once where each that is dropped stays open.
const HANDLES: usize = 8;

/// A file system in memory whose fault is about what it waits for, what it holds open, or what it takes for nothing.
#[derive(Clone, Debug)]
pub(super) struct Careless {
    inner: MemoryFileSystem,
    fault: Fault,
    open: Arc<AtomicUsize>,
    locked: Arc<Mutex<BTreeSet<ResourcePath>>>,
}

impl Careless {
    pub(super) fn new(fault: Fault) -> Self {
        Self { inner: MemoryFileSystem::new(), fault, open: Arc::default(), locked: Arc::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn locked(&self) -> MutexGuard<'_, BTreeSet<ResourcePath>> {
        self.locked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A body or a list that gives its handle back at its end, and not when it is dropped before.
    fn held<T: Send + 'static>(
        &self,
        operation: &'static str,
        items: stream::BoxStream<'static, T>,
    ) -> Result<stream::BoxStream<'static, T>> {
        if self.open.fetch_add(1, Ordering::SeqCst) >= HANDLES {
            return Err(Error::new(ErrorKind::LimitExceeded, operation).with_message("too many open files"));
        }
        Ok(Held { items, open: Arc::clone(&self.open), ended: false }.boxed())
    }

    /// The files of a directory are removed, and its directories are not.
    async fn remove_files(&self, path: &ResourcePath) -> Result<()> {
        for entry in self.inner.readdir(path).await? {
            if let Some(path) = entry.path.filter(|_| entry.metadata.is_file()) {
                self.inner.rm(&path, RemoveOptions::default()).await?;
            }
        }
        Ok(())
    }

    /// Whether the root shows: not before something is in it, as on an object store.
    async fn root_shows(&self, path: &ResourcePath) -> Result<bool> {
        Ok(!path.is_root() || !self.inner.readdir(path).await?.is_empty())
    }
}

/// As an adapter does that has one word for whatever is wrong with a parent.
fn confused(error: Error) -> Error {
    match (error.kind(), error.path()) {
        (ErrorKind::NotADirectory, Some(path)) => {
            Error::new(ErrorKind::NotFound, error.operation().to_owned()).with_path(path)
        }
        _ => error,
    }
}

struct Held<T> {
    items: stream::BoxStream<'static, T>,
    open: Arc<AtomicUsize>,
    ended: bool,
}

impl<T> Stream for Held<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let next = self.items.poll_next_unpin(cx);
        if matches!(next, Poll::Ready(None)) && !self.ended {
            self.ended = true;
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
        next
    }
}

#[async_trait]
impl FileSystem for Careless {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, mut options: ReadOptions) -> Result<FileRead> {
        match (self.fault, &options.range) {
            (Fault::BusyReader | Fault::LocksRead, _) => {
                let mine = self.locked().insert(path.clone());
                if !mine {
                    return Err(Error::new(ErrorKind::Busy, "read").with_path(path));
                }
                tokio::task::yield_now().await;
                self.locked().remove(path);
            }
            (Fault::RefusesLongLast, Some(ReadRange::Last(count)))
                if *count > self.inner.metadata(path).await?.len =>
            {
                return Err(Error::new(ErrorKind::InvalidInput, "read").with_path(path));
            }
            (Fault::ForgivesInverted, Some(ReadRange::Bounded(range))) if range.end < range.start => {
                options.range = Some(ReadRange::Bounded(range.start..range.start));
            }
            _ => {}
        }
        let conditional = options.if_match.is_some();
        let mut read = match self.inner.read(path, options).await {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.fault {
                Fault::MissingIsEmpty => FileRead::new(Metadata::file(0), 0..0, stream::empty().boxed()),
                Fault::MissingIsChanged if conditional => {
                    return Err(Error::new(ErrorKind::ConditionFailed, "read").with_path(path));
                }
                _ => return Err(error),
            },
            read => read?,
        };
        if self.has(Fault::LeaksBodies) {
            read.body = self.held("read", read.body)?;
        }
        Ok(read)
    }

    async fn write(&self, path: &ResourcePath, mut data: Bytes, options: WriteOptions) -> Result<Metadata> {
        match self.fault {
            Fault::ForgetsEmptyWrites if data.is_empty() && !self.inner.exists(path).await? => {
                return Ok(Metadata::file(0));
            }
            Fault::TranslatesNewlines => {
                let text: Vec<u8> = data
                    .iter()
                    .zip(data.iter().skip(1).map(Some).chain([None]))
                    .filter(|(byte, next)| (**byte, next.copied()) != (b'\r', Some(b'\n')))
                    .map(|(byte, _)| *byte)
                    .collect();
                data = text.into();
            }
            Fault::LeavesTail if options.mode == WriteMode::Overwrite => {
                if let Ok(before) = self.inner.read_file(path).await
                    && let Some(tail) = before.get(data.len()..)
                {
                    data = [&data, tail].concat().into();
                }
            }
            _ => {}
        }
        let written = self.inner.write(path, data, options).await;
        if self.has(Fault::ConfusesParents) { written.map_err(confused) } else { written }
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let writer = self.inner.writer(path, options).await;
        if self.has(Fault::ConfusesParents) { writer.map_err(confused) } else { writer }
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        let found = self.inner.stat(path, options).await;
        let parent = path.parent().unwrap_or_else(ResourcePath::root);
        match (self.fault, &found) {
            (Fault::HidesEmptyRoot, Ok(_)) if !self.root_shows(path).await? => {
                Err(Error::new(ErrorKind::NotFound, "stat").with_path(path))
            }
            (Fault::FindsByPrefix, Err(_)) => {
                let beside = self.inner.readdir(&parent).await.unwrap_or_default();
                let begins = |entry: &DirEntry| {
                    entry.path.as_ref().is_some_and(|found| found.as_str().starts_with(path.as_str()))
                };
                if beside.iter().any(begins) { Ok(Metadata::directory()) } else { found }
            }
            (Fault::FindsBelowFiles, Err(_)) => match self.inner.metadata(&parent).await {
                Ok(above) if above.is_file() => Ok(above),
                _ => found,
            },
            _ => found,
        }
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let entries = self.inner.list(path, options);
        match self.fault {
            Fault::LeaksLists => match self.held("list", entries) {
                Ok(entries) => entries,
                Err(error) => stream::iter([Err(error)]).boxed(),
            },
            Fault::HidesEmptyRoot => {
                let (fs, path) = (self.clone(), path.clone());
                let start = async move {
                    match fs.root_shows(&path).await {
                        Ok(true) => entries,
                        Ok(false) => {
                            let error = Error::new(ErrorKind::NotFound, "list").with_path(&path);
                            stream::iter([Err(error)]).boxed()
                        }
                        Err(error) => stream::iter([Err(error)]).boxed(),
                    }
                };
                stream::once(start).flatten().boxed()
            }
            _ => entries,
        }
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        if self.has(Fault::RacyMkdir) && options.recursive && !self.inner.exists(path).await? {
            if let Some(parent) = path.parent() {
                self.mkdir(&parent, options).await?;
            }
            super::dawdle().await;
            return self.inner.mkdir(path, MkdirOptions::default()).await;
        }
        let made = self.inner.mkdir(path, options).await;
        if self.has(Fault::ConfusesParents) { made.map_err(confused) } else { made }
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        let found = self.inner.metadata(path).await.ok().filter(|_| !path.is_root());
        match (self.fault, found) {
            (Fault::RemovesInSteps, Some(found)) if found.is_file() => {
                self.inner.write_file(path, "").await?;
                tokio::task::yield_now().await;
            }
            (Fault::RemovesOnlyFiles, Some(found)) if found.is_dir() && options.recursive => {
                return self.remove_files(path).await;
            }
            _ => {}
        }
        self.inner.rm(path, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let found = (self.inner.metadata(from).await.ok(), self.inner.metadata(to).await.ok());
        match (self.fault, found) {
            (Fault::RefusesEmptyTarget, (Some(_), Some(target))) if target.is_dir() && from != to => {
                return Err(Error::new(ErrorKind::DirectoryNotEmpty, "rename").with_path(to));
            }
            (Fault::RenamesByPrefix, (Some(source), None)) if source.is_dir() && !from.is_root() => {
                let parent = from.parent().unwrap_or_else(ResourcePath::root);
                for beside in self.inner.readdir(&parent).await?.into_iter().filter_map(|entry| entry.path) {
                    let rest = beside.as_str().strip_prefix(from.as_str()).filter(|rest| !rest.is_empty());
                    if let Some(rest) = rest {
                        let target = ResourcePath::new(format!("{to}{rest}"))?;
                        self.inner.rename(&beside, &target, options.clone()).await?;
                    }
                }
            }
            _ => {}
        }
        let renamed = self.inner.rename(from, to, options).await;
        if self.has(Fault::ConfusesParents) { renamed.map_err(confused) } else { renamed }
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        match self.fault {
            Fault::CopiesInPlace if from != to && self.inner.metadata(from).await?.is_file() => {
                let content = self.inner.read_file(from).await?;
                // Asked first, so that what is refused changes nothing.
                self.inner.copy(from, to, options).await?;
                self.inner.write_file(to, content.slice(..content.len() / 2)).await?;
                tokio::task::yield_now().await;
                return self.inner.write_file(to, content).await.map(|_| ());
            }
            Fault::CopiesNothingEmpty
                if self.inner.metadata(from).await.is_ok_and(|found| found.is_file() && found.len == 0) =>
            {
                return Ok(());
            }
            Fault::CopyNeverReplaces
                if from != to && self.inner.metadata(to).await.is_ok_and(|found| found.is_file()) =>
            {
                return self.inner.copy(from, to, TransferOptions::create_new()).await;
            }
            _ => {}
        }
        let copied = self.inner.copy(from, to, options).await;
        if self.has(Fault::ConfusesParents) { copied.map_err(confused) } else { copied }
    }
}

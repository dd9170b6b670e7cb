use std::sync::Arc;

use agentx_resource::{
    ConditionStrength, DirEntry, EntryStream, ErrorKind, FileRead, FileSystem, FileWriter, FsCapabilities,
    ListOptions, Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions,
    TransferOptions, WriteMode, WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future, stream};

use super::state::{Hold, Shared, Warm};
use crate::container::http::fail;

/// What the mirror's own notes at the root begin with.
const NOTES: &str = "/.agentx-mirror";

/// The files, wherever the tree is.
#[derive(Debug)]
pub(super) struct LazyFiles {
    shared: Arc<Shared>,
    capabilities: FsCapabilities,
}

/// The tree at its place, which it does not leave meanwhile.
struct Place {
    shared: Arc<Shared>,
    warm: Option<Arc<Warm>>,
    hold: Hold,
}

impl LazyFiles {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let store = shared.store.capabilities();
        // What a container's directory has, as far as the store has it, too.
        let mut both = FsCapabilities::new().with_symlinks();
        both.append = store.append;
        both.if_match = store.if_match.map(|_| ConditionStrength::Cooperative);
        both.atomic_rename = store.atomic_rename;
        both.atomic_dir_rename = store.atomic_dir_rename;
        Self { shared, capabilities: both }
    }

    async fn place(&self) -> Place {
        let (warm, hold) = self.shared.hold().await;
        Place { shared: Arc::clone(&self.shared), warm, hold }
    }

    /// Refuses a mode that holds in one place alone.
    fn check(&self, operation: &'static str, path: &ResourcePath, mode: &WriteMode) -> Result<()> {
        let declared = match mode {
            WriteMode::Append => self.capabilities.append,
            WriteMode::IfMatch(_) => self.capabilities.if_match.is_some(),
            _ => true,
        };
        if declared {
            return Ok(());
        }
        Err(fail(ErrorKind::Unsupported, operation)
            .with_path(path)
            .with_message("the store does not have this, and so it is not done in the container"))
    }
}

impl Place {
    fn files(&self) -> &dyn FileSystem {
        match &self.warm {
            Some(warm) => &*warm.files,
            None => &*self.shared.store,
        }
    }

    async fn judged<T>(self, result: Result<T>) -> Result<(T, Hold)> {
        match (result, &self.warm) {
            (Ok(value), _) => Ok((value, self.hold)),
            (Err(error), Some(warm)) => Err(self.shared.judge(warm, error).await),
            (Err(error), None) => Err(error),
        }
    }
}

/// What is told of a file in both places: permission bits are not mirrored.
fn common(mut metadata: Metadata) -> Metadata {
    metadata.mode = None;
    metadata
}

/// Whether an entry is the tree's own.
fn is_own(entry: &DirEntry) -> bool {
    !entry.path.as_ref().is_some_and(|path| path.as_str().starts_with(NOTES))
}

#[async_trait]
impl FileSystem for LazyFiles {
    fn capabilities(&self) -> FsCapabilities {
        self.capabilities
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let place = self.place().await;
        let read = place.files().read(path, options).await;
        let (read, hold) = place.judged(read).await?;
        // The tree stays while the content is read.
        let body = read.body.inspect(move |_| {
            let _ = &hold;
        });
        Ok(FileRead::new(common(read.metadata), read.range, body.boxed()))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        self.check("write", path, &options.mode)?;
        let place = self.place().await;
        let written = place.files().write(path, data, options).await;
        place.judged(written).await.map(|(metadata, _)| common(metadata))
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        self.check("writer", path, &options.mode)?;
        let place = self.place().await;
        let writer = place.files().writer(path, options).await;
        let (shared, warm) = (Arc::clone(&place.shared), place.warm.clone());
        let (writer, hold) = place.judged(writer).await?;
        Ok(Box::new(LazyWriter { writer, shared, warm, _hold: hold }))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        let place = self.place().await;
        let found = place.files().stat(path, options).await;
        place.judged(found).await.map(|(metadata, _)| common(metadata))
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let (shared, path) = (Arc::clone(&self.shared), path.clone());
        let entries = async move {
            let (warm, hold) = shared.hold().await;
            let place = Place { shared, warm, hold };
            let entries = place.files().list(&path, options);
            // The tree stays while it is listed.
            stream::unfold(Some((entries, place)), |state| async move {
                let (mut entries, place) = state?;
                match entries.next().await? {
                    Ok(entry) => Some((Ok(entry), Some((entries, place)))),
                    Err(error) => {
                        let judged = place.judged(Err::<(), _>(error)).await;
                        judged.err().map(|error| (Err(error), None))
                    }
                }
            })
        };
        stream::once(entries)
            .flatten()
            .try_filter(|entry| future::ready(is_own(entry)))
            .map_ok(|mut entry| {
                entry.metadata = common(entry.metadata);
                entry
            })
            .boxed()
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        let place = self.place().await;
        let made = place.files().mkdir(path, options).await;
        place.judged(made).await.map(|_| ())
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        let place = self.place().await;
        let removed = place.files().rm(path, options).await;
        place.judged(removed).await.map(|_| ())
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let place = self.place().await;
        let renamed = place.files().rename(from, to, options).await;
        place.judged(renamed).await.map(|_| ())
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let place = self.place().await;
        let copied = place.files().copy(from, to, options).await;
        place.judged(copied).await.map(|_| ())
    }
}

#[derive(Debug)]
struct LazyWriter {
    writer: Box<dyn FileWriter>,
    shared: Arc<Shared>,
    warm: Option<Arc<Warm>>,
    _hold: Hold,
}

impl LazyWriter {
    async fn judged<T>(shared: &Shared, warm: Option<&Arc<Warm>>, result: Result<T>) -> Result<T> {
        match (result, warm) {
            (Err(error), Some(warm)) => Err(shared.judge(warm, error).await),
            (result, _) => result,
        }
    }
}

#[async_trait]
impl FileWriter for LazyWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let written = self.writer.write(data).await;
        Self::judged(&self.shared, self.warm.as_ref(), written).await
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let closed = self.writer.close().await;
        Self::judged(&self.shared, self.warm.as_ref(), closed).await.map(common)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let aborted = self.writer.abort().await;
        Self::judged(&self.shared, self.warm.as_ref(), aborted).await
    }
}

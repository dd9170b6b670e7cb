//! Between a mirror and its trees: what makes it a mirror with one fault, or a tree that can do less.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use agentx_resource::{
    EntryStream, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata, MkdirOptions,
    ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions, Version, WriteMode,
    WriteOptions, mirror::Side,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::world::path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A tree without conditions, versions and renames at once. A mirror of it settles, and promises less.
    Lesser,
    /// It writes over whatever is there.
    IgnoresVersions,
    /// What it creates replaces what has come there meanwhile.
    CreatesOver,
    /// It removes what lost a conflict.
    LosesConflicts,
    /// A new name is taken also where it is not free.
    RenamesOver,
    /// What it moves is copied, and then removed.
    MovesInTwoSteps,
    /// It removes what it last saw to be unchanged, without another look.
    RemovesUnseen,
    /// It removes a directory with all that is in it.
    RemovesWhole,
    /// It takes what is to be removed aside, and leaves it there.
    ForgetsRemovals,
    /// It never writes its state.
    ForgetsState,
    /// It writes its state, and then the files that the state tells of.
    StateBeforeData,
    /// It takes all contents of a path for one.
    SeesNoVersions,
    /// It does not see its markers.
    OverlooksMarkers,
    /// Its remote tree leaves a file out of lists. That is the tree's fault, and must not cost the file.
    ShortLists,
}

/// A tree of a mirror that has this fault.
#[derive(Debug)]
pub(crate) struct Broken {
    fault: Fault,
    side: Side,
    inner: Arc<dyn FileSystem>,
    shared: Arc<Shared>,
}

/// What both trees of a broken mirror know of each other.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    late: Mutex<VecDeque<(ResourcePath, Bytes, WriteOptions)>>,
    remote: Mutex<Option<Arc<dyn FileSystem>>>,
    /// The last version that was guessed.
    written: AtomicU64,
}

/// Makes the trees of a mirror with this fault.
pub(crate) fn with(fault: Fault) -> impl Fn(Side, Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
    let shared = Mutex::new(Arc::<Shared>::default());
    move |side, inner| {
        if side == Side::Remote {
            // It is made first, for each mirror anew: what a mirror has in mind dies with it.
            let new = Arc::new(Shared::default());
            *new.remote.lock().unwrap() = Some(Arc::clone(&inner));
            *shared.lock().unwrap() = new;
        }
        Arc::new(Broken { fault, side, inner, shared: Arc::clone(&shared.lock().unwrap()) })
    }
}

fn is_state(at: &ResourcePath) -> bool {
    at.as_str() == "/.agentx-mirror/state"
}

fn is_own(at: &ResourcePath) -> bool {
    at.as_str().starts_with("/.agentx-mirror/")
}

fn is_conflict(at: &ResourcePath) -> bool {
    at.as_str().contains(".conflict-")
}

impl Broken {
    fn options(&self, at: &ResourcePath, mut options: WriteOptions) -> WriteOptions {
        match (self.fault, &options.mode) {
            (Fault::IgnoresVersions | Fault::SeesNoVersions, WriteMode::IfMatch(_)) => {
                options.mode = WriteMode::Overwrite;
            }
            (Fault::CreatesOver, WriteMode::CreateNew) if !is_own(at) => options.mode = WriteMode::Overwrite,
            _ => {}
        }
        options
    }

    fn seen(&self, at: &ResourcePath, mut metadata: Metadata) -> Metadata {
        match self.fault {
            Fault::SeesNoVersions if metadata.is_file() && !is_own(at) => {
                metadata.version = Some(Version::new("one"));
            }
            Fault::Lesser => metadata.version = None,
            _ => {}
        }
        metadata
    }

    /// Does what was put off until the state was written.
    async fn catch_up(&self) -> Result<()> {
        let remote = self.shared.remote.lock().unwrap().clone().unwrap();
        loop {
            let Some((at, data, options)) = self.shared.late.lock().unwrap().pop_front() else { break };
            remote.write(&at, data, options).await?;
        }
        self.shared.written.store(0, Relaxed);
        Ok(())
    }
}

#[async_trait]
impl FileSystem for Broken {
    fn capabilities(&self) -> FsCapabilities {
        let mut capabilities = self.inner.capabilities();
        if matches!(self.fault, Fault::Lesser | Fault::RemovesUnseen) {
            (capabilities.atomic_rename, capabilities.atomic_dir_rename) = (false, false);
        }
        if self.fault == Fault::Lesser {
            capabilities.if_match = None;
        }
        capabilities
    }

    async fn read(&self, at: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        let mut read = self.inner.read(at, options).await?;
        read.metadata = self.seen(at, read.metadata);
        Ok(read)
    }

    async fn write(&self, at: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let options = self.options(at, options);
        match self.fault {
            Fault::ForgetsState if is_state(at) => {
                return Ok(Metadata::file(data.len() as u64).with_version(Version::new("state")));
            }
            Fault::StateBeforeData if is_state(at) => {
                let metadata = self.inner.write(at, data, options).await?;
                self.catch_up().await?;
                return Ok(metadata);
            }
            Fault::StateBeforeData if self.side == Side::Remote && !is_own(at) => {
                // What its version will be is guessed: the tree counts, and nothing else is written meanwhile.
                let metadata = Metadata::file(data.len() as u64);
                let written = self.shared.written.load(Relaxed);
                let written = match written {
                    0 => {
                        let probe = path("/.agentx-mirror/probe");
                        let probe =
                            self.inner.write(&probe, Bytes::new(), WriteMode::Overwrite.into()).await?;
                        probe.version.unwrap().as_str().parse().unwrap()
                    }
                    _ => written,
                } + 1;
                self.shared.written.store(written, Relaxed);
                self.shared.late.lock().unwrap().push_back((at.clone(), data, options));
                return Ok(metadata.with_version(Version::new(written.to_string())));
            }
            _ => {}
        }
        self.inner.write(at, data, options).await.map(|metadata| self.seen(at, metadata))
    }

    async fn writer(&self, at: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let inner = self.inner.writer(at, self.options(at, options)).await?;
        Ok(Box::new(BrokenWriter { fault: self.fault, inner }))
    }

    async fn stat(&self, at: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.inner.stat(at, options).await.map(|metadata| self.seen(at, metadata))
    }

    fn list(&self, at: &ResourcePath, options: ListOptions) -> EntryStream {
        let (fault, side) = (self.fault, self.side);
        let seen = Self { fault, side, inner: Arc::clone(&self.inner), shared: Arc::clone(&self.shared) };
        self.inner
            .list(at, options)
            .map_ok(move |mut entry| {
                if let Some(at) = &entry.path {
                    entry.metadata = seen.seen(at, entry.metadata);
                }
                entry
            })
            .try_filter(move |entry| {
                let path = entry.path.as_ref().unwrap().as_str();
                let marker = fault == Fault::OverlooksMarkers && path == "/.agentx-mirror/marker";
                let hidden = fault == Fault::ShortLists && side == Side::Remote && path == "/same.md";
                std::future::ready(!marker && !hidden)
            })
            .boxed()
    }

    async fn mkdir(&self, at: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.inner.mkdir(at, options).await
    }

    async fn rm(&self, at: &ResourcePath, mut options: RemoveOptions) -> Result<()> {
        if self.fault == Fault::ForgetsRemovals {
            return Ok(());
        }
        if self.fault == Fault::RemovesWhole {
            options.recursive = true;
        }
        self.inner.rm(at, options).await
    }

    async fn rename(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        mut options: TransferOptions,
    ) -> Result<()> {
        match self.fault {
            Fault::LosesConflicts if is_conflict(to) => {
                return self.inner.rm(from, RemoveOptions::recursive()).await;
            }
            Fault::MovesInTwoSteps => {
                self.inner.copy(from, to, options).await?;
                return self.inner.rm(from, RemoveOptions::recursive()).await;
            }
            Fault::RenamesOver => options.create_new = false,
            _ => {}
        }
        self.inner.rename(from, to, options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.inner.copy(from, to, options).await
    }
}

#[derive(Debug)]
struct BrokenWriter {
    fault: Fault,
    inner: Box<dyn FileWriter>,
}

#[async_trait]
impl FileWriter for BrokenWriter {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.inner.write(data).await
    }

    async fn close(self: Box<Self>) -> Result<Metadata> {
        let mut metadata = self.inner.close().await?;
        if self.fault == Fault::Lesser {
            metadata.version = None;
        }
        Ok(metadata)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        self.inner.abort().await
    }
}

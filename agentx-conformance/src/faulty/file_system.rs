use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use agentx_resource::{
    DirEntry, EntryStream, Error, ErrorKind, FileRead, FileSystem, FileSystemExt, FileWriter, FsCapabilities,
    ListOptions, Metadata, MkdirOptions, ReadOptions, ReadRange, RemoveOptions, ResourcePath, Result,
    StatOptions, TransferOptions, Version, WriteMode, WriteOptions,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{FileSystemFault as Fault, careless::Careless, dawdle, writer::FaultyWriter};

/// A file system in memory with one fault.
#[derive(Clone, Debug)]
pub struct FaultyFileSystem {
    inner: Arc<dyn FileSystem>,
    fault: Fault,
    /// How many conditional writes there were.
    conditional: Arc<AtomicUsize>,
    /// Which files are one file: what is written to the first shows in the second. A file that is itself is locked.
    shared: Arc<Mutex<Vec<(ResourcePath, ResourcePath)>>>,
}

impl FaultyFileSystem {
    /// An empty file system with this fault.
    pub fn new(fault: Fault) -> Self {
        let inner = Arc::new(Careless::new(fault));
        Self { inner, fault, conditional: Arc::default(), shared: Arc::default() }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// The path as the fault sees it.
    fn path(&self, path: &ResourcePath) -> Result<ResourcePath> {
        match self.fault {
            Fault::FoldsCase => ResourcePath::new(path.as_str().to_lowercase()),
            Fault::ComposesNames => ResourcePath::new(path.as_str().replace("e\u{301}", "\u{e9}")),
            Fault::DecodesNames => ResourcePath::new(path.as_str().replace("%2F", "/")),
            Fault::CutsNames => {
                let cut = |name: &str| {
                    name.char_indices().take_while(|(at, _)| *at < 200).map(|(_, c)| c).collect()
                };
                let names: Vec<String> = path.components().map(cut).collect();
                ResourcePath::new(format!("/{}", names.join("/")))
            }
            _ => Ok(path.clone()),
        }
    }

    fn metadata(&self, metadata: Metadata) -> Metadata {
        match self.fault {
            Fault::WeakVersion if metadata.is_file() => {
                let version = Version::new(metadata.len.to_string());
                metadata.with_version(version)
            }
            Fault::SizesDirectories if metadata.is_dir() => {
                let mut metadata = metadata;
                metadata.len = 4096;
                metadata
            }
            _ => metadata,
        }
    }

    fn error(&self, error: Error) -> Error {
        if self.has(Fault::AnonymousErrors) {
            return Error::new(error.kind(), error.operation().to_owned());
        }
        error
    }

    /// A write in one mode, with what is wrong about that mode.
    async fn write_faulty(
        &self,
        path: &ResourcePath,
        data: Bytes,
        mut options: WriteOptions,
    ) -> Result<Metadata> {
        if self.has(Fault::AnswersOldVersion) {
            let before = self.inner.metadata(path).await.ok().and_then(|metadata| metadata.version);
            let written = self.inner.write(path, data, options).await?;
            return Ok(match before {
                Some(version) => written.with_version(version),
                None => written,
            });
        }
        match (self.fault, options.mode.clone()) {
            (Fault::StaysLocked, _) => {
                let taken = |shared: &mut Vec<_>| {
                    let lock = (path.clone(), path.clone());
                    shared.contains(&lock) || {
                        shared.push(lock);
                        false
                    }
                };
                if taken(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner)) {
                    return Err(Error::new(ErrorKind::Busy, "write").with_path(path));
                }
                tokio::task::yield_now().await;
                let written = self.inner.write(path, data, options).await;
                let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                shared.retain(|(locked, _)| locked != path);
                return written;
            }
            (Fault::AnswersAppendedLength, WriteMode::Append) => {
                let length = data.len() as u64;
                let mut written = self.inner.write(path, data, options).await?;
                written.len = length;
                return Ok(written);
            }
            (Fault::SharesCopies, _) => {
                let shared: Vec<_> = {
                    let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                    shared.iter().filter(|(from, _)| from == path).map(|(_, to)| to.clone()).collect()
                };
                for to in shared {
                    self.inner.write(&to, data.clone(), options.clone()).await?;
                }
            }
            (Fault::RarelyRacyIfMatch, WriteMode::IfMatch(version))
                if self.inner.metadata(path).await?.version.as_ref() == Some(&version)
                    && self.conditional.fetch_add(1, Ordering::Relaxed) % 50 == 25 =>
            {
                dawdle().await;
                options.mode = WriteMode::Overwrite;
            }
            (Fault::LosesAppends, WriteMode::Append) if self.inner.exists(path).await? => {
                return self.inner.metadata(path).await;
            }
            (Fault::RacyAppend, WriteMode::Append) if self.inner.exists(path).await? => {
                let before = self.inner.read_file(path).await?;
                dawdle().await;
                return self.inner.write_file(path, [before, data].concat()).await;
            }
            (Fault::IgnoresCreateNew, WriteMode::CreateNew)
            | (Fault::IgnoresIfMatch, WriteMode::IfMatch(_)) => {
                options.mode = WriteMode::Overwrite;
            }
            (Fault::RacyCreateNew, WriteMode::CreateNew) if !self.inner.exists(path).await? => {
                dawdle().await;
                options.mode = WriteMode::Overwrite;
            }
            (Fault::RacyIfMatch, WriteMode::IfMatch(version))
                if self.inner.metadata(path).await?.version.as_ref() == Some(&version) =>
            {
                dawdle().await;
                options.mode = WriteMode::Overwrite;
            }
            (Fault::TearsWrites, WriteMode::Overwrite) if data.len() > 1 => {
                let half = data.slice(..data.len() / 2);
                self.inner.write(path, half, options.clone()).await?;
                dawdle().await;
            }
            _ => {}
        }
        self.inner.write(path, data, options).await
    }

    fn options(&self, mut options: WriteOptions) -> WriteOptions {
        match self.fault {
            Fault::ForgetsParents => options.create_parents = false,
            Fault::AlwaysCreatesParents => options.create_parents = true,
            _ => {}
        }
        options
    }

    /// Removes the directories above `path` that have no entries any more.
    async fn sweep(&self, path: &ResourcePath) -> Result<()> {
        let mut parent = path.parent();
        while let Some(directory) = parent.filter(|directory| !directory.is_root()) {
            if self.inner.rm(&directory, RemoveOptions::default()).await.is_err() {
                break;
            }
            parent = directory.parent();
        }
        Ok(())
    }

    async fn copy_files(&self, from: &ResourcePath, to: &ResourcePath) -> Result<()> {
        let entries: Vec<_> = self.inner.walk(from).try_collect().await?;
        for path in
            entries.into_iter().filter(|entry| entry.metadata.is_file()).filter_map(|entry| entry.path)
        {
            let target = to.join(path.strip_prefix(from).unwrap_or_default())?;
            let options = WriteOptions::default().with_create_parents();
            self.inner.write(&target, self.inner.read_file(&path).await?, options).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl FileSystem for FaultyFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.append &= !self.has(Fault::HidesAppend);
        capabilities
    }

    async fn read(&self, path: &ResourcePath, mut options: ReadOptions) -> Result<FileRead> {
        let path = self.path(path)?;
        if let (Fault::RangeOffByOne, Some(ReadRange::Bounded(range))) = (self.fault, &mut options.range) {
            range.end = range.end.saturating_add(1);
        }
        if self.has(Fault::IgnoresReadCondition) {
            options.if_match = None;
        }
        if let (Fault::RefusesRangeBehindEnd, Some(ReadRange::Bounded(range))) = (self.fault, &options.range)
            && range.start >= self.inner.metadata(&path).await?.len
        {
            return Err(Error::new(ErrorKind::InvalidInput, "read").with_path(path));
        }
        let mut read = self.inner.read(&path, options).await.map_err(|error| self.error(error))?;
        read.metadata = self.metadata(read.metadata);
        if self.has(Fault::ShortReads) && read.range.end > 1 << 20 {
            let part = self.inner.read_range(&path, 0..1 << 20).await?;
            return Ok(FileRead::new(read.metadata, 0..1 << 20, stream::iter([Ok(part)]).boxed()));
        }
        if self.has(Fault::LazyBody) {
            let inner = self.inner.clone();
            let body = stream::once(async move { inner.read_file(&path).await });
            return Ok(FileRead::new(read.metadata, read.range, body.boxed()));
        }
        Ok(read)
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let (path, options) = (self.path(path)?, self.options(options));
        let written = self.write_faulty(&path, data, options).await;
        written.map(|metadata| self.metadata(metadata)).map_err(|error| self.error(error))
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let (path, options) = (self.path(path)?, self.options(options));
        let writer = self.inner.writer(&path, options.clone()).await?;
        Ok(match self.fault {
            Fault::PublishesEarly
            | Fault::PublishesOnDrop
            | Fault::ForgetsModeAtClose
            | Fault::LeavesTemporary
            | Fault::TearsClose
            | Fault::LosesEmptyWriter => {
                Box::new(FaultyWriter::new(self.inner.clone(), path, options, self.fault))
            }
            _ => writer,
        })
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        let found = self.inner.stat(&self.path(path)?, options).await.map_err(|error| self.error(error))?;
        if self.has(Fault::NoDirectories) && found.is_dir() && !path.is_root() {
            return Err(Error::new(ErrorKind::NotFound, "stat").with_path(path));
        }
        Ok(self.metadata(found))
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let (fs, recursive) = (self.clone(), options.recursive);
        let entries = match self.path(path) {
            Ok(path) => self.inner.list(&path, options),
            Err(error) => stream::iter([Err(error)]).boxed(),
        };
        let entries = entries.map(move |entry| match entry {
            Ok(mut entry) => {
                entry.metadata = fs.metadata(entry.metadata);
                Ok(entry)
            }
            Err(error) => Err(fs.error(error)),
        });
        match self.fault {
            Fault::ListsOnePage => entries.take(1000).boxed(),
            Fault::ListsByPrefix if !path.is_root() => {
                let (all, prefix) = (self.inner.walk(&ResourcePath::root()), path.clone());
                let begins = move |entry: &Result<DirEntry>| {
                    let path = entry.as_ref().ok().and_then(|entry| entry.path.clone());
                    let found =
                        path.is_some_and(|path| path != prefix && path.as_str().starts_with(prefix.as_str()));
                    std::future::ready(found)
                };
                all.filter(begins).boxed()
            }
            Fault::ListsItself if recursive && !path.is_root() => {
                let own = stream::iter([Ok(DirEntry::new(path.clone(), Metadata::directory()))]);
                entries.chain(own).boxed()
            }
            Fault::ListsNoMetadata => entries
                .map_ok(|mut entry| {
                    entry.metadata = Metadata::of(entry.metadata.kind);
                    entry
                })
                .boxed(),
            Fault::ListsOnAfterError => entries
                .flat_map(|entry| {
                    let again = entry.as_ref().err().map(|error| Err(error.clone()));
                    stream::iter([Some(entry), again].into_iter().flatten())
                })
                .boxed(),
            _ => entries.boxed(),
        }
    }

    async fn mkdir(&self, path: &ResourcePath, mut options: MkdirOptions) -> Result<()> {
        match self.fault {
            Fault::MakesParents if !self.inner.exists(path).await? => options.recursive = true,
            Fault::EmptiesDirectories
                if options.recursive
                    && !path.is_root()
                    && self.inner.metadata(path).await.is_ok_and(|found| found.is_dir()) =>
            {
                self.inner.rm_all(path).await?;
            }
            _ => {}
        }
        self.inner.mkdir(&self.path(path)?, options).await.map_err(|error| self.error(error))
    }

    async fn rm(&self, path: &ResourcePath, mut options: RemoveOptions) -> Result<()> {
        let path = self.path(path)?;
        match self.fault {
            Fault::RemovesNothing => options.force = true,
            Fault::RemovesFullDirectories => options.recursive = true,
            Fault::RemovesRoot if path.is_root() && options.recursive => {
                for path in self.inner.readdir(&path).await?.into_iter().filter_map(|entry| entry.path) {
                    self.inner.rm_all(&path).await?;
                }
                return Ok(());
            }
            Fault::RemovesByPrefix if options.recursive && !path.is_root() => {
                let parent = path.parent().unwrap_or_else(ResourcePath::root);
                for beside in self.inner.readdir(&parent).await?.into_iter().filter_map(|entry| entry.path) {
                    if beside != path && beside.as_str().starts_with(path.as_str()) {
                        self.inner.rm_all(&beside).await?;
                    }
                }
            }
            Fault::ForgivesAll if options.force => {
                drop(self.inner.rm(&path, options).await);
                return Ok(());
            }
            _ => {}
        }
        self.inner.rm(&path, options).await.map_err(|error| self.error(error))?;
        if self.has(Fault::VanishingDirectories) { self.sweep(&path).await } else { Ok(()) }
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        if self.has(Fault::DestroysDestination) && !to.is_root() {
            self.inner.rm_all(&to).await?;
        }
        match self.fault {
            Fault::LosesOnCancel if from != to && self.inner.metadata(&from).await?.is_file() => {
                let aside = ResourcePath::new("/.aside")?;
                self.inner.rename(&from, &aside, TransferOptions::default()).await?;
                tokio::task::yield_now().await;
                let moved = self.inner.rename(&aside, &to, options).await;
                if moved.is_err() {
                    self.inner.rename(&aside, &from, TransferOptions::default()).await?;
                }
                return moved.map_err(|error| self.error(error));
            }
            Fault::RenamesByCopy | Fault::RacyRename if self.inner.metadata(&from).await?.is_file() => {
                self.inner.copy(&from, &to, options).await?;
                dawdle().await;
                if self.has(Fault::RacyRename) && from != to {
                    self.inner.rm_all(&from).await?;
                }
                return Ok(());
            }
            _ => {}
        }
        self.inner.rename(&from, &to, options).await.map_err(|error| self.error(error))
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        if self.has(Fault::CopiesNoEmptyDirectories) && self.inner.metadata(&from).await?.is_dir() {
            return self.copy_files(&from, &to).await;
        }
        match self.fault {
            Fault::TruncatesOnCopy
                if from == to && !options.create_new && self.inner.metadata(&from).await?.is_file() =>
            {
                self.inner.write_file(&from, "").await?;
            }
            Fault::CopiesInto
                if from != to && self.inner.metadata(&to).await.is_ok_and(|found| found.is_dir()) =>
            {
                let into = to.join(from.file_name().unwrap_or_default())?;
                return self.inner.copy(&from, &into, options).await.map_err(|error| self.error(error));
            }
            Fault::SharesCopies => {
                let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                shared.push((from.clone(), to.clone()));
            }
            _ => {}
        }
        self.inner.copy(&from, &to, options).await.map_err(|error| self.error(error))
    }
}

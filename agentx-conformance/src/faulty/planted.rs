use std::sync::{Arc, Mutex, PoisonError};

use agentx_resource::{
    EntryStream, Error, ErrorKind, FileKind, FileRead, FileSystem, FileSystemExt, FileWriter, FsCapabilities,
    Layer, ListOptions, Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result,
    StatOptions, TransferOptions, WriteMode, WriteOptions, layer::Chroot, memory::MemoryFileSystem,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::PlantedFault as Fault;
use crate::planted::{Growth, MemoryPlant, Plant, Planted};

/// A file system in memory that mistakes what is planted in it.
///
/// # Errors
/// Never: what is made in memory can be made.
pub async fn faulty_planted(fault: Fault) -> Result<Planted> {
    if fault == Fault::FollowsOut {
        return View::planted().await;
    }
    let seen_at = if fault == Fault::RefusesAbsolute { "/elsewhere" } else { "/workspace" };
    let fs = MemoryFileSystem::new().with_symlinks(seen_at).with_mode_bits();
    let names = Arc::<Mutex<Vec<_>>>::default();
    let plant = FaultyPlant { inner: MemoryPlant::new(fs.clone()), names: Arc::clone(&names) };
    Ok(Planted { files: Arc::new(FaultyPlanted { inner: fs, fault, names }), plant: Arc::new(plant) })
}

/// The names that belong to one file.
type Names = Arc<Mutex<Vec<[ResourcePath; 2]>>>;

#[derive(Debug)]
struct FaultyPlanted {
    inner: MemoryFileSystem,
    fault: Fault,
    names: Names,
}

impl FaultyPlanted {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    async fn itself(&self, path: &ResourcePath) -> Option<Metadata> {
        self.inner.stat(path, StatOptions::no_follow()).await.ok()
    }

    async fn is_link(&self, path: &ResourcePath) -> bool {
        self.itself(path).await.is_some_and(|found| found.kind == FileKind::Symlink)
    }

    /// A link, and nothing where it leads.
    async fn dangles(&self, path: &ResourcePath) -> bool {
        self.is_link(path).await && self.inner.exists(path).await.is_ok_and(|there| !there)
    }

    fn other_names(&self, path: &ResourcePath) -> Vec<ResourcePath> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let others = names.iter().filter(|names| names.contains(path)).flatten();
        others.filter(|name| *name != path).cloned().collect()
    }

    fn error(&self, error: Error, operation: &'static str, path: &ResourcePath) -> Error {
        match (self.fault, error.kind()) {
            (Fault::LoopIsMissing, ErrorKind::InvalidPath) => {
                Error::new(ErrorKind::NotFound, operation).with_path(path)
            }
            _ => error,
        }
    }

    /// The links below a directory.
    async fn links(&self, path: &ResourcePath) -> Result<Vec<ResourcePath>> {
        let entries: Vec<_> = self.inner.walk(path).try_collect().await?;
        let links = entries.into_iter().filter(|entry| entry.metadata.kind == FileKind::Symlink);
        Ok(links.filter_map(|entry| entry.path).collect())
    }

    /// Copies what has a path.
    async fn copy_named(&self, from: &ResourcePath, to: &ResourcePath) -> Result<()> {
        self.inner.mkdir(to, MkdirOptions::default()).await?;
        for path in self.inner.readdir(from).await?.into_iter().filter_map(|entry| entry.path) {
            let target = to.join(path.file_name().unwrap_or_default())?;
            self.inner.copy(&path, &target, TransferOptions::create_new()).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl FileSystem for FaultyPlanted {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        if self.has(Fault::ReadsSpecial)
            && self.inner.metadata(path).await.is_ok_and(|found| found.kind == FileKind::Other)
        {
            return Ok(FileRead::new(Metadata::file(0), 0..0, stream::empty().boxed()));
        }
        self.inner.read(path, options).await.map_err(|error| self.error(error, "read", path))
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, mut options: WriteOptions) -> Result<Metadata> {
        match self.fault {
            Fault::ReplacesLinks if self.is_link(path).await => {
                self.inner.rm(path, RemoveOptions::default()).await?;
            }
            Fault::CreatesThroughDangling if self.dangles(path).await => options.mode = WriteMode::Overwrite,
            Fault::RefusesDangling if self.dangles(path).await => {
                return Err(Error::new(ErrorKind::NotFound, "write").with_path(path));
            }
            Fault::SharesHardLinks => {
                for name in self.other_names(path) {
                    self.inner.write(&name, data.clone(), options.clone()).await?;
                }
            }
            _ => {}
        }
        let written = self.inner.write(path, data, options).await;
        let written = written.map_err(|error| self.error(error, "write", path))?;
        if self.has(Fault::ReplaceLosesMode) {
            self.inner.set_mode(path, 0o644)?;
            return self.inner.metadata(path).await;
        }
        Ok(written)
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        self.inner.writer(path, options).await.map_err(|error| self.error(error, "write", path))
    }

    async fn stat(&self, path: &ResourcePath, mut options: StatOptions) -> Result<Metadata> {
        options.follow |= self.has(Fault::AlwaysFollows);
        let found = self.inner.stat(path, options).await;
        match (self.fault, found) {
            (Fault::HidesTarget, Ok(mut found)) => {
                found.link_target = None;
                Ok(found)
            }
            (Fault::DanglingExists, Err(error)) => self.itself(path).await.ok_or(error),
            (Fault::RefusedIsMissing, Err(error)) if error.kind() == ErrorKind::PermissionDenied => {
                Err(Error::new(ErrorKind::NotFound, "stat").with_path(path))
            }
            (Fault::EscapeIsMissing, Err(error)) if error.kind() == ErrorKind::Escapes => {
                Err(Error::new(ErrorKind::NotFound, "stat").with_path(path))
            }
            (_, found) => found.map_err(|error| self.error(error, "stat", path)),
        }
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        let (recursive, inner) = (options.recursive, self.inner.clone());
        let entries = self.inner.list(path, options);
        match self.fault {
            Fault::EntersLinks if recursive => entries
                .flat_map(move |entry| {
                    let link = entry.as_ref().ok().filter(|entry| entry.metadata.kind == FileKind::Symlink);
                    let below = link.and_then(|entry| entry.path.clone()).map_or_else(
                        || stream::empty().boxed(),
                        |path| {
                            let behind = inner.list(&path, ListOptions::default());
                            behind.filter(|entry| std::future::ready(entry.is_ok())).boxed()
                        },
                    );
                    stream::iter([entry]).chain(below)
                })
                .boxed(),
            Fault::DropsOddNames => {
                entries.try_filter(|entry| std::future::ready(entry.path.is_some())).boxed()
            }
            _ => entries,
        }
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        self.inner.mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        if self.has(Fault::RemovesThroughLinks)
            && options.recursive
            && self.itself(path).await.is_some_and(|found| found.is_dir())
        {
            for link in self.links(path).await? {
                for entry in self.inner.readdir(&link).await.unwrap_or_default() {
                    if let Some(path) = entry.path {
                        self.inner.rm_all(&path).await?;
                    }
                }
            }
        }
        self.inner.rm(path, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        match self.fault {
            Fault::RenamesTarget if self.is_link(from).await && self.inner.exists(from).await? => {
                self.inner.copy(from, to, options).await?;
                return self.inner.rm(from, RemoveOptions::default()).await;
            }
            Fault::RenamesThroughLinks
                if self.is_link(to).await
                    && !options.create_new
                    && self.inner.metadata(from).await?.is_file() =>
            {
                self.inner.copy(from, to, options).await?;
                return self.inner.rm(from, RemoveOptions::default()).await;
            }
            Fault::LeavesBothNames if self.other_names(from).contains(to) => return Ok(()),
            _ => {}
        }
        self.inner.rename(from, to, options).await?;
        if self.has(Fault::RenameLosesMode) && !self.is_link(to).await {
            self.inner.set_mode(to, 0o644)?;
        }
        Ok(())
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let source = self.inner.metadata(from).await.ok();
        let directory = source.as_ref().is_some_and(Metadata::is_dir);
        if self.has(Fault::CopiesNoOddNames) && directory && !self.inner.exists(to).await? {
            return self.copy_named(from, to).await;
        }
        self.inner.copy(from, to, options).await.map_err(|error| self.error(error, "copy", from))?;
        match (self.fault, source) {
            (Fault::CopiesThroughLinks, _) if directory => {
                for link in self.links(to).await? {
                    if let Ok(content) = self.inner.read_file(&link).await {
                        self.inner.rm(&link, RemoveOptions::default()).await?;
                        self.inner.write_file(&link, content).await?;
                    }
                }
            }
            (Fault::CopyLosesMode, Some(_)) if !directory => self.inner.set_mode(to, 0o644)?,
            (Fault::CopyTakesMode, Some(Metadata { mode: Some(bits), .. })) if !self.is_link(to).await => {
                self.inner.set_mode(to, bits)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// Knows which names it has given to one file.
#[derive(Debug)]
struct FaultyPlant {
    inner: MemoryPlant,
    names: Names,
}

impl Plant for FaultyPlant {
    fn symlink(&self, target: &str, at: &ResourcePath) -> Growth {
        self.inner.symlink(target, at)
    }

    fn hard_link(&self, existing: &ResourcePath, at: &ResourcePath) -> Growth {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.push([existing.clone(), at.clone()]);
        self.inner.hard_link(existing, at)
    }

    fn set_mode(&self, at: &ResourcePath, bits: u32) -> Growth {
        self.inner.set_mode(at, bits)
    }

    fn special(&self, at: &ResourcePath) -> Growth {
        self.inner.special(at)
    }

    fn unaddressable(&self, directory: &ResourcePath, content: &str) -> Growth {
        self.inner.unaddressable(directory, content)
    }

    fn absolute(&self, path: &ResourcePath) -> String {
        self.inner.absolute(path)
    }

    fn outside(&self) -> Vec<String> {
        self.inner.outside()
    }

    fn touched(&self) -> Option<String> {
        self.inner.touched()
    }

    fn is_privileged(&self) -> bool {
        self.inner.is_privileged()
    }
}

/// A directory of a tree that is taken for a root, as a prefix of names and no more: links lead out of it.
#[derive(Debug)]
struct View {
    whole: MemoryFileSystem,
    inner: MemoryPlant,
}

impl View {
    const ROOT: &str = "/in";

    async fn planted() -> Result<Planted> {
        let whole = MemoryFileSystem::new().with_symlinks("/workspace").with_mode_bits();
        let root = ResourcePath::new(Self::ROOT)?;
        whole.mkdir(&root, MkdirOptions::default()).await?;
        let secret = WriteOptions::default().with_create_parents();
        whole.write(&Self::secret()?, Bytes::from_static(b"secret"), secret).await?;
        let files = Chroot::new(root).layer(Arc::new(whole.clone()) as Arc<dyn FileSystem>);
        let inner = MemoryPlant::new(whole.clone());
        Ok(Planted { files, plant: Arc::new(Self { whole, inner }) })
    }

    fn secret() -> Result<ResourcePath> {
        ResourcePath::new("/out/secret")
    }

    fn whole(path: &ResourcePath) -> Result<ResourcePath> {
        ResourcePath::new(format!("{}{path}", Self::ROOT))
    }
}

impl Plant for View {
    fn symlink(&self, target: &str, at: &ResourcePath) -> Growth {
        self.inner.symlink(target, &Self::whole(at)?)
    }

    fn hard_link(&self, existing: &ResourcePath, at: &ResourcePath) -> Growth {
        self.inner.hard_link(&Self::whole(existing)?, &Self::whole(at)?)
    }

    fn set_mode(&self, at: &ResourcePath, bits: u32) -> Growth {
        self.inner.set_mode(&Self::whole(at)?, bits)
    }

    fn special(&self, at: &ResourcePath) -> Growth {
        self.inner.special(&Self::whole(at)?)
    }

    fn unaddressable(&self, directory: &ResourcePath, content: &str) -> Growth {
        self.inner.unaddressable(&Self::whole(directory)?, content)
    }

    fn absolute(&self, path: &ResourcePath) -> String {
        format!("/workspace{}{}", Self::ROOT, path.as_str().trim_end_matches('/'))
    }

    fn outside(&self) -> Vec<String> {
        vec!["../out".to_owned(), "/workspace/out".to_owned()]
    }

    fn touched(&self) -> Option<String> {
        let read = self.whole.read_file(&Self::secret().ok()?).now_or_never()?;
        match read {
            Ok(content) if content == "secret" => None,
            read => Some(format!("{read:?}")),
        }
    }

    fn is_privileged(&self) -> bool {
        false
    }
}

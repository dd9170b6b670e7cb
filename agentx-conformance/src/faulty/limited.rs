use std::sync::Arc;

use agentx_resource::Layer;
use agentx_resource::{
    EntryStream, Error, ErrorKind, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata,
    MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteOptions, layer::Quota, memory::MemoryFileSystem,
};
use async_trait::async_trait;
use bytes::Bytes;

use super::LimitsFault as Fault;
use crate::limits::{Limited, Limits};

/// The longest name and path, and the largest file, of these file systems.
const NAME: usize = 100;
const PATH: usize = 1000;
const FILE: u64 = 100_000;

/// A file system in memory with narrow limits, and a fault about them; without one, it keeps what it states.
pub fn faulty_limited(fault: Option<Fault>) -> Limited {
    let bounded = Quota::new().with_bytes(if fault == Some(Fault::TakesAnySize) { u64::MAX } else { FILE });
    let inner = bounded.layer(Arc::new(MemoryFileSystem::new()) as Arc<dyn FileSystem>);
    let limits = Limits::new().with_name(NAME).with_path(PATH).with_depth(400).with_file(FILE);
    Limited { files: Arc::new(Narrow { inner, fault }), limits }
}

#[derive(Debug)]
struct Narrow {
    inner: Arc<dyn FileSystem>,
    fault: Option<Fault>,
}

impl Narrow {
    /// The path, if it is not too long.
    fn fits(&self, path: &ResourcePath, operation: &'static str) -> Result<ResourcePath> {
        let name = if self.fault == Some(Fault::CountsLetters) {
            path.components().map(|name| name.chars().count() * 3).max()
        } else {
            path.components().map(str::len).max()
        };
        let most = if self.fault == Some(Fault::LosesOne) { (NAME - 1, PATH - 1) } else { (NAME, PATH) };
        if name.unwrap_or(0) <= most.0 && path.as_str().len() <= most.1 {
            return Ok(path.clone());
        }
        match self.fault {
            Some(Fault::TakesAnyName) => Ok(path.clone()),
            Some(Fault::TooLongIsInternal) => Err(Error::new(ErrorKind::Internal, operation).with_path(path)),
            Some(Fault::TooLongIsNameless) => Err(Error::new(ErrorKind::InvalidPath, operation)),
            _ => Err(Error::new(ErrorKind::InvalidPath, operation).with_path(path)),
        }
    }
}

#[async_trait]
impl FileSystem for Narrow {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        self.inner.read(path, options).await
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let data = match self.fault {
            Some(Fault::CutsFiles) => {
                data.slice(..data.len().min(usize::try_from(FILE).unwrap_or(usize::MAX)))
            }
            _ => data,
        };
        self.inner.write(&self.fits(path, "write")?, data, options).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        self.inner.writer(&self.fits(path, "write")?, options).await
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.inner.stat(path, options).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        self.inner.list(path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        let depth = path.components().count();
        if self.fault == Some(Fault::Shallow) && depth > 200 {
            return Err(Error::new(ErrorKind::LimitExceeded, "mkdir").with_path(path));
        }
        self.inner.mkdir(&self.fits(path, "mkdir")?, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        self.inner.rm(path, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.inner.rename(from, &self.fits(to, "rename")?, options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        self.inner.copy(from, &self.fits(to, "copy")?, options).await
    }
}

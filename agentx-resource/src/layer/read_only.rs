use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::Layer;
use crate::{
    EntryStream, Error, ErrorKind, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions, Metadata,
    MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteOptions,
};

/// Refuses every change with `PermissionDenied`, before the wrapped resource hears of it, and whatever is at the
/// path.
///
/// The capabilities stay those of the wrapped file system: they say what it is, not what this caller may do. So a
/// refused append is `PermissionDenied` where appends exist.
///
/// ```
/// use agentx_resource::{ErrorKind, FileSystem, FileSystemExt, Layer, ResourcePath, layer::ReadOnly};
/// use agentx_resource::memory::MemoryFileSystem;
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
/// let path = ResourcePath::new("/a")?;
/// fs.write_file(&path, "kept").await?;
/// let shown = ReadOnly.layer(fs);
/// assert_eq!(shown.write_file(&path, "lost").await.unwrap_err().kind(), ErrorKind::PermissionDenied);
/// assert_eq!(shown.read_to_string(&path).await?, "kept");
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOnly;

impl Layer<dyn FileSystem> for ReadOnly {
    fn layer(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        Arc::new(ReadOnlyFileSystem { inner })
    }
}

#[derive(Debug)]
struct ReadOnlyFileSystem {
    inner: Arc<dyn FileSystem>,
}

#[async_trait]
impl FileSystem for ReadOnlyFileSystem {
    fn capabilities(&self) -> FsCapabilities {
        self.inner.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        self.inner.read(path, options).await
    }

    async fn write(&self, path: &ResourcePath, _data: Bytes, _options: WriteOptions) -> Result<Metadata> {
        Err(refused("write", path))
    }

    async fn writer(&self, path: &ResourcePath, _options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        Err(refused("write", path))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        self.inner.stat(path, options).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        self.inner.list(path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, _options: MkdirOptions) -> Result<()> {
        Err(refused("mkdir", path))
    }

    async fn rm(&self, path: &ResourcePath, _options: RemoveOptions) -> Result<()> {
        Err(refused("rm", path))
    }

    async fn rename(&self, from: &ResourcePath, _to: &ResourcePath, _options: TransferOptions) -> Result<()> {
        Err(refused("rename", from))
    }

    async fn copy(&self, _from: &ResourcePath, to: &ResourcePath, _options: TransferOptions) -> Result<()> {
        Err(refused("copy", to))
    }
}

fn refused(operation: &'static str, path: &ResourcePath) -> Error {
    Error::new(ErrorKind::PermissionDenied, operation).with_path(path).with_message("this view is read-only")
}

#[cfg(test)]
mod tests {
    use futures::{TryStreamExt, executor::block_on};

    use super::*;
    use crate::{FileSystemExt, WriteMode, memory::MemoryFileSystem};

    async fn tree(fs: &dyn FileSystem) -> Vec<(String, Metadata)> {
        let entries: Vec<_> = fs.walk(&ResourcePath::root()).try_collect().await.unwrap();
        entries.into_iter().map(|entry| (entry.name, entry.metadata)).collect()
    }

    #[test]
    fn every_mutation_is_refused_and_nothing_changes() {
        block_on(async {
            let inner: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
            let [a, b, d] = ["/a", "/b", "/d"].map(|path| ResourcePath::new(path).unwrap());
            inner.write_file(&a, "kept").await.unwrap();
            inner.mkdir(&d, MkdirOptions::default()).await.unwrap();
            let (before, shown) = (tree(&*inner).await, ReadOnly.layer(Arc::clone(&inner)));
            let transfer = TransferOptions::default;
            let mut refused = vec![
                shown.mkdir(&b, MkdirOptions::default()).await.err(),
                shown.mkdir(&d, MkdirOptions::recursive()).await.err(),
                shown.rm(&a, RemoveOptions::default()).await.err(),
                shown.rm_all(&b).await.err(),
                shown.rename(&a, &b, transfer()).await.err(),
                shown.rename(&a, &a, transfer()).await.err(),
                shown.copy(&a, &b, transfer()).await.err(),
            ];
            for mode in [WriteMode::Overwrite, WriteMode::CreateNew, WriteMode::Append] {
                refused.push(shown.write(&a, "lost".into(), mode.clone().into()).await.err());
                refused.push(shown.writer(&b, mode.into()).await.err());
            }
            for error in refused {
                assert_eq!(error.unwrap().kind(), ErrorKind::PermissionDenied);
            }
            assert_eq!(tree(&*inner).await, before);
            assert_eq!(shown.read_to_string(&a).await.unwrap(), "kept");
        });
    }
}

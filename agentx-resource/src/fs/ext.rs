use bytes::Bytes;
use futures::TryStreamExt;

use super::{
    DirEntry, EntryStream, FileSystem, ListOptions, Metadata, ReadOptions, ReadRange, RemoveOptions,
    StatOptions, WriteMode,
};
use crate::{Error, ErrorKind, ResourcePath, Result};

/// The largest file that [`FileSystemExt::read_file`] and its kin take into memory: 64 MiB. Larger ones are read
/// as a stream or in ranges.
pub(super) const READ_LIMIT: u64 = 64 << 20;

/// What callers want most, in terms of the ten verbs. Every [`FileSystem`] has it.
pub trait FileSystemExt: FileSystem {
    /// The whole content of a file of at most 64 MiB.
    ///
    /// # Errors
    /// Those of [`FileSystem::read`]; `LimitExceeded` for a larger file.
    fn read_file(&self, path: &ResourcePath) -> impl Future<Output = Result<Bytes>> + Send {
        async move {
            let read = self.read(path, ReadOptions::default()).await?;
            read.bytes(READ_LIMIT).await.map_err(|error| at(error, path))
        }
    }

    /// The whole content of a text file of at most 64 MiB.
    ///
    /// # Errors
    /// Those of [`FileSystemExt::read_file`]; `Corrupt` for content that is not UTF-8.
    fn read_to_string(&self, path: &ResourcePath) -> impl Future<Output = Result<String>> + Send {
        async move {
            let bytes = self.read_file(path).await?;
            String::from_utf8(bytes.into()).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "read")
                    .with_path(path)
                    .with_message(format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
            })
        }
    }

    /// A part of a file, at most 64 MiB of it.
    ///
    /// # Errors
    /// Those of [`FileSystem::read`]; `LimitExceeded` for a larger part.
    fn read_range(
        &self,
        path: &ResourcePath,
        range: impl Into<ReadRange> + Send,
    ) -> impl Future<Output = Result<Bytes>> + Send {
        let options = ReadOptions::default().with_range(range);
        async move {
            let read = self.read(path, options).await?;
            read.bytes(READ_LIMIT).await.map_err(|error| at(error, path))
        }
    }

    /// Writes a file, replacing what is there.
    ///
    /// # Errors
    /// Those of [`FileSystem::write`].
    fn write_file(
        &self,
        path: &ResourcePath,
        data: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<Metadata>> + Send {
        let data = data.into();
        async move { self.write(path, data, WriteMode::Overwrite.into()).await }
    }

    /// Adds to the end of a file.
    ///
    /// # Errors
    /// Those of [`FileSystem::write`]; `Unsupported` where append is not declared.
    fn append(
        &self,
        path: &ResourcePath,
        data: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<Metadata>> + Send {
        let data = data.into();
        async move { self.write(path, data, WriteMode::Append.into()).await }
    }

    /// Writes a file where nothing is.
    ///
    /// # Errors
    /// Those of [`FileSystem::write`]; `AlreadyExists`.
    fn create_new(
        &self,
        path: &ResourcePath,
        data: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<Metadata>> + Send {
        let data = data.into();
        async move { self.write(path, data, WriteMode::CreateNew.into()).await }
    }

    /// What is at `path`, symlinks followed.
    ///
    /// # Errors
    /// Those of [`FileSystem::stat`].
    fn metadata(&self, path: &ResourcePath) -> impl Future<Output = Result<Metadata>> + Send {
        async move { self.stat(path, StatOptions::default()).await }
    }

    /// Whether something is at `path`. Only `NotFound` counts as no.
    ///
    /// # Errors
    /// Every other error of [`FileSystem::stat`].
    fn exists(&self, path: &ResourcePath) -> impl Future<Output = Result<bool>> + Send {
        async move {
            match self.metadata(path).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(error),
            }
        }
    }

    /// The entries of a directory, sorted by name. All of them are held in memory: use [`FileSystem::list`] where
    /// there may be very many.
    ///
    /// # Errors
    /// Those of [`FileSystem::list`].
    fn readdir(&self, path: &ResourcePath) -> impl Future<Output = Result<Vec<DirEntry>>> + Send {
        async move {
            let mut entries: Vec<DirEntry> = self.list(path, ListOptions::default()).try_collect().await?;
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        }
    }

    /// Removes whatever is at `path`, with all that is below it; content with nothing being there.
    ///
    /// # Errors
    /// Those of [`FileSystem::rm`].
    fn rm_all(&self, path: &ResourcePath) -> impl Future<Output = Result<()>> + Send {
        async move { self.rm(path, RemoveOptions::recursive().with_force()).await }
    }

    /// The whole tree below a directory, as it is found.
    ///
    /// # Errors
    /// In the stream: those of [`FileSystem::list`].
    fn walk(&self, path: &ResourcePath) -> EntryStream {
        self.list(path, ListOptions::recursive())
    }
}

impl<T: FileSystem + ?Sized> FileSystemExt for T {}

fn at(error: Error, path: &ResourcePath) -> Error {
    if error.path().is_none() { error.with_path(path) } else { error }
}

//! Files and directories.

mod capabilities;
mod ext;
mod metadata;
mod options;
mod read;
mod writer;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

pub use self::{
    capabilities::{ConditionStrength, FsCapabilities},
    ext::FileSystemExt,
    metadata::{DirEntry, FileKind, Metadata, Version},
    options::{
        ListOptions, MkdirOptions, ReadOptions, ReadRange, RemoveOptions, StatOptions, TransferOptions,
        WriteMode, WriteOptions,
    },
    read::{ByteStream, FileRead},
    writer::FileWriter,
};
use crate::{ResourcePath, Result};

/// The entries of a directory as they are found, in no particular order.
pub type EntryStream = BoxStream<'static, Result<DirEntry>>;

/// A tree of files and directories.
///
/// `docs/semantics.md` says for every verb and case what happens, and the conformance kit proves it. In short:
///
/// 1. **Paths** are names below this file system's own root. Symlinks are followed while they stay inside;
///    a path that leads out is [`ErrorKind::Escapes`](crate::ErrorKind::Escapes).
/// 2. **A write is published whole.** No reader sees a part of it, and a failed or dropped one leaves nothing.
/// 3. **A write answers with the new [`Version`]**, so that compare-and-swap chains without another look.
/// 4. **What a provider does not declare** in [`FsCapabilities`] answers
///    [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) and changes nothing.
/// 5. **Dropping** a future or a stream cancels its work. An operation that was already under way may still take
///    effect, whole or not at all.
///
/// # Wrapping
/// No method is provided, so a wrapper can't forget one. It must treat streams and writers as well as calls, and
/// state its own [`FileSystem::capabilities`].
#[async_trait]
pub trait FileSystem: fmt::Debug + Send + Sync + 'static {
    /// What this file system can do beyond the basics. Constant over its life.
    fn capabilities(&self) -> FsCapabilities;

    /// Opens a file for reading.
    ///
    /// The range is clamped to the file: one that begins at or behind the end gives an empty body.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`, `ConditionFailed` when `if_match` names another version, `InvalidInput` for a
    /// range whose end lies before its start or for a thing that is neither file nor directory (a FIFO, a socket,
    /// a device).
    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead>;

    /// Writes a whole file. By way of a symlink the file is written that it leads to, also one that does not exist yet,
    /// and the link stays.
    ///
    /// # Errors
    /// `NotFound` when the parent is missing and `create_parents` is off, and with it as well where a symlink on the way
    /// leads nowhere: no directory is made behind a link. `NotADirectory` when a parent is no
    /// directory, `IsADirectory`, `AlreadyExists` for [`WriteMode::CreateNew`], `ConditionFailed` for
    /// [`WriteMode::IfMatch`], `LimitExceeded` when there is no room.
    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata>;

    /// Begins a write whose content comes in pieces. It is published when the writer is closed.
    ///
    /// # Errors
    /// As for [`FileSystem::write`]; the conditions of the mode are checked at `close` at the latest.
    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>>;

    /// What is at `path`: what a symlink there leads to, or with [`StatOptions::no_follow`] the symlink itself.
    ///
    /// # Errors
    /// `NotFound`, also for a followed symlink that leads nowhere.
    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata>;

    /// The entries of a directory, or of the whole tree below it. A symlink is listed as such, and not entered.
    ///
    /// # Errors
    /// In the stream: `NotFound`, `NotADirectory`. After an error the stream ends.
    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream;

    /// Creates a directory.
    ///
    /// # Errors
    /// `AlreadyExists` (with `recursive` only where something other than a directory is there; a symlink that leads
    /// nowhere is something), `NotFound` when the parent is missing and `recursive` is off, and with it as well where a
    /// symlink on the way leads nowhere, `NotADirectory` when a parent is no directory.
    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()>;

    /// Removes a file, a symlink (never what it points to) or a directory.
    ///
    /// # Errors
    /// `NotFound` unless `force`; `DirectoryNotEmpty` without `recursive`; `InvalidInput` for the root.
    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()>;

    /// Moves a file, a symlink or a directory. An existing file at `to` is replaced, and so is an empty directory by
    /// a directory. A move onto itself does nothing.
    ///
    /// # Errors
    /// `NotFound` for a missing `from` or a missing parent of `to`, `AlreadyExists` with `create_new`,
    /// `IsADirectory` (a file onto a directory), `NotADirectory` (a directory onto a file), `DirectoryNotEmpty`,
    /// `InvalidInput` for the root or for a directory into itself.
    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()>;

    /// Copies a file (published whole), or a directory with all that is below it (file by file). A symlink below
    /// is copied as such, one at `from` stands for what it leads to. A copy onto itself does nothing.
    ///
    /// Where permission bits are declared, what is new has those of its source, in a tree too, less what the host
    /// withholds from new files (a umask). A file that is replaced keeps its own.
    ///
    /// # Errors
    /// As for [`FileSystem::rename`]; in addition, a directory is copied only to where nothing is
    /// (`AlreadyExists`).
    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()>;
}

#[async_trait]
impl<T: FileSystem + ?Sized> FileSystem for Arc<T> {
    fn capabilities(&self) -> FsCapabilities {
        (**self).capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        (**self).read(path, options).await
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        (**self).write(path, data, options).await
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        (**self).writer(path, options).await
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        (**self).stat(path, options).await
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        (**self).list(path, options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        (**self).mkdir(path, options).await
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        (**self).rm(path, options).await
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        (**self).rename(from, to, options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        (**self).copy(from, to, options).await
    }
}

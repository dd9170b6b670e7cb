use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use agentx_resource::{ErrorKind, FileRead, ReadOptions, ResourcePath, Result, TransferOptions};
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutMode, path::Path};

use super::{R2FileSystem, error, error::fail, key, place::Place, writer::MAX_CONDITIONAL};

/// How many objects of a directory are copied at a time.
const CONCURRENT_COPIES: usize = 8;

/// How far the copy or rename of a directory has come: objects that the store has copied, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct R2Progress {
    /// The directory.
    pub from: ResourcePath,
    /// What it becomes.
    pub to: ResourcePath,
    /// How many objects are copied.
    pub copied: u64,
    /// How many there were at the beginning.
    pub total: u64,
}

/// What is to be transferred, after every check has passed.
enum Transfer {
    Nothing,
    File,
    Directory { onto: Place },
}

impl R2FileSystem {
    pub(super) async fn move_to(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
    ) -> Result<()> {
        match self.check_transfer(from, to, options, "rename").await? {
            Transfer::Nothing => Ok(()),
            Transfer::File => {
                self.copy_file(from, to, options, "rename").await?;
                self.delete(&key::object(from, "rename")?, from, "rename").await
            }
            Transfer::Directory { onto } => {
                match onto {
                    Place::File(_) => return Err(fail(ErrorKind::NotADirectory, "rename", to)),
                    Place::Directory if self.has_entries(to, "rename").await? => {
                        return Err(fail(ErrorKind::DirectoryNotEmpty, "rename", to));
                    }
                    _ => {}
                }
                self.copy_directory(from, to, options, "rename").await?;
                self.delete_below(from, "rename").await
            }
        }
    }

    pub(super) async fn copy_to(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
    ) -> Result<()> {
        match self.check_transfer(from, to, options, "copy").await? {
            Transfer::Nothing => Ok(()),
            Transfer::File => self.copy_file(from, to, options, "copy").await,
            Transfer::Directory { onto: Place::File(_) | Place::Directory } => {
                Err(fail(ErrorKind::AlreadyExists, "copy", to))
            }
            // Nothing may be there, so one of two racers gives up here, whatever the options.
            Transfer::Directory { .. } => {
                self.copy_directory(from, to, &TransferOptions::create_new(), "copy").await
            }
        }
    }

    /// What rename and copy ask alike.
    async fn check_transfer(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
        operation: &'static str,
    ) -> Result<Transfer> {
        if from.is_root() || to.is_root() {
            let error = fail(ErrorKind::InvalidInput, operation, from);
            return Err(error.with_message("the root stays as it is"));
        }
        let directory = match self.place(from, operation).await? {
            Place::File(_) => false,
            Place::Directory => true,
            Place::Vacant | Place::NoParent | Place::BelowFile => {
                return Err(fail(ErrorKind::NotFound, operation, from));
            }
        };
        if from == to && !options.create_new {
            return Ok(Transfer::Nothing);
        }
        if directory && from != to && to.starts_with(from) {
            let error = fail(ErrorKind::InvalidInput, operation, to);
            return Err(error.with_message("a directory can't hold itself"));
        }
        let kind = match self.place(to, operation).await? {
            Place::BelowFile => ErrorKind::NotADirectory,
            Place::NoParent => ErrorKind::NotFound,
            Place::File(_) | Place::Directory if options.create_new => ErrorKind::AlreadyExists,
            Place::Directory if !directory => ErrorKind::IsADirectory,
            onto if directory => return Ok(Transfer::Directory { onto }),
            _ => return Ok(Transfer::File),
        };
        Err(fail(kind, operation, to))
    }

    async fn copy_file(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
        operation: &'static str,
    ) -> Result<()> {
        if !options.create_new {
            let (source, target) = (key::object(from, operation)?, key::object(to, operation)?);
            let copied = self.store.copy(&source, &target).await;
            return copied.map_err(|error| error::store(error, operation, from));
        }
        // Of the stores' own conditional copies not all heed the condition; their conditional puts do.
        let read: FileRead = self.open(from, ReadOptions::default()).await?;
        let content = read.bytes(MAX_CONDITIONAL as u64).await.map_err(|error| {
            let kind = error.kind();
            fail(kind, operation, from).with_retry(error.retry()).with_source(error)
        })?;
        self.put(to, content, PutMode::Create, operation).await.map(drop)
    }

    /// Copies what is below `from` to below `to`, where no entry is.
    async fn copy_directory(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        options: &TransferOptions,
        operation: &'static str,
    ) -> Result<()> {
        let total = self.check_lengths(from, to, operation).await?;
        let mode = if options.create_new { PutMode::Create } else { PutMode::Overwrite };
        self.put_marker(to, operation, mode).await?;
        let (source, target) = (key::object(from, operation)?, key::object(to, operation)?);
        let marker = key::marker(from, operation)?;
        let copied = &AtomicU64::new(0);
        self.objects_below(from, operation)?
            .try_filter(|object| futures::future::ready(object.location != marker))
            .and_then(|object| {
                let moved = moved(&object.location, &source, &target);
                let moved = moved.ok_or_else(|| fail(ErrorKind::Internal, operation, from));
                futures::future::ready(moved.map(|moved| (object.location, moved)))
            })
            .map_ok(|(object, moved)| async move {
                let result = self.store.copy(&object, &moved).await;
                result.map_err(|error| error::store(error, operation, from))?;
                if let Some(progress) = &self.progress {
                    let copied = copied.fetch_add(1, Relaxed) + 1;
                    progress(&R2Progress { from: from.clone(), to: to.clone(), copied, total });
                }
                Ok(())
            })
            .try_buffer_unordered(CONCURRENT_COPIES)
            .try_collect()
            .await
    }

    /// Refuses, before anything is copied, a transfer after which something would have no key. Answers how many objects
    /// there are to copy.
    async fn check_lengths(
        &self,
        from: &ResourcePath,
        to: &ResourcePath,
        operation: &'static str,
    ) -> Result<u64> {
        let (source, target) = (key::object(from, operation)?, key::object(to, operation)?);
        let marker = key::marker(from, operation)?;
        let mut objects = self.objects_below(from, operation)?;
        let mut total = 0;
        while let Some(object) = objects.try_next().await? {
            total += u64::from(object.location != marker);
            let length = object.location.as_ref().len() - source.as_ref().len() + target.as_ref().len();
            if length > key::MAX_KEY + 1 + key::MARKER.len() {
                return Err(key::too_long(to, operation));
            }
        }
        Ok(total)
    }
}

/// The key below `target` that `object` has below `source`. Keys are moved as they are, also those that stand for
/// no path.
fn moved(object: &Path, source: &Path, target: &Path) -> Option<Path> {
    Path::parse(format!("{target}{}", object.as_ref().strip_prefix(source.as_ref())?)).ok()
}

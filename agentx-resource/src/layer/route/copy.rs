use futures::TryStreamExt;

use super::fs::RouteFileSystem;
use crate::{
    Error, ErrorKind, FileKind, FileSystem, FileSystemExt, ListOptions, Metadata, MkdirOptions, ReadOptions,
    RemoveOptions, ResourcePath, Result, TransferOptions, WriteMode, WriteOptions,
};

/// Copies file by file, from one region to another or over the mounts below a directory.
pub(super) async fn copy(
    fs: &RouteFileSystem,
    from: &ResourcePath,
    to: &ResourcePath,
    options: &TransferOptions,
) -> Result<()> {
    let source = fs.metadata(from).await.map_err(|error| retold(error, from))?;
    if from == to && !options.create_new {
        return Ok(());
    }
    if source.is_dir() && from != to && to.starts_with(from) {
        let error = fail(ErrorKind::InvalidInput, to).with_message("a directory can't hold itself");
        return Err(error);
    }
    if !source.is_dir() {
        let mode = if options.create_new { WriteMode::CreateNew } else { WriteMode::Overwrite };
        return copy_file(fs, from, to, mode.into()).await;
    }
    // Creating the directory asks whether its parent is there and nothing is in its place.
    fs.mkdir(to, MkdirOptions::default()).await.map_err(|error| retold(error, to))?;
    let copied = copy_below(fs, from, to).await;
    if copied.is_err() {
        fs.rm(to, RemoveOptions::recursive().with_force()).await.map_err(|error| {
            fail(ErrorKind::Lost, to).with_message("what was copied could not be removed").with_source(error)
        })?;
    }
    copied
}

async fn copy_below(fs: &RouteFileSystem, from: &ResourcePath, to: &ResourcePath) -> Result<()> {
    let mut entries = fs.list(from, ListOptions::recursive());
    while let Some(entry) = entries.try_next().await.map_err(|error| retold(error, from))? {
        let below = entry.path.as_ref().and_then(|path| Some((path, path.strip_prefix(from)?)));
        let Some((source, relative)) = below else { return Err(refused(from, &entry.name)) };
        let target = to.join(relative)?;
        match entry.metadata {
            Metadata { kind: FileKind::Directory, .. } => {
                fs.mkdir(&target, MkdirOptions::recursive()).await.map_err(|error| retold(error, &target))?;
            }
            Metadata { kind: FileKind::File, .. } => {
                let options = WriteOptions::from(WriteMode::CreateNew).with_create_parents();
                copy_file(fs, source, &target, options).await?;
            }
            _ => return Err(refused(source, &entry.name)),
        }
    }
    Ok(())
}

async fn copy_file(
    fs: &RouteFileSystem,
    from: &ResourcePath,
    to: &ResourcePath,
    options: WriteOptions,
) -> Result<()> {
    let mut read = fs.read(from, ReadOptions::default()).await.map_err(|error| retold(error, from))?;
    let mut writer = fs.writer(to, options).await.map_err(|error| retold(error, to))?;
    let mut copied = 0_u64;
    while let Some(piece) = read.body.try_next().await.map_err(|error| retold(error, from))? {
        copied = copied.saturating_add(piece.len() as u64);
        writer.write(piece).await.map_err(|error| retold(error, to))?;
    }
    if copied != read.metadata.len {
        return Err(fail(ErrorKind::Truncated, from).with_message("the file ended early"));
    }
    writer.close().await.map_err(|error| retold(error, to))?;
    Ok(())
}

/// The error of a step, as one of the copy.
fn retold(error: Error, path: &ResourcePath) -> Error {
    fail(error.kind(), path).with_retry(error.retry()).with_source(error)
}

fn refused(path: &ResourcePath, name: &str) -> Error {
    fail(ErrorKind::Unsupported, path)
        .with_message(format!("{name:?} can't be copied from one file system to another"))
}

fn fail(kind: ErrorKind, path: &ResourcePath) -> Error {
    Error::new(kind, "copy").with_path(path)
}

use std::sync::Arc;

use agentx_resource::{
    Error, ErrorKind, FileSystem, FileSystemExt, MkdirOptions, ResourcePath, Version, WriteOptions,
};
use bytes::Bytes;
use futures::TryStreamExt;

use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// What each case gets.
pub(super) type Fs = Arc<dyn FileSystem>;

/// A path of a case.
#[track_caller]
pub(super) fn path(text: &str) -> Result<ResourcePath, Failure> {
    Ok(ResourcePath::new(text)?)
}

/// Puts a file where a case needs it, in directories that are made first.
pub(super) async fn put(fs: &Fs, at: &str, content: &str) -> Result<Version, Failure> {
    let at = path(at)?;
    if let Some(parent) = at.parent().filter(|parent| !parent.is_root()) {
        fs.mkdir(&parent, MkdirOptions::recursive()).await?;
    }
    let metadata = fs.write_file(&at, Bytes::copy_from_slice(content.as_bytes())).await?;
    Ok(metadata.version.unwrap_or_else(|| Version::new("")))
}

/// Puts a file into a directory that comes to be along with it.
pub(super) async fn put_implied(fs: &Fs, at: &str) -> Outcome {
    let options = WriteOptions::default().with_create_parents();
    fs.write(&path(at)?, Bytes::from_static(b"x"), options).await?;
    Ok(())
}

/// Puts a directory where a case needs it.
pub(super) async fn put_directory(fs: &Fs, at: &str) -> Outcome {
    Ok(fs.mkdir(&path(at)?, MkdirOptions::recursive()).await?)
}

/// Fails unless the file at `at` holds `content`.
pub(super) async fn holds(fs: &Fs, at: &str, content: &str) -> Outcome {
    let found = fs.read_file(&path(at)?).await?;
    ensure_eq(String::from_utf8_lossy(&found), content, format!("the content of {at}"))
}

/// Fails unless there is nothing at `at`.
pub(super) async fn is_missing(fs: &Fs, at: &str) -> Outcome {
    ensure_kind(fs.metadata(&path(at)?).await, ErrorKind::NotFound, format!("stat of {at}"))
}

/// Fails unless there is a directory at `at`.
pub(super) async fn is_directory(fs: &Fs, at: &str) -> Outcome {
    ensure(fs.metadata(&path(at)?).await?.is_dir(), format!("{at} is no directory"))
}

/// All paths below `at`, in order.
pub(super) async fn tree(fs: &Fs, at: &str) -> Result<Vec<String>, Failure> {
    let entries: Vec<_> = fs.walk(&path(at)?).try_collect().await?;
    let mut paths: Vec<String> =
        entries.into_iter().map(|entry| entry.path.map_or(entry.name, |path| path.to_string())).collect();
    paths.sort_unstable();
    Ok(paths)
}

/// Fails unless exactly these paths are below `/`.
pub(super) async fn tree_is(fs: &Fs, expected: &[&str]) -> Outcome {
    ensure_eq(tree(fs, "/").await?, expected, "the tree")
}

/// Writes through a writer in these pieces. An error of any step is the result.
pub(super) async fn write_pieces(
    fs: &Fs,
    at: &ResourcePath,
    pieces: &[&'static str],
    options: WriteOptions,
) -> Result<agentx_resource::Metadata, Error> {
    let mut writer = fs.writer(at, options).await?;
    for piece in pieces {
        writer.write(Bytes::from_static(piece.as_bytes())).await?;
    }
    writer.close().await
}

/// Bytes that repeat only after a prime, so that a piece at the wrong place shows.
pub(super) fn pattern(length: usize) -> Bytes {
    let block: Vec<u8> = (0..=250).collect();
    Bytes::from(block.repeat(length.div_ceil(block.len()))).slice(..length)
}

/// Runs `count` tasks at the same time, on several threads, and gives their results in order.
pub(super) async fn race<T, F>(count: usize, task: impl Fn(usize) -> F) -> Result<Vec<T>, Failure>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(tokio::sync::Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let (start, task) = (Arc::clone(&start), task(index));
            tokio::spawn(async move {
                start.wait().await;
                task.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(count);
    for task in tasks {
        results.push(task.await.map_err(|error| Failure::new(format!("a racer failed: {error}")))?);
    }
    Ok(results)
}

use agentx_resource::{ErrorKind, FileKind, FileSystemExt, ListOptions, Metadata};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::support::{Fs, path, put, put_directory, tree};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// The names in `/d`, sorted.
async fn names(fs: &Fs, at: &str) -> Result<Vec<String>, crate::Failure> {
    Ok(fs.readdir(&path(at)?).await?.into_iter().map(|entry| entry.name).collect())
}

pub(super) async fn list_empty_root(fs: Fs) -> Outcome {
    ensure_eq(names(&fs, "/").await?, [""; 0], "the entries of a fresh root")
}

pub(super) async fn list_entries(fs: Fs) -> Outcome {
    put(&fs, "/d/b", "x").await?;
    put(&fs, "/d/a", "x").await?;
    put_directory(&fs, "/d/c").await?;
    let entries = fs.readdir(&path("/d")?).await?;
    let found: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.metadata.kind)).collect();
    let expected = [("a", FileKind::File), ("b", FileKind::File), ("c", FileKind::Directory)];
    ensure_eq(found, expected, "the entries")?;
    for entry in &entries {
        let expected = path("/d")?.join(&entry.name)?;
        ensure_eq(entry.path.as_ref(), Some(&expected), "the path of an entry")?;
    }
    Ok(())
}

pub(super) async fn list_empty_directory(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    ensure_eq(names(&fs, "/d").await?, [""; 0], "the entries of an empty directory")?;
    ensure_eq(tree(&fs, "/d").await?, [""; 0], "the tree below an empty directory")
}

pub(super) async fn list_missing(fs: Fs) -> Outcome {
    for at in ["/a", "/a/b"] {
        ensure_kind(fs.readdir(&path(at)?).await, ErrorKind::NotFound, at)?;
        let recursive: Result<Vec<_>, _> = fs.walk(&path(at)?).try_collect().await;
        ensure_kind(recursive, ErrorKind::NotFound, at)?;
    }
    Ok(())
}

pub(super) async fn list_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "x").await?;
    ensure_kind(fs.readdir(&path("/a")?).await, ErrorKind::NotADirectory, "list")?;
    let recursive: Result<Vec<_>, _> = fs.walk(&path("/a")?).try_collect().await;
    ensure_kind(recursive, ErrorKind::NotADirectory, "a recursive list")
}

pub(super) async fn list_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "x").await?;
    ensure_kind(fs.readdir(&path("/a/b")?).await, ErrorKind::NotFound, "list")
}

pub(super) async fn list_error_ends(fs: Fs) -> Outcome {
    let mut entries = fs.list(&path("/a")?, ListOptions::default());
    ensure(entries.next().await.is_some_and(|entry| entry.is_err()), "the list has no error")?;
    ensure(entries.next().await.is_none(), "the list goes on after its error")
}

pub(super) async fn list_shallow(fs: Fs) -> Outcome {
    put(&fs, "/d/sub/deep/f", "x").await?;
    put(&fs, "/d/f", "x").await?;
    ensure_eq(names(&fs, "/d").await?, ["f", "sub"], "the entries")?;
    ensure_eq(names(&fs, "/").await?, ["d"], "the entries of the root")
}

pub(super) async fn list_recursive(fs: Fs) -> Outcome {
    put(&fs, "/d/sub/deep/f", "x").await?;
    put(&fs, "/d/f", "x").await?;
    put(&fs, "/other", "x").await?;
    put_directory(&fs, "/d/empty").await?;
    let expected = ["/d/empty", "/d/f", "/d/sub", "/d/sub/deep", "/d/sub/deep/f"];
    ensure_eq(tree(&fs, "/d").await?, expected, "the tree")
}

pub(super) async fn list_recursive_root(fs: Fs) -> Outcome {
    put(&fs, "/a/b", "x").await?;
    put(&fs, "/c", "x").await?;
    ensure_eq(tree(&fs, "/").await?, ["/a", "/a/b", "/c"], "the tree")
}

pub(super) async fn list_metadata(fs: Fs) -> Outcome {
    put(&fs, "/d/a", "hello").await?;
    put(&fs, "/d/b/c", "hello, longer").await?;
    let entries: Vec<_> = fs.walk(&path("/d")?).try_collect().await?;
    ensure_eq(entries.len(), 3, "how many entries there are")?;
    for entry in entries {
        let Some(at) = entry.path else { return ensure(false, "an entry has no path") };
        let Metadata { kind, len, modified, version, .. } = fs.metadata(&at).await?;
        ensure_eq(entry.metadata.kind, kind, "the kind")?;
        if kind == FileKind::File {
            ensure_eq(entry.metadata.len, len, "the length")?;
            ensure_eq(entry.metadata.modified, modified, "the time")?;
            ensure_eq(&entry.metadata.version, &version, "the version")?;
        }
    }
    Ok(())
}

pub(super) async fn list_similar_names(fs: Fs) -> Outcome {
    for at in ["/a/in", "/a.txt", "/ab/out", "/a-b", "/a0", "/A/out"] {
        put(&fs, at, "x").await?;
    }
    ensure_eq(names(&fs, "/a").await?, ["in"], "the entries")?;
    ensure_eq(tree(&fs, "/a").await?, ["/a/in"], "the tree")
}

pub(super) async fn list_many(fs: Fs) -> Outcome {
    const COUNT: usize = 1100;
    put_directory(&fs, "/d").await?;
    let base = path("/d")?;
    let writes = stream::iter(0..COUNT).map(|index| {
        let (fs, at) = (fs.clone(), base.join(format!("{index:04}")));
        async move { fs.write_file(&at?, Bytes::new()).await }
    });
    writes.buffer_unordered(16).try_for_each(|_| async { Ok(()) }).await?;
    let expected: Vec<String> = (0..COUNT).map(|index| format!("{index:04}")).collect();
    ensure(names(&fs, "/d").await? == expected, "a list of 1100 entries is not what was written")?;
    ensure_eq(tree(&fs, "/").await?.len(), COUNT + 1, "how many entries a recursive list has")
}

pub(super) async fn list_dropped(fs: Fs) -> Outcome {
    for at in ["/a", "/b", "/c"] {
        put(&fs, at, "x").await?;
    }
    for _ in 0..20 {
        let mut entries = fs.list(&path("/")?, ListOptions::recursive());
        ensure(entries.next().await.is_some_and(|entry| entry.is_ok()), "no first entry")?;
        drop(entries);
    }
    ensure_eq(names(&fs, "/").await?, ["a", "b", "c"], "the entries")
}

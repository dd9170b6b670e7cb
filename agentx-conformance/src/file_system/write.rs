use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use agentx_resource::{ErrorKind, FileKind, FileSystemExt, WriteMode, WriteOptions};
use bytes::Bytes;

use super::support::{
    Fs, holds, is_directory, is_missing, path, pattern, put, put_directory, put_implied, race, tree_is,
};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

pub(super) async fn write_new(fs: Fs) -> Outcome {
    fs.write_file(&path("/a")?, "hello").await?;
    holds(&fs, "/a", "hello").await?;
    tree_is(&fs, &["/a"]).await
}

pub(super) async fn write_empty(fs: Fs) -> Outcome {
    fs.write_file(&path("/a")?, "").await?;
    holds(&fs, "/a", "").await?;
    ensure_eq(fs.metadata(&path("/a")?).await?.len, 0, "the length")
}

pub(super) async fn write_large(fs: Fs) -> Outcome {
    let content = pattern((8 << 20) + 1);
    fs.write_file(&path("/a")?, content.clone()).await?;
    ensure(fs.read_file(&path("/a")?).await? == content, "8 MiB do not come back as they were written")
}

pub(super) async fn write_replaces(fs: Fs) -> Outcome {
    put(&fs, "/a", "one").await?;
    fs.write_file(&path("/a")?, "two, longer").await?;
    holds(&fs, "/a", "two, longer").await?;
    tree_is(&fs, &["/a"]).await
}

pub(super) async fn write_shorter(fs: Fs) -> Outcome {
    put(&fs, "/a", "a long content").await?;
    fs.write_file(&path("/a")?, "short").await?;
    holds(&fs, "/a", "short").await
}

pub(super) async fn write_answers_metadata(fs: Fs) -> Outcome {
    let written = fs.write_file(&path("/a")?, "hello").await?;
    ensure_eq(written.kind, FileKind::File, "the kind")?;
    ensure_eq(written.len, 5, "the length")?;
    ensure_eq(&written.version, &fs.metadata(&path("/a")?).await?.version, "the version")?;
    let versions = fs.capabilities().if_match.is_some();
    ensure(written.version.is_some() || !versions, "conditional writes are declared, and there is no version")
}

pub(super) async fn write_changes_version(fs: Fs) -> Outcome {
    let first = fs.write_file(&path("/a")?, "one").await?.version;
    // As long as the first, and as close in time as can be.
    let second = fs.write_file(&path("/a")?, "two").await?.version;
    ensure(first.is_none() || first != second, "another content has the same version")
}

pub(super) async fn write_missing_parent(fs: Fs) -> Outcome {
    ensure_kind(fs.write_file(&path("/a/b")?, "x").await, ErrorKind::NotFound, "write")?;
    tree_is(&fs, &[]).await
}

pub(super) async fn write_create_parents(fs: Fs) -> Outcome {
    let options = WriteOptions::default().with_create_parents();
    fs.write(&path("/a/b/c")?, Bytes::from_static(b"x"), options).await?;
    holds(&fs, "/a/b/c", "x").await?;
    is_directory(&fs, "/a").await?;
    tree_is(&fs, &["/a", "/a/b", "/a/b/c"]).await
}

pub(super) async fn write_create_parents_existing(fs: Fs) -> Outcome {
    put(&fs, "/a/kept", "kept").await?;
    let options = WriteOptions::default().with_create_parents();
    fs.write(&path("/a/b")?, Bytes::from_static(b"x"), options).await?;
    tree_is(&fs, &["/a", "/a/b", "/a/kept"]).await
}

pub(super) async fn write_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    for at in ["/a/b", "/a/b/c"] {
        ensure_kind(fs.write_file(&path(at)?, "x").await, ErrorKind::NotADirectory, at)?;
    }
    holds(&fs, "/a", "kept").await
}

pub(super) async fn write_below_file_create_parents(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    for at in ["/a/b", "/a/b/c"] {
        let options = WriteOptions::default().with_create_parents();
        let written = fs.write(&path(at)?, Bytes::from_static(b"x"), options).await;
        ensure_kind(written, ErrorKind::NotADirectory, at)?;
    }
    holds(&fs, "/a", "kept").await
}

pub(super) async fn write_directory(fs: Fs) -> Outcome {
    put(&fs, "/a/kept", "kept").await?;
    put_directory(&fs, "/empty").await?;
    for at in ["/a", "/empty"] {
        ensure_kind(fs.write_file(&path(at)?, "x").await, ErrorKind::IsADirectory, at)?;
    }
    holds(&fs, "/a/kept", "kept").await?;
    is_directory(&fs, "/empty").await
}

pub(super) async fn write_root(fs: Fs) -> Outcome {
    ensure_kind(fs.write_file(&path("/")?, "x").await, ErrorKind::IsADirectory, "write")
}

pub(super) async fn write_seen_whole(fs: Fs) -> Outcome {
    const LENGTH: usize = 256 << 10;
    let at = path("/a")?;
    fs.write_file(&at, vec![0; LENGTH]).await?;
    let done = Arc::new(AtomicBool::new(false));
    let outcomes = race(5, |index| {
        let (fs, at, done) = (fs.clone(), at.clone(), Arc::clone(&done));
        async move {
            if index == 0 {
                let result = overwrite(&fs, &at, LENGTH).await;
                done.store(true, Ordering::SeqCst);
                return result;
            }
            while !done.load(Ordering::SeqCst) {
                let found = fs.read_file(&at).await?;
                let first = found.first().copied();
                let whole = found.len() == LENGTH && found.iter().all(|byte| Some(*byte) == first);
                ensure(whole, "a reader saw a part of a write")?;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    })
    .await?;
    outcomes.into_iter().collect()
}

async fn overwrite(fs: &Fs, at: &agentx_resource::ResourcePath, length: usize) -> Outcome {
    for round in 1..=30 {
        fs.write_file(at, vec![round; length]).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

pub(super) async fn create_new(fs: Fs) -> Outcome {
    let written = fs.create_new(&path("/a")?, "hello").await?;
    ensure_eq(written.len, 5, "the length")?;
    holds(&fs, "/a", "hello").await
}

pub(super) async fn create_new_existing(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    ensure_kind(fs.create_new(&path("/a")?, "x").await, ErrorKind::AlreadyExists, "create new")?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn create_new_directory(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    put_implied(&fs, "/implied/f").await?;
    for at in ["/d", "/implied"] {
        ensure_kind(fs.create_new(&path(at)?, "x").await, ErrorKind::AlreadyExists, at)?;
        is_directory(&fs, at).await?;
    }
    Ok(())
}

pub(super) async fn create_new_root(fs: Fs) -> Outcome {
    ensure_kind(fs.create_new(&path("/")?, "x").await, ErrorKind::AlreadyExists, "create new")
}

pub(super) async fn create_new_missing_parent(fs: Fs) -> Outcome {
    ensure_kind(fs.create_new(&path("/a/b")?, "x").await, ErrorKind::NotFound, "create new")?;
    is_missing(&fs, "/a").await?;
    let options = WriteOptions::from(WriteMode::CreateNew).with_create_parents();
    fs.write(&path("/a/b")?, Bytes::from_static(b"x"), options).await?;
    holds(&fs, "/a/b", "x").await
}

pub(super) async fn create_new_race(fs: Fs) -> Outcome {
    let at = path("/a")?;
    let results = race(16, |index| {
        let (fs, at) = (fs.clone(), at.clone());
        async move { fs.create_new(&at, format!("racer {index}")).await }
    })
    .await?;
    let mut winner = None;
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(_) => {
                ensure(winner.is_none(), "two racers created the same file")?;
                winner = Some(index);
            }
            Err(error) => ensure_eq(error.kind(), ErrorKind::AlreadyExists, "what a loser is told")?,
        }
    }
    let Some(winner) = winner else { return ensure(false, "no racer created the file") };
    holds(&fs, "/a", &format!("racer {winner}")).await
}

use agentx_resource::{ErrorKind, FileSystemExt, WriteMode, WriteOptions};
use bytes::Bytes;

use super::support::{
    Fs, holds, is_directory, is_missing, path, put, put_directory, race, tree_is, write_pieces,
};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

pub(super) async fn writer_publishes(fs: Fs) -> Outcome {
    write_pieces(&fs, &path("/a")?, &["hello"], WriteOptions::default()).await?;
    holds(&fs, "/a", "hello").await?;
    tree_is(&fs, &["/a"]).await
}

pub(super) async fn writer_pieces(fs: Fs) -> Outcome {
    put(&fs, "/a", "what was there before, and is longer").await?;
    write_pieces(&fs, &path("/a")?, &["one,", "", "two,", "three"], WriteOptions::default()).await?;
    holds(&fs, "/a", "one,two,three").await?;
    let mut writer = fs.writer(&path("/large")?, WriteOptions::default()).await?;
    let piece = super::support::pattern(700_001);
    for _ in 0..12 {
        writer.write(piece.clone()).await?;
    }
    let written = writer.close().await?;
    ensure_eq(written.len, 12 * 700_001, "the length")?;
    let found = fs.read_file(&path("/large")?).await?;
    ensure(found.chunks(700_001).all(|chunk| chunk == piece), "pieces of 8 MiB in all came back otherwise")
}

pub(super) async fn writer_empty(fs: Fs) -> Outcome {
    write_pieces(&fs, &path("/a")?, &[], WriteOptions::default()).await?;
    holds(&fs, "/a", "").await
}

pub(super) async fn writer_invisible(fs: Fs) -> Outcome {
    put(&fs, "/old", "kept").await?;
    let mut new = fs.writer(&path("/new")?, WriteOptions::default()).await?;
    let mut old = fs.writer(&path("/old")?, WriteOptions::default()).await?;
    for writer in [&mut new, &mut old] {
        writer.write(super::support::pattern(1 << 20)).await?;
    }
    is_missing(&fs, "/new").await?;
    holds(&fs, "/old", "kept").await?;
    tree_is(&fs, &["/old"]).await?;
    new.close().await?;
    old.close().await?;
    tree_is(&fs, &["/new", "/old"]).await
}

pub(super) async fn writer_dropped(fs: Fs) -> Outcome {
    let mut writer = fs.writer(&path("/a")?, WriteOptions::default()).await?;
    writer.write(Bytes::from_static(b"x")).await?;
    drop(writer);
    is_missing(&fs, "/a").await?;
    tree_is(&fs, &[]).await
}

pub(super) async fn writer_dropped_keeps(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    let mut writer = fs.writer(&path("/a")?, WriteOptions::default()).await?;
    writer.write(Bytes::from_static(b"x")).await?;
    drop(writer);
    holds(&fs, "/a", "kept").await?;
    tree_is(&fs, &["/a"]).await
}

pub(super) async fn writer_dropped_unwritten(fs: Fs) -> Outcome {
    drop(fs.writer(&path("/a")?, WriteOptions::default()).await?);
    tree_is(&fs, &[]).await
}

pub(super) async fn writer_aborted(fs: Fs) -> Outcome {
    let mut writer = fs.writer(&path("/a")?, WriteOptions::default()).await?;
    writer.write(Bytes::from_static(b"x")).await?;
    writer.abort().await?;
    tree_is(&fs, &[]).await
}

pub(super) async fn writer_aborted_keeps(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    let mut writer = fs.writer(&path("/a")?, WriteOptions::default()).await?;
    writer.write(Bytes::from_static(b"x")).await?;
    writer.abort().await?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn writer_answers_metadata(fs: Fs) -> Outcome {
    let written = write_pieces(&fs, &path("/a")?, &["hel", "lo"], WriteOptions::default()).await?;
    ensure(written.is_file(), "the metadata is of no file")?;
    ensure_eq(written.len, 5, "the length")?;
    ensure_eq(&written.version, &fs.metadata(&path("/a")?).await?.version, "the version")
}

pub(super) async fn writer_missing_parent(fs: Fs) -> Outcome {
    let written = write_pieces(&fs, &path("/a/b")?, &["x"], WriteOptions::default()).await;
    ensure_kind(written, ErrorKind::NotFound, "a writer")?;
    tree_is(&fs, &[]).await
}

pub(super) async fn writer_create_parents(fs: Fs) -> Outcome {
    write_pieces(&fs, &path("/a/b/c")?, &["x"], WriteOptions::default().with_create_parents()).await?;
    holds(&fs, "/a/b/c", "x").await
}

pub(super) async fn writer_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    for options in [WriteOptions::default(), WriteOptions::default().with_create_parents()] {
        let written = write_pieces(&fs, &path("/a/b")?, &["x"], options).await;
        ensure_kind(written, ErrorKind::NotADirectory, "a writer")?;
    }
    holds(&fs, "/a", "kept").await
}

pub(super) async fn writer_directory(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    for at in ["/d", "/"] {
        let written = write_pieces(&fs, &path(at)?, &["x"], WriteOptions::default()).await;
        ensure_kind(written, ErrorKind::IsADirectory, at)?;
    }
    is_directory(&fs, "/d").await
}

pub(super) async fn writer_create_new(fs: Fs) -> Outcome {
    write_pieces(&fs, &path("/a")?, &["hello"], WriteMode::CreateNew.into()).await?;
    holds(&fs, "/a", "hello").await
}

pub(super) async fn writer_create_new_existing(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    let written = write_pieces(&fs, &path("/a")?, &["x"], WriteMode::CreateNew.into()).await;
    ensure_kind(written, ErrorKind::AlreadyExists, "a writer")?;
    holds(&fs, "/a", "kept").await?;
    tree_is(&fs, &["/a"]).await
}

pub(super) async fn writer_create_new_late(fs: Fs) -> Outcome {
    let mut writer = fs.writer(&path("/a")?, WriteMode::CreateNew.into()).await?;
    writer.write(Bytes::from_static(b"x")).await?;
    put(&fs, "/a", "the winner").await?;
    ensure_kind(writer.close().await, ErrorKind::AlreadyExists, "close")?;
    holds(&fs, "/a", "the winner").await?;
    tree_is(&fs, &["/a"]).await
}

pub(super) async fn writer_create_new_race(fs: Fs) -> Outcome {
    let at = path("/a")?;
    let results = race(8, |index| {
        let (fs, at) = (fs.clone(), at.clone());
        async move {
            let mut writer = fs.writer(&at, WriteMode::CreateNew.into()).await?;
            writer.write(Bytes::from(format!("racer {index}"))).await?;
            writer.close().await
        }
    })
    .await?;
    let mut winners = Vec::new();
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(_) => winners.push(index),
            Err(error) => ensure_eq(error.kind(), ErrorKind::AlreadyExists, "what a loser is told")?,
        }
    }
    let [winner] = *winners else { return ensure(false, format!("{winners:?} created one file")) };
    holds(&fs, "/a", &format!("racer {winner}")).await?;
    tree_is(&fs, &["/a"]).await
}

pub(super) async fn writer_if_match(fs: Fs) -> Outcome {
    let version = put(&fs, "/a", "one").await?;
    let written = write_pieces(&fs, &path("/a")?, &["t", "wo!"], WriteMode::IfMatch(version).into()).await;
    if fs.capabilities().if_match.is_none() {
        ensure_kind(written, ErrorKind::Unsupported, "an undeclared conditional write")?;
        return holds(&fs, "/a", "one").await;
    }
    written?;
    holds(&fs, "/a", "two!").await
}

pub(super) async fn writer_if_match_late(fs: Fs) -> Outcome {
    let version = put(&fs, "/a", "one").await?;
    if fs.capabilities().if_match.is_none() {
        let written = write_pieces(&fs, &path("/a")?, &["x"], WriteMode::IfMatch(version).into()).await;
        return ensure_kind(written, ErrorKind::Unsupported, "an undeclared conditional write");
    }
    let mut writer = fs.writer(&path("/a")?, WriteMode::IfMatch(version).into()).await?;
    writer.write(Bytes::from_static(b"x")).await?;
    put(&fs, "/a", "two").await?;
    ensure_kind(writer.close().await, ErrorKind::ConditionFailed, "close")?;
    holds(&fs, "/a", "two").await?;
    tree_is(&fs, &["/a"]).await
}

pub(super) async fn writer_append(fs: Fs) -> Outcome {
    put(&fs, "/a", "one,").await?;
    let written = write_pieces(&fs, &path("/a")?, &["two,", "three"], WriteMode::Append.into()).await;
    if !fs.capabilities().append {
        ensure_kind(written, ErrorKind::Unsupported, "an undeclared append")?;
        return holds(&fs, "/a", "one,").await;
    }
    ensure_eq(written?.len, 13, "the length")?;
    holds(&fs, "/a", "one,two,three").await
}

pub(super) async fn writer_append_dropped(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    if !fs.capabilities().append {
        let written = write_pieces(&fs, &path("/a")?, &["x"], WriteMode::Append.into()).await;
        return ensure_kind(written, ErrorKind::Unsupported, "an undeclared append");
    }
    let mut writer = fs.writer(&path("/a")?, WriteMode::Append.into()).await?;
    writer.write(Bytes::from_static(b"x")).await?;
    holds(&fs, "/a", "kept").await?;
    drop(writer);
    holds(&fs, "/a", "kept").await
}

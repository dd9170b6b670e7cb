use agentx_resource::{ErrorKind, FileSystemExt, ReadOptions, ReadRange, RemoveOptions, Version};
use futures::{StreamExt, TryStreamExt};

use super::support::{Fs, path, pattern, put, put_directory, put_implied, race};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

pub(super) async fn read_missing(fs: Fs) -> Outcome {
    ensure_kind(fs.read(&path("/a")?, ReadOptions::default()).await, ErrorKind::NotFound, "read")
}

pub(super) async fn read_missing_parent(fs: Fs) -> Outcome {
    ensure_kind(fs.read(&path("/a/b/c")?, ReadOptions::default()).await, ErrorKind::NotFound, "read")
}

pub(super) async fn read_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "x").await?;
    ensure_kind(fs.read(&path("/a/b")?, ReadOptions::default()).await, ErrorKind::NotFound, "read")
}

pub(super) async fn read_directory(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    put_implied(&fs, "/implied/f").await?;
    for at in ["/d", "/implied"] {
        ensure_kind(fs.read(&path(at)?, ReadOptions::default()).await, ErrorKind::IsADirectory, at)?;
    }
    Ok(())
}

pub(super) async fn read_root(fs: Fs) -> Outcome {
    ensure_kind(fs.read(&path("/")?, ReadOptions::default()).await, ErrorKind::IsADirectory, "read")
}

pub(super) async fn read_whole(fs: Fs) -> Outcome {
    put(&fs, "/a", "hello").await?;
    ensure_eq(fs.read_file(&path("/a")?).await?, "hello", "the content")
}

pub(super) async fn read_empty(fs: Fs) -> Outcome {
    put(&fs, "/a", "").await?;
    let read = fs.read(&path("/a")?, ReadOptions::default()).await?;
    ensure_eq(&read.range, &(0..0), "the range")?;
    ensure_eq(read.bytes(10).await?, "", "the content")
}

pub(super) async fn read_binary(fs: Fs) -> Outcome {
    let content: Vec<u8> = (0..=255).chain([0, 0, 13, 10, 10, 13, 255, 254]).collect();
    fs.write_file(&path("/a")?, content.clone()).await?;
    ensure_eq(fs.read_file(&path("/a")?).await?, content, "the content")
}

pub(super) async fn read_large(fs: Fs) -> Outcome {
    let content = pattern((3 << 20) + 7);
    fs.write_file(&path("/a")?, content.clone()).await?;
    let read = fs.read(&path("/a")?, ReadOptions::default()).await?;
    let pieces: Vec<_> = read.body.try_collect().await?;
    ensure(pieces.concat() == content, "a file of 3 MiB does not come back as it was written")
}

pub(super) async fn read_metadata(fs: Fs) -> Outcome {
    put(&fs, "/a", "hello").await?;
    let read = fs.read(&path("/a")?, ReadOptions::default().with_range(1..3)).await?;
    ensure(read.metadata.is_file(), "the metadata is of no file")?;
    ensure_eq(read.metadata.len, 5, "the file's length")?;
    ensure_eq(&read.range, &(1..3), "the range")?;
    ensure_eq(&read.metadata.version, &fs.metadata(&path("/a")?).await?.version, "the version")
}

/// Reads `range` of a file that holds `0123456789`.
async fn part_is(fs: Fs, range: impl Into<ReadRange>, expected: &str) -> Outcome {
    let range = range.into();
    put(&fs, "/a", "0123456789").await?;
    let read = fs.read(&path("/a")?, ReadOptions::default().with_range(range.clone())).await?;
    ensure_eq(read.range.end - read.range.start, expected.len() as u64, format!("the length of {range:?}"))?;
    let pieces: Vec<_> = read.body.try_collect().await?;
    ensure_eq(String::from_utf8_lossy(&pieces.concat()), expected, format!("the part {range:?}"))
}

pub(super) async fn read_range(fs: Fs) -> Outcome {
    part_is(fs, 2..5, "234").await
}

pub(super) async fn read_range_clamped(fs: Fs) -> Outcome {
    part_is(fs, 8..50, "89").await
}

pub(super) async fn read_range_behind_end(fs: Fs) -> Outcome {
    part_is(fs.clone(), 10..12, "").await?;
    part_is(fs, 20..50, "").await
}

pub(super) async fn read_range_empty(fs: Fs) -> Outcome {
    part_is(fs, 3..3, "").await
}

pub(super) async fn read_range_from(fs: Fs) -> Outcome {
    part_is(fs.clone(), 0.., "0123456789").await?;
    part_is(fs, 7.., "789").await
}

pub(super) async fn read_range_from_behind_end(fs: Fs) -> Outcome {
    part_is(fs.clone(), 10.., "").await?;
    part_is(fs, 11.., "").await
}

pub(super) async fn read_range_last(fs: Fs) -> Outcome {
    part_is(fs, ReadRange::Last(3), "789").await
}

pub(super) async fn read_range_last_longer(fs: Fs) -> Outcome {
    part_is(fs, ReadRange::Last(30), "0123456789").await
}

pub(super) async fn read_range_last_zero(fs: Fs) -> Outcome {
    part_is(fs, ReadRange::Last(0), "").await
}

pub(super) async fn read_range_huge(fs: Fs) -> Outcome {
    part_is(fs.clone(), 0..u64::MAX, "0123456789").await?;
    part_is(fs.clone(), u64::MAX.., "").await?;
    part_is(fs, ReadRange::Last(u64::MAX), "0123456789").await
}

pub(super) async fn read_range_inverted(fs: Fs) -> Outcome {
    put(&fs, "/a", "0123456789").await?;
    #[expect(clippy::reversed_empty_ranges, reason = "the case under test")]
    let options = ReadOptions::default().with_range(5..2);
    ensure_kind(fs.read(&path("/a")?, options).await, ErrorKind::InvalidInput, "read")
}

pub(super) async fn read_if_match(fs: Fs) -> Outcome {
    put(&fs, "/a", "one").await?;
    let Some(version) = fs.metadata(&path("/a")?).await?.version else {
        return ensure(fs.capabilities().if_match.is_none(), "a file has no version");
    };
    let read = fs.read(&path("/a")?, ReadOptions::default().with_if_match(version)).await?;
    ensure_eq(read.bytes(10).await?, "one", "the content")
}

pub(super) async fn read_if_match_other(fs: Fs) -> Outcome {
    let old = put(&fs, "/a", "one").await?;
    put(&fs, "/a", "two!").await?;
    for version in [old, Version::new("no such version")] {
        let options = ReadOptions::default().with_if_match(version);
        ensure_kind(fs.read(&path("/a")?, options).await, ErrorKind::ConditionFailed, "read")?;
    }
    Ok(())
}

pub(super) async fn read_if_match_missing(fs: Fs) -> Outcome {
    let options = ReadOptions::default().with_if_match(Version::new("1"));
    ensure_kind(fs.read(&path("/a")?, options).await, ErrorKind::NotFound, "read")
}

pub(super) async fn read_while_replaced(fs: Fs) -> Outcome {
    let content = pattern(1 << 20);
    fs.write_file(&path("/a")?, content.clone()).await?;
    let read = fs.read(&path("/a")?, ReadOptions::default()).await?;
    fs.write_file(&path("/a")?, vec![255; 1 << 20]).await?;
    let found = read.bytes(1 << 20).await?;
    ensure(found == content, "a body shows what was written after it was opened")
}

pub(super) async fn read_while_removed(fs: Fs) -> Outcome {
    let content = pattern(1 << 20);
    fs.write_file(&path("/a")?, content.clone()).await?;
    let read = fs.read(&path("/a")?, ReadOptions::default()).await?;
    fs.rm(&path("/a")?, RemoveOptions::default()).await?;
    let found = read.bytes(1 << 20).await?;
    ensure(found == content, "a body is not what was there when it was opened")
}

pub(super) async fn read_dropped(fs: Fs) -> Outcome {
    let content = pattern(1 << 20);
    fs.write_file(&path("/a")?, content.clone()).await?;
    for _ in 0..20 {
        let mut read = fs.read(&path("/a")?, ReadOptions::default()).await?;
        ensure(read.body.next().await.is_some_and(|piece| piece.is_ok()), "no first piece")?;
        drop(read);
    }
    ensure(fs.read_file(&path("/a")?).await? == content, "dropped bodies spoiled a later read")
}

pub(super) async fn read_by_many(fs: Fs) -> Outcome {
    let content = pattern(100_000);
    fs.write_file(&path("/a")?, content.clone()).await?;
    let at = path("/a")?;
    let found = race(16, |_| {
        let (fs, at) = (fs.clone(), at.clone());
        async move { fs.read_file(&at).await }
    })
    .await?;
    for found in found {
        ensure(found? == content, "a reader among many got another content")?;
    }
    Ok(())
}

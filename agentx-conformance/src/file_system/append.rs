use agentx_resource::{ErrorKind, FileSystemExt, WriteMode, WriteOptions};
use bytes::Bytes;

use super::support::{Fs, holds, is_directory, path, put, put_directory, race, tree_is};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// The kind that the case expects: what the table says, or `Unsupported` where nothing is declared.
fn kind_or_unsupported(fs: &Fs, kind: ErrorKind) -> ErrorKind {
    if fs.capabilities().append { kind } else { ErrorKind::Unsupported }
}

async fn refuses_undeclared(fs: &Fs) -> Outcome {
    put(fs, "/kept", "kept").await?;
    for at in ["/kept", "/new"] {
        ensure_kind(fs.append(&path(at)?, "x").await, ErrorKind::Unsupported, "an undeclared append")?;
    }
    holds(fs, "/kept", "kept").await?;
    tree_is(fs, &["/kept"]).await
}

pub(super) async fn append_new(fs: Fs) -> Outcome {
    if !fs.capabilities().append {
        return refuses_undeclared(&fs).await;
    }
    fs.append(&path("/a")?, "one").await?;
    holds(&fs, "/a", "one").await
}

pub(super) async fn append_existing(fs: Fs) -> Outcome {
    if !fs.capabilities().append {
        return refuses_undeclared(&fs).await;
    }
    put(&fs, "/a", "one,").await?;
    fs.append(&path("/a")?, "two,").await?;
    fs.append(&path("/a")?, "three").await?;
    holds(&fs, "/a", "one,two,three").await
}

pub(super) async fn append_nothing(fs: Fs) -> Outcome {
    if !fs.capabilities().append {
        return refuses_undeclared(&fs).await;
    }
    put(&fs, "/a", "kept").await?;
    fs.append(&path("/a")?, "").await?;
    fs.append(&path("/new")?, "").await?;
    holds(&fs, "/a", "kept").await?;
    holds(&fs, "/new", "").await
}

pub(super) async fn append_missing_parent(fs: Fs) -> Outcome {
    let kind = kind_or_unsupported(&fs, ErrorKind::NotFound);
    ensure_kind(fs.append(&path("/a/b")?, "x").await, kind, "append")?;
    tree_is(&fs, &[]).await
}

pub(super) async fn append_create_parents(fs: Fs) -> Outcome {
    let options = WriteOptions::from(WriteMode::Append).with_create_parents();
    let written = fs.write(&path("/a/b")?, Bytes::from_static(b"x"), options).await;
    if !fs.capabilities().append {
        ensure_kind(written, ErrorKind::Unsupported, "an undeclared append")?;
        return tree_is(&fs, &[]).await;
    }
    written?;
    holds(&fs, "/a/b", "x").await
}

pub(super) async fn append_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    let kind = kind_or_unsupported(&fs, ErrorKind::NotADirectory);
    ensure_kind(fs.append(&path("/a/b")?, "x").await, kind, "append")?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn append_directory(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    let kind = kind_or_unsupported(&fs, ErrorKind::IsADirectory);
    ensure_kind(fs.append(&path("/d")?, "x").await, kind, "append")?;
    is_directory(&fs, "/d").await
}

pub(super) async fn append_answers_metadata(fs: Fs) -> Outcome {
    if !fs.capabilities().append {
        return refuses_undeclared(&fs).await;
    }
    let before = put(&fs, "/a", "one").await?;
    let appended = fs.append(&path("/a")?, "two").await?;
    ensure_eq(appended.len, 6, "the length")?;
    ensure_eq(&appended.version, &fs.metadata(&path("/a")?).await?.version, "the version")?;
    ensure(appended.version.is_none_or(|version| version != before), "an append leaves the version")
}

pub(super) async fn append_race(fs: Fs) -> Outcome {
    if !fs.capabilities().append {
        return refuses_undeclared(&fs).await;
    }
    let at = path("/a")?;
    let results = race(16, |index| {
        let (fs, at) = (fs.clone(), at.clone());
        async move {
            for _ in 0..4 {
                fs.append(&at, format!("{index:>4095}\n")).await?;
            }
            Ok::<_, agentx_resource::Error>(())
        }
    })
    .await?;
    results.into_iter().collect::<Result<(), _>>()?;
    let content = fs.read_to_string(&at).await?;
    let mut counts = [0; 16];
    for line in content.lines() {
        ensure_eq(line.len(), 4095, "the length of an appended line")?;
        let count = line.trim().parse().ok().and_then(|index: usize| counts.get_mut(index));
        let Some(count) = count else { return ensure(false, "an appended line is not as it was written") };
        *count += 1;
    }
    ensure_eq(counts, [4; 16], "how often each line was found")
}

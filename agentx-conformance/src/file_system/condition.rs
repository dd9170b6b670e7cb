use agentx_resource::{ErrorKind, FileSystemExt, Metadata, Result, Version, WriteMode, WriteOptions};
use bytes::Bytes;

use super::support::{Fs, holds, is_directory, path, put, put_directory, race, tree_is};
use crate::{
    Failure, Outcome,
    failure::{ensure_eq, ensure_kind},
};

async fn write_if(fs: &Fs, at: &str, version: Version, content: &'static str) -> Result<Metadata> {
    let options = WriteMode::IfMatch(version).into();
    fs.write(&agentx_resource::ResourcePath::new(at)?, Bytes::from_static(content.as_bytes()), options).await
}

/// The kind that the case expects: what the table says, or `Unsupported` where nothing is declared.
fn kind_or_unsupported(fs: &Fs, kind: ErrorKind) -> ErrorKind {
    if fs.capabilities().if_match.is_some() { kind } else { ErrorKind::Unsupported }
}

async fn refuses_undeclared(fs: &Fs, at: &str) -> Outcome {
    let version = put(fs, at, "kept").await?;
    let written = write_if(fs, at, version, "x").await;
    ensure_kind(written, ErrorKind::Unsupported, "an undeclared conditional write")?;
    holds(fs, at, "kept").await
}

pub(super) async fn if_match_holds(fs: Fs) -> Outcome {
    if fs.capabilities().if_match.is_none() {
        return refuses_undeclared(&fs, "/a").await;
    }
    let version = put(&fs, "/a", "one").await?;
    let written = write_if(&fs, "/a", version, "two!").await?;
    ensure_eq(written.len, 4, "the length")?;
    holds(&fs, "/a", "two!").await
}

pub(super) async fn if_match_other(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    let written = write_if(&fs, "/a", Version::new("no such version"), "x").await;
    ensure_kind(written, kind_or_unsupported(&fs, ErrorKind::ConditionFailed), "write")?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn if_match_stale(fs: Fs) -> Outcome {
    let old = put(&fs, "/a", "one").await?;
    put(&fs, "/a", "two").await?;
    let written = write_if(&fs, "/a", old, "x").await;
    ensure_kind(written, kind_or_unsupported(&fs, ErrorKind::ConditionFailed), "write")?;
    holds(&fs, "/a", "two").await
}

pub(super) async fn if_match_missing(fs: Fs) -> Outcome {
    let version = put(&fs, "/gone", "x").await?;
    fs.rm(&path("/gone")?, agentx_resource::RemoveOptions::default()).await?;
    let written = write_if(&fs, "/gone", version, "x").await;
    ensure_kind(written, kind_or_unsupported(&fs, ErrorKind::ConditionFailed), "write")?;
    tree_is(&fs, &[]).await
}

pub(super) async fn if_match_missing_parent(fs: Fs) -> Outcome {
    let written = write_if(&fs, "/a/b", Version::new("1"), "x").await;
    ensure_kind(written, kind_or_unsupported(&fs, ErrorKind::NotFound), "write")?;
    tree_is(&fs, &[]).await
}

pub(super) async fn if_match_create_parents(fs: Fs) -> Outcome {
    let options = WriteOptions::from(WriteMode::IfMatch(Version::new("1"))).with_create_parents();
    let written = fs.write(&path("/a/b")?, Bytes::from_static(b"x"), options).await;
    ensure_kind(written, kind_or_unsupported(&fs, ErrorKind::ConditionFailed), "write")?;
    tree_is(&fs, &[]).await
}

pub(super) async fn if_match_directory(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    let written = write_if(&fs, "/d", Version::new("1"), "x").await;
    ensure_kind(written, kind_or_unsupported(&fs, ErrorKind::IsADirectory), "write")?;
    is_directory(&fs, "/d").await
}

pub(super) async fn if_match_chain(fs: Fs) -> Outcome {
    if fs.capabilities().if_match.is_none() {
        return refuses_undeclared(&fs, "/a").await;
    }
    let mut version = put(&fs, "/a", "0").await?;
    for content in ["1", "2", "3", "4"] {
        let written = write_if(&fs, "/a", version, content).await?;
        version = written.version.ok_or_else(|| Failure::new("a conditional write gives no version"))?;
    }
    holds(&fs, "/a", "4").await
}

/// Adds 1 to a counter until the write goes through.
async fn increment(fs: Fs, at: agentx_resource::ResourcePath) -> Outcome {
    loop {
        let read = fs.read(&at, agentx_resource::ReadOptions::default()).await?;
        let version = read.metadata.version.clone().ok_or_else(|| Failure::new("a file has no version"))?;
        let count: u64 = String::from_utf8_lossy(&read.bytes(100).await?)
            .parse()
            .map_err(|error| Failure::new(format!("the counter holds no number: {error}")))?;
        let content = Bytes::from((count + 1).to_string());
        match fs.write(&at, content, WriteMode::IfMatch(version).into()).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConditionFailed => tokio::task::yield_now().await,
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) async fn if_match_race(fs: Fs) -> Outcome {
    if fs.capabilities().if_match.is_none() {
        return refuses_undeclared(&fs, "/a").await;
    }
    let at = path("/a")?;
    fs.write_file(&at, "0").await?;
    let outcomes = race(8, |_| {
        let (fs, at) = (fs.clone(), at.clone());
        async move {
            for _ in 0..5 {
                increment(fs.clone(), at.clone()).await?;
            }
            Ok(())
        }
    })
    .await?;
    outcomes.into_iter().collect::<Outcome>()?;
    holds(&fs, "/a", "40").await
}

use agentx_resource::{ErrorKind, MkdirOptions};

use super::support::{Fs, holds, is_directory, path, put, put_directory, put_implied, race, tree_is};
use crate::{
    Outcome,
    failure::{ensure_eq, ensure_kind},
};

async fn mkdir(fs: &Fs, at: &str) -> agentx_resource::Result<()> {
    fs.mkdir(&agentx_resource::ResourcePath::new(at)?, MkdirOptions::default()).await
}

async fn mkdir_all(fs: &Fs, at: &str) -> agentx_resource::Result<()> {
    fs.mkdir(&agentx_resource::ResourcePath::new(at)?, MkdirOptions::recursive()).await
}

pub(super) async fn mkdir_new(fs: Fs) -> Outcome {
    mkdir(&fs, "/d").await?;
    mkdir(&fs, "/d/e").await?;
    is_directory(&fs, "/d").await?;
    tree_is(&fs, &["/d", "/d/e"]).await
}

pub(super) async fn mkdir_existing(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    put_implied(&fs, "/implied/f").await?;
    for at in ["/d", "/implied"] {
        ensure_kind(mkdir(&fs, at).await, ErrorKind::AlreadyExists, at)?;
    }
    Ok(())
}

pub(super) async fn mkdir_existing_recursive(fs: Fs) -> Outcome {
    put(&fs, "/d/kept", "kept").await?;
    mkdir_all(&fs, "/d").await?;
    holds(&fs, "/d/kept", "kept").await
}

pub(super) async fn mkdir_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    ensure_kind(mkdir(&fs, "/a").await, ErrorKind::AlreadyExists, "mkdir")?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn mkdir_file_recursive(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    ensure_kind(mkdir_all(&fs, "/a").await, ErrorKind::AlreadyExists, "mkdir")?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn mkdir_missing_parent(fs: Fs) -> Outcome {
    ensure_kind(mkdir(&fs, "/a/b").await, ErrorKind::NotFound, "mkdir")?;
    tree_is(&fs, &[]).await
}

pub(super) async fn mkdir_recursive(fs: Fs) -> Outcome {
    put_directory(&fs, "/a").await?;
    mkdir_all(&fs, "/a/b/c").await?;
    tree_is(&fs, &["/a", "/a/b", "/a/b/c"]).await
}

pub(super) async fn mkdir_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    for at in ["/a/b", "/a/b/c"] {
        ensure_kind(mkdir(&fs, at).await, ErrorKind::NotADirectory, at)?;
    }
    holds(&fs, "/a", "kept").await
}

pub(super) async fn mkdir_below_file_recursive(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    for at in ["/a/b", "/a/b/c"] {
        ensure_kind(mkdir_all(&fs, at).await, ErrorKind::NotADirectory, at)?;
    }
    holds(&fs, "/a", "kept").await
}

pub(super) async fn mkdir_root(fs: Fs) -> Outcome {
    ensure_kind(mkdir(&fs, "/").await, ErrorKind::AlreadyExists, "mkdir")
}

pub(super) async fn mkdir_root_recursive(fs: Fs) -> Outcome {
    put(&fs, "/kept", "kept").await?;
    mkdir_all(&fs, "/").await?;
    holds(&fs, "/kept", "kept").await
}

pub(super) async fn mkdir_race(fs: Fs) -> Outcome {
    let at = path("/a/b/c")?;
    let results = race(8, |_| {
        let (fs, at) = (fs.clone(), at.clone());
        async move { fs.mkdir(&at, MkdirOptions::recursive()).await }
    })
    .await?;
    let failed = results.iter().filter(|result| result.is_err()).count();
    ensure_eq(failed, 0, "how many of 8 recursive racers failed")?;
    tree_is(&fs, &["/a", "/a/b", "/a/b/c"]).await
}

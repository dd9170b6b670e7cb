use agentx_resource::{ErrorKind, FileSystemExt, RemoveOptions, ResourcePath, Result};

use super::support::{Fs, holds, is_directory, is_missing, path, put, put_directory, put_implied, tree_is};
use crate::{Outcome, failure::ensure_kind};

async fn rm(fs: &Fs, at: &str) -> Result<()> {
    fs.rm(&ResourcePath::new(at)?, RemoveOptions::default()).await
}

async fn rm_force(fs: &Fs, at: &str) -> Result<()> {
    fs.rm(&ResourcePath::new(at)?, RemoveOptions::default().with_force()).await
}

async fn rm_tree(fs: &Fs, at: &str) -> Result<()> {
    fs.rm(&ResourcePath::new(at)?, RemoveOptions::recursive()).await
}

pub(super) async fn rm_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "x").await?;
    put(&fs, "/b", "kept").await?;
    rm(&fs, "/a").await?;
    is_missing(&fs, "/a").await?;
    tree_is(&fs, &["/b"]).await
}

pub(super) async fn rm_missing(fs: Fs) -> Outcome {
    ensure_kind(rm(&fs, "/a").await, ErrorKind::NotFound, "rm")
}

pub(super) async fn rm_missing_force(fs: Fs) -> Outcome {
    rm_force(&fs, "/a").await?;
    rm_force(&fs, "/a/b/c").await?;
    fs.rm_all(&path("/a")?).await?;
    tree_is(&fs, &[]).await
}

pub(super) async fn rm_missing_parent(fs: Fs) -> Outcome {
    ensure_kind(rm(&fs, "/a/b").await, ErrorKind::NotFound, "rm")
}

pub(super) async fn rm_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    ensure_kind(rm(&fs, "/a/b").await, ErrorKind::NotFound, "rm")?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn rm_below_file_force(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    rm_force(&fs, "/a/b").await?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn rm_empty_directory(fs: Fs) -> Outcome {
    put_directory(&fs, "/d").await?;
    rm(&fs, "/d").await?;
    tree_is(&fs, &[]).await
}

pub(super) async fn rm_full_directory(fs: Fs) -> Outcome {
    put(&fs, "/d/kept", "kept").await?;
    put_directory(&fs, "/e/kept").await?;
    for at in ["/d", "/e"] {
        ensure_kind(rm(&fs, at).await, ErrorKind::DirectoryNotEmpty, at)?;
    }
    tree_is(&fs, &["/d", "/d/kept", "/e", "/e/kept"]).await
}

pub(super) async fn rm_full_directory_force(fs: Fs) -> Outcome {
    put(&fs, "/d/kept", "kept").await?;
    ensure_kind(rm_force(&fs, "/d").await, ErrorKind::DirectoryNotEmpty, "rm")?;
    holds(&fs, "/d/kept", "kept").await
}

pub(super) async fn rm_recursive(fs: Fs) -> Outcome {
    for at in ["/d/a", "/d/sub/deep/b", "/other/d/kept"] {
        put(&fs, at, "x").await?;
    }
    put_directory(&fs, "/d/empty").await?;
    rm_tree(&fs, "/d").await?;
    is_missing(&fs, "/d/sub/deep/b").await?;
    tree_is(&fs, &["/other", "/other/d", "/other/d/kept"]).await
}

pub(super) async fn rm_recursive_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "x").await?;
    rm_tree(&fs, "/a").await?;
    tree_is(&fs, &[]).await
}

pub(super) async fn rm_recursive_missing(fs: Fs) -> Outcome {
    ensure_kind(rm_tree(&fs, "/a").await, ErrorKind::NotFound, "rm")
}

pub(super) async fn rm_root(fs: Fs) -> Outcome {
    ensure_kind(rm(&fs, "/").await, ErrorKind::InvalidInput, "rm")?;
    is_directory(&fs, "/").await
}

pub(super) async fn rm_root_recursive(fs: Fs) -> Outcome {
    put(&fs, "/d/kept", "kept").await?;
    ensure_kind(rm_tree(&fs, "/").await, ErrorKind::InvalidInput, "rm")?;
    ensure_kind(fs.rm_all(&path("/")?).await, ErrorKind::InvalidInput, "rm with force")?;
    holds(&fs, "/d/kept", "kept").await
}

pub(super) async fn rm_similar_names(fs: Fs) -> Outcome {
    for at in ["/a/in", "/a.txt", "/ab/out", "/a-b", "/a0"] {
        put(&fs, at, "x").await?;
    }
    rm_tree(&fs, "/a").await?;
    tree_is(&fs, &["/a-b", "/a.txt", "/a0", "/ab", "/ab/out"]).await
}

pub(super) async fn rm_keeps_parent(fs: Fs) -> Outcome {
    put_implied(&fs, "/implied/f").await?;
    put(&fs, "/made/sub/f", "x").await?;
    rm(&fs, "/implied/f").await?;
    rm_tree(&fs, "/made/sub").await?;
    tree_is(&fs, &["/implied", "/made"]).await
}

use agentx_resource::{ErrorKind, FileSystemExt, ResourcePath, Result, TransferOptions};

use super::support::{Fs, holds, path, pattern, put, put_directory, tree_is};
use crate::{
    Outcome,
    failure::{ensure, ensure_kind},
};

async fn copy(fs: &Fs, from: &str, to: &str) -> Result<()> {
    fs.copy(&ResourcePath::new(from)?, &ResourcePath::new(to)?, TransferOptions::default()).await
}

async fn copy_new(fs: &Fs, from: &str, to: &str) -> Result<()> {
    fs.copy(&ResourcePath::new(from)?, &ResourcePath::new(to)?, TransferOptions::create_new()).await
}

pub(super) async fn copy_file(fs: Fs) -> Outcome {
    let content = pattern((2 << 20) + 3);
    fs.write_file(&path("/a")?, content.clone()).await?;
    put_directory(&fs, "/d").await?;
    copy(&fs, "/a", "/d/b").await?;
    for at in ["/a", "/d/b"] {
        ensure(fs.read_file(&path(at)?).await? == content, format!("{at} does not hold what was copied"))?;
    }
    tree_is(&fs, &["/a", "/d", "/d/b"]).await
}

pub(super) async fn copy_empty(fs: Fs) -> Outcome {
    put(&fs, "/a", "").await?;
    copy(&fs, "/a", "/b").await?;
    holds(&fs, "/b", "").await
}

pub(super) async fn copy_replaces(fs: Fs) -> Outcome {
    put(&fs, "/a", "copied").await?;
    put(&fs, "/b", "replaced, and longer").await?;
    copy(&fs, "/a", "/b").await?;
    holds(&fs, "/b", "copied").await?;
    holds(&fs, "/a", "copied").await
}

pub(super) async fn copy_independent(fs: Fs) -> Outcome {
    put(&fs, "/a", "one").await?;
    put(&fs, "/d/f", "one").await?;
    copy(&fs, "/a", "/b").await?;
    copy(&fs, "/d", "/e").await?;
    put(&fs, "/a", "two").await?;
    put(&fs, "/d/f", "two").await?;
    if fs.capabilities().append {
        fs.append(&path("/a")?, "more").await?;
        fs.append(&path("/d/f")?, "more").await?;
    }
    holds(&fs, "/b", "one").await?;
    holds(&fs, "/e/f", "one").await
}

pub(super) async fn copy_missing(fs: Fs) -> Outcome {
    put(&fs, "/b", "kept").await?;
    for from in ["/a", "/a/b", "/b/c"] {
        for to in ["/b", "/c"] {
            ensure_kind(copy(&fs, from, to).await, ErrorKind::NotFound, format!("{from} to {to}"))?;
        }
    }
    holds(&fs, "/b", "kept").await?;
    tree_is(&fs, &["/b"]).await
}

pub(super) async fn copy_missing_parent(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    put(&fs, "/d/f", "kept").await?;
    for from in ["/a", "/d"] {
        ensure_kind(copy(&fs, from, "/gone/b").await, ErrorKind::NotFound, from)?;
    }
    tree_is(&fs, &["/a", "/d", "/d/f"]).await
}

pub(super) async fn copy_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    put(&fs, "/b", "kept").await?;
    put_directory(&fs, "/d").await?;
    for from in ["/a", "/d"] {
        ensure_kind(copy(&fs, from, "/b/c").await, ErrorKind::NotADirectory, from)?;
    }
    tree_is(&fs, &["/a", "/b", "/d"]).await
}

pub(super) async fn copy_create_new(fs: Fs) -> Outcome {
    put(&fs, "/a", "copied").await?;
    copy_new(&fs, "/a", "/b").await?;
    holds(&fs, "/b", "copied").await
}

pub(super) async fn copy_create_new_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "from").await?;
    put(&fs, "/b", "kept").await?;
    put_directory(&fs, "/d").await?;
    for (from, to) in [("/a", "/b"), ("/a", "/d"), ("/d", "/b"), ("/a", "/a")] {
        ensure_kind(copy_new(&fs, from, to).await, ErrorKind::AlreadyExists, format!("{from} to {to}"))?;
    }
    holds(&fs, "/b", "kept").await?;
    tree_is(&fs, &["/a", "/b", "/d"]).await
}

pub(super) async fn copy_itself(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    copy(&fs, "/a", "/a").await?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn copy_itself_missing(fs: Fs) -> Outcome {
    ensure_kind(copy(&fs, "/a", "/a").await, ErrorKind::NotFound, "copy")?;
    tree_is(&fs, &[]).await
}

pub(super) async fn copy_file_onto_directory(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    put_directory(&fs, "/empty").await?;
    put(&fs, "/full/f", "kept").await?;
    for to in ["/empty", "/full"] {
        ensure_kind(copy(&fs, "/a", to).await, ErrorKind::IsADirectory, to)?;
    }
    tree_is(&fs, &["/a", "/empty", "/full", "/full/f"]).await
}

pub(super) async fn copy_directory(fs: Fs) -> Outcome {
    put(&fs, "/d/sub/f", "deep").await?;
    put(&fs, "/d/g", "shallow").await?;
    put_directory(&fs, "/d/empty").await?;
    copy(&fs, "/d", "/e").await?;
    holds(&fs, "/e/sub/f", "deep").await?;
    holds(&fs, "/e/g", "shallow").await?;
    let expected =
        ["/d", "/d/empty", "/d/g", "/d/sub", "/d/sub/f", "/e", "/e/empty", "/e/g", "/e/sub", "/e/sub/f"];
    tree_is(&fs, &expected).await
}

pub(super) async fn copy_directory_onto_directory(fs: Fs) -> Outcome {
    put(&fs, "/d/f", "kept").await?;
    put_directory(&fs, "/empty").await?;
    put(&fs, "/full/g", "kept").await?;
    for to in ["/empty", "/full"] {
        ensure_kind(copy(&fs, "/d", to).await, ErrorKind::AlreadyExists, to)?;
    }
    tree_is(&fs, &["/d", "/d/f", "/empty", "/full", "/full/g"]).await
}

pub(super) async fn copy_directory_onto_file(fs: Fs) -> Outcome {
    put(&fs, "/d/f", "kept").await?;
    put(&fs, "/a", "kept").await?;
    ensure_kind(copy(&fs, "/d", "/a").await, ErrorKind::AlreadyExists, "copy")?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn copy_directory_into_itself(fs: Fs) -> Outcome {
    put(&fs, "/d/sub/f", "kept").await?;
    for to in ["/d/e", "/d/sub", "/d/sub/e"] {
        ensure_kind(copy(&fs, "/d", to).await, ErrorKind::InvalidInput, to)?;
    }
    tree_is(&fs, &["/d", "/d/sub", "/d/sub/f"]).await
}

pub(super) async fn copy_directory_itself(fs: Fs) -> Outcome {
    put(&fs, "/d/f", "kept").await?;
    copy(&fs, "/d", "/d").await?;
    tree_is(&fs, &["/d", "/d/f"]).await
}

pub(super) async fn copy_root(fs: Fs) -> Outcome {
    put(&fs, "/kept", "kept").await?;
    for to in ["/d", "/"] {
        ensure_kind(copy(&fs, "/", to).await, ErrorKind::InvalidInput, to)?;
    }
    tree_is(&fs, &["/kept"]).await
}

pub(super) async fn copy_onto_root(fs: Fs) -> Outcome {
    put(&fs, "/d/kept", "kept").await?;
    put(&fs, "/a", "kept").await?;
    for from in ["/d", "/a", "/gone"] {
        ensure_kind(copy(&fs, from, "/").await, ErrorKind::InvalidInput, from)?;
    }
    tree_is(&fs, &["/a", "/d", "/d/kept"]).await
}

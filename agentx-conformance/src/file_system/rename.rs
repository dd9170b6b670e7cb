use agentx_resource::{ErrorKind, ResourcePath, Result, TransferOptions};

use super::support::{Fs, holds, is_directory, is_missing, path, put, put_directory, race, tree_is};
use crate::{
    Outcome,
    failure::{ensure_eq, ensure_kind},
};

async fn rename(fs: &Fs, from: &str, to: &str) -> Result<()> {
    fs.rename(&ResourcePath::new(from)?, &ResourcePath::new(to)?, TransferOptions::default()).await
}

async fn rename_new(fs: &Fs, from: &str, to: &str) -> Result<()> {
    fs.rename(&ResourcePath::new(from)?, &ResourcePath::new(to)?, TransferOptions::create_new()).await
}

pub(super) async fn rename_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "moved").await?;
    put_directory(&fs, "/d").await?;
    rename(&fs, "/a", "/d/b").await?;
    is_missing(&fs, "/a").await?;
    holds(&fs, "/d/b", "moved").await?;
    tree_is(&fs, &["/d", "/d/b"]).await
}

pub(super) async fn rename_replaces(fs: Fs) -> Outcome {
    put(&fs, "/a", "moved").await?;
    put(&fs, "/b", "replaced, and longer").await?;
    rename(&fs, "/a", "/b").await?;
    holds(&fs, "/b", "moved").await?;
    tree_is(&fs, &["/b"]).await
}

pub(super) async fn rename_missing(fs: Fs) -> Outcome {
    put(&fs, "/b", "kept").await?;
    for from in ["/a", "/a/b", "/b/c"] {
        for to in ["/b", "/c"] {
            ensure_kind(rename(&fs, from, to).await, ErrorKind::NotFound, format!("{from} to {to}"))?;
        }
    }
    holds(&fs, "/b", "kept").await?;
    tree_is(&fs, &["/b"]).await
}

pub(super) async fn rename_missing_parent(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    put(&fs, "/d/f", "kept").await?;
    for from in ["/a", "/d"] {
        ensure_kind(rename(&fs, from, "/gone/b").await, ErrorKind::NotFound, from)?;
    }
    tree_is(&fs, &["/a", "/d", "/d/f"]).await
}

pub(super) async fn rename_below_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    put(&fs, "/b", "kept").await?;
    put_directory(&fs, "/d").await?;
    for from in ["/a", "/d"] {
        ensure_kind(rename(&fs, from, "/b/c").await, ErrorKind::NotADirectory, from)?;
    }
    tree_is(&fs, &["/a", "/b", "/d"]).await
}

pub(super) async fn rename_file_below_itself(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    ensure_kind(rename(&fs, "/a", "/a/b").await, ErrorKind::NotADirectory, "rename")?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn rename_create_new(fs: Fs) -> Outcome {
    put(&fs, "/a", "moved").await?;
    put(&fs, "/d/f", "moved").await?;
    rename_new(&fs, "/a", "/b").await?;
    rename_new(&fs, "/d", "/e").await?;
    tree_is(&fs, &["/b", "/e", "/e/f"]).await
}

pub(super) async fn rename_create_new_file(fs: Fs) -> Outcome {
    put(&fs, "/a", "from").await?;
    put(&fs, "/b", "to").await?;
    put_directory(&fs, "/d").await?;
    for from in ["/a", "/d"] {
        ensure_kind(rename_new(&fs, from, "/b").await, ErrorKind::AlreadyExists, from)?;
    }
    holds(&fs, "/a", "from").await?;
    holds(&fs, "/b", "to").await
}

pub(super) async fn rename_create_new_directory(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    put_directory(&fs, "/d").await?;
    put_directory(&fs, "/e").await?;
    for from in ["/a", "/e"] {
        ensure_kind(rename_new(&fs, from, "/d").await, ErrorKind::AlreadyExists, from)?;
    }
    tree_is(&fs, &["/a", "/d", "/e"]).await
}

pub(super) async fn rename_itself(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    put(&fs, "/d/f", "kept").await?;
    rename(&fs, "/a", "/a").await?;
    rename(&fs, "/d", "/d").await?;
    holds(&fs, "/a", "kept").await?;
    holds(&fs, "/d/f", "kept").await
}

pub(super) async fn rename_itself_create_new(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    ensure_kind(rename_new(&fs, "/a", "/a").await, ErrorKind::AlreadyExists, "rename")?;
    holds(&fs, "/a", "kept").await
}

pub(super) async fn rename_itself_missing(fs: Fs) -> Outcome {
    ensure_kind(rename(&fs, "/a", "/a").await, ErrorKind::NotFound, "rename")
}

pub(super) async fn rename_file_onto_directory(fs: Fs) -> Outcome {
    put(&fs, "/a", "kept").await?;
    put_directory(&fs, "/empty").await?;
    put(&fs, "/full/a", "kept").await?;
    for (from, to) in [("/a", "/empty"), ("/a", "/full"), ("/full/a", "/full")] {
        ensure_kind(rename(&fs, from, to).await, ErrorKind::IsADirectory, format!("{from} to {to}"))?;
    }
    tree_is(&fs, &["/a", "/empty", "/full", "/full/a"]).await
}

pub(super) async fn rename_directory(fs: Fs) -> Outcome {
    put(&fs, "/d/sub/f", "deep").await?;
    put(&fs, "/d/g", "moved").await?;
    put_directory(&fs, "/d/empty").await?;
    put_directory(&fs, "/to").await?;
    rename(&fs, "/d", "/to/e").await?;
    is_missing(&fs, "/d").await?;
    holds(&fs, "/to/e/sub/f", "deep").await?;
    tree_is(&fs, &["/to", "/to/e", "/to/e/empty", "/to/e/g", "/to/e/sub", "/to/e/sub/f"]).await
}

pub(super) async fn rename_directory_onto_file(fs: Fs) -> Outcome {
    put(&fs, "/d/f", "kept").await?;
    put(&fs, "/a", "kept").await?;
    ensure_kind(rename(&fs, "/d", "/a").await, ErrorKind::NotADirectory, "rename")?;
    tree_is(&fs, &["/a", "/d", "/d/f"]).await
}

pub(super) async fn rename_directory_onto_empty(fs: Fs) -> Outcome {
    put(&fs, "/d/f", "moved").await?;
    put_directory(&fs, "/e").await?;
    rename(&fs, "/d", "/e").await?;
    tree_is(&fs, &["/e", "/e/f"]).await
}

pub(super) async fn rename_directory_onto_full(fs: Fs) -> Outcome {
    put(&fs, "/d/f", "kept").await?;
    put(&fs, "/e/g", "kept").await?;
    ensure_kind(rename(&fs, "/d", "/e").await, ErrorKind::DirectoryNotEmpty, "rename")?;
    tree_is(&fs, &["/d", "/d/f", "/e", "/e/g"]).await
}

pub(super) async fn rename_directory_into_itself(fs: Fs) -> Outcome {
    put(&fs, "/d/sub/f", "kept").await?;
    for to in ["/d/e", "/d/sub", "/d/sub/e"] {
        ensure_kind(rename(&fs, "/d", to).await, ErrorKind::InvalidInput, to)?;
    }
    tree_is(&fs, &["/d", "/d/sub", "/d/sub/f"]).await
}

pub(super) async fn rename_directory_onto_parent(fs: Fs) -> Outcome {
    put(&fs, "/d/sub/f", "kept").await?;
    ensure_kind(rename(&fs, "/d/sub", "/d").await, ErrorKind::DirectoryNotEmpty, "rename")?;
    holds(&fs, "/d/sub/f", "kept").await
}

pub(super) async fn rename_similar_names(fs: Fs) -> Outcome {
    for at in ["/a/in", "/a.txt", "/a-b/out"] {
        put(&fs, at, "x").await?;
    }
    rename(&fs, "/a", "/ab").await?;
    tree_is(&fs, &["/a-b", "/a-b/out", "/a.txt", "/ab", "/ab/in"]).await
}

pub(super) async fn rename_root(fs: Fs) -> Outcome {
    put(&fs, "/kept", "kept").await?;
    ensure_kind(rename(&fs, "/", "/d").await, ErrorKind::InvalidInput, "rename")?;
    tree_is(&fs, &["/kept"]).await
}

pub(super) async fn rename_onto_root(fs: Fs) -> Outcome {
    put(&fs, "/d/kept", "kept").await?;
    put(&fs, "/a", "kept").await?;
    for from in ["/d", "/a"] {
        ensure_kind(rename(&fs, from, "/").await, ErrorKind::InvalidInput, from)?;
    }
    is_directory(&fs, "/d").await?;
    tree_is(&fs, &["/a", "/d", "/d/kept"]).await
}

pub(super) async fn rename_race(fs: Fs) -> Outcome {
    put(&fs, "/a", "moved").await?;
    let from = path("/a")?;
    let results = race(8, |index| {
        let (fs, from) = (fs.clone(), from.clone());
        async move {
            let to = ResourcePath::new(format!("/to{index}"))?;
            fs.rename(&from, &to, TransferOptions::default()).await
        }
    })
    .await?;
    // Without an atomic rename two racers may both have copied before either removed: no loss, but no promise.
    if !fs.capabilities().atomic_rename {
        return is_missing(&fs, "/a").await;
    }
    let mut winners = Vec::new();
    for (index, result) in results.into_iter().enumerate() {
        match result {
            Ok(()) => winners.push(format!("/to{index}")),
            Err(error) => ensure_eq(error.kind(), ErrorKind::NotFound, "what a loser is told")?,
        }
    }
    ensure_eq(winners.len(), 1, "how many racers moved the one file")?;
    ensure_eq(super::support::tree(&fs, "/").await?, winners, "the tree")
}

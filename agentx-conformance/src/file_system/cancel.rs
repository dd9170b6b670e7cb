use std::{future::poll_fn, task::Poll, time::Duration};

use agentx_resource::{
    ErrorKind, FileSystemExt, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, TransferOptions,
    WriteMode, WriteOptions,
};
use bytes::Bytes;

use super::support::{Fs, path, pattern, tree};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// No verb waits more often than this.
const MOST_POLLS: usize = 200;
/// How often it is looked whether what was under way is over: twenty milliseconds apart.
const LOOKS: usize = 250;

/// Polls `future` up to `limit` times, whenever it asks for it, and then drops it.
async fn polled<T>(limit: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut polls = 0;
    poll_fn(|cx| {
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if polls >= limit => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What is at `at`; nothing where nothing is.
async fn found(fs: &Fs, at: &ResourcePath) -> Result<Option<Bytes>, Failure> {
    match fs.read_file(at).await {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A path of this round alone, since what was under way in another may still take effect.
fn place(name: &str, round: usize) -> Result<ResourcePath, Failure> {
    path(&format!("/{name}{round}"))
}

/// Fails unless the tree comes to hold only places of these names: what was under way may still end.
async fn settles(fs: &Fs, names: &[&str]) -> Outcome {
    let is_place = |found: &str| {
        let rest = names.iter().find_map(|name| found.strip_prefix('/')?.strip_prefix(name));
        rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut left = Vec::new();
    for _ in 0..LOOKS {
        left = tree(fs, "/").await?;
        left.retain(|found| !is_place(found));
        if left.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(Failure::new(format!("what was cancelled leaves {left:?}")))
}

/// Writes over `old` in a way that is cancelled at each of its waits, and at last not any more.
async fn cancelled_write(fs: &Fs, name: &str, old: Option<&str>, new: Bytes, mode: WriteMode) -> Outcome {
    let whole = match mode {
        WriteMode::Append => [old.unwrap_or_default().as_bytes(), &new].concat(),
        _ => new.to_vec(),
    };
    for round in 1..MOST_POLLS {
        let at = place(name, round)?;
        if let Some(old) = old {
            fs.write_file(&at, old.to_owned()).await?;
        }
        let written = polled(round, fs.write(&at, new.clone(), mode.clone().into())).await;
        let content = found(fs, &at).await?;
        let is_new = content.as_ref().is_some_and(|content| *content == whole);
        let is_old = content.as_deref() == old.map(str::as_bytes);
        ensure(is_old || is_new, "a write that was cancelled has written a part")?;
        settles(fs, &["a", "new", "old"]).await?;
        if let Some(written) = written {
            written?;
            return ensure(is_new, "a write that ended is not there");
        }
        // Nothing that the cancelled write held is in the way of the next.
        fs.write_file(&at, "afterwards").await?;
    }
    Err(Failure::new(format!("a write is polled {MOST_POLLS} times and does not end")))
}

pub(super) async fn cancel_read(fs: Fs) -> Outcome {
    let (at, content) = (path("/a")?, pattern(1 << 20));
    fs.write_file(&at, content.clone()).await?;
    for limit in 1..MOST_POLLS {
        let read = polled(limit, fs.read_file(&at)).await;
        ensure(fs.read_file(&at).await? == content, "a read that was cancelled spoils the next")?;
        if let Some(read) = read {
            return ensure(read? == content, "another content than was written");
        }
        let opened = polled(limit, fs.read(&at, ReadOptions::default())).await;
        drop(opened);
    }
    Err(Failure::new(format!("a read is polled {MOST_POLLS} times and does not end")))
}

pub(super) async fn cancel_write(fs: Fs) -> Outcome {
    cancelled_write(&fs, "new", None, pattern(1 << 20), WriteMode::Overwrite).await?;
    cancelled_write(&fs, "old", Some("old"), pattern(1 << 20), WriteMode::Overwrite).await
}

pub(super) async fn cancel_create_new(fs: Fs) -> Outcome {
    cancelled_write(&fs, "a", None, pattern(100_000), WriteMode::CreateNew).await
}

pub(super) async fn cancel_append(fs: Fs) -> Outcome {
    if !fs.capabilities().append {
        let appended = fs.append(&path("/a")?, "x").await;
        return ensure_kind(appended, ErrorKind::Unsupported, "an undeclared append");
    }
    cancelled_write(&fs, "a", Some("old"), pattern(100_000), WriteMode::Append).await
}

pub(super) async fn cancel_writer(fs: Fs) -> Outcome {
    let piece = pattern(300_000);
    let whole = [&*piece, &*piece].concat();
    for round in 1..MOST_POLLS {
        let at = place("a", round)?;
        fs.write_file(&at, "old").await?;
        let ended = polled(round, async {
            let mut writer = fs.writer(&at, WriteOptions::default()).await?;
            writer.write(piece.clone()).await?;
            writer.write(piece.clone()).await?;
            writer.close().await
        })
        .await;
        let content = found(&fs, &at).await?.unwrap_or_default();
        ensure(content == "old" || content == whole, "a writer that was cancelled has published a part")?;
        settles(&fs, &["a"]).await?;
        if let Some(ended) = ended {
            ended?;
            return ensure(content == whole, "what was written and closed is not there");
        }
    }
    Err(Failure::new(format!("a writer is polled {MOST_POLLS} times and does not end")))
}

pub(super) async fn cancel_mkdir(fs: Fs) -> Outcome {
    for round in 1..MOST_POLLS {
        let at = place("d", round)?;
        let made = polled(round, fs.mkdir(&at, MkdirOptions::default())).await;
        let there = fs.exists(&at).await?;
        settles(&fs, &["d"]).await?;
        if let Some(made) = made {
            made?;
            return ensure(there, "what was made is not there");
        }
        fs.mkdir(&at, MkdirOptions::recursive()).await?;
    }
    Err(Failure::new(format!("mkdir is polled {MOST_POLLS} times and does not end")))
}

pub(super) async fn cancel_rm(fs: Fs) -> Outcome {
    for round in 1..MOST_POLLS {
        let at = place("a", round)?;
        fs.write_file(&at, "whole").await?;
        let removed = polled(round, fs.rm(&at, RemoveOptions::default())).await;
        let content = found(&fs, &at).await?;
        ensure(content.as_ref().is_none_or(|content| content == "whole"), "a part of a file is removed")?;
        settles(&fs, &["a"]).await?;
        if let Some(removed) = removed {
            removed?;
            return ensure_eq(content, None, "what was removed");
        }
        fs.rm_all(&at).await?;
    }
    Err(Failure::new(format!("rm is polled {MOST_POLLS} times and does not end")))
}

pub(super) async fn cancel_rename(fs: Fs) -> Outcome {
    for round in 1..MOST_POLLS {
        let (from, to) = (place("a", round)?, place("b", round)?);
        fs.write_file(&from, "moved").await?;
        let renamed = polled(round, fs.rename(&from, &to, TransferOptions::default())).await;
        // The destination is looked at last: what is still under way moves the file there.
        let (here, there) = (found(&fs, &from).await?, found(&fs, &to).await?);
        for content in [&here, &there].into_iter().flatten() {
            ensure_eq(content, "moved", "the content at either place")?;
        }
        ensure(here.is_some() || there.is_some(), "a rename that was cancelled loses the file")?;
        settles(&fs, &["a", "b"]).await?;
        if let Some(renamed) = renamed {
            renamed?;
            return ensure(here.is_none() && there.is_some(), "what was moved is not where it should be");
        }
        let at_both = fs.exists(&to).await? && fs.exists(&from).await?;
        ensure(
            !at_both || !fs.capabilities().atomic_rename,
            "an atomic rename leaves the file at both places",
        )?;
    }
    Err(Failure::new(format!("rename is polled {MOST_POLLS} times and does not end")))
}

pub(super) async fn cancel_copy(fs: Fs) -> Outcome {
    let (from, content) = (place("a", 0)?, pattern(1 << 20));
    fs.write_file(&from, content.clone()).await?;
    for round in 1..MOST_POLLS {
        let to = place("b", round)?;
        fs.write_file(&to, "old").await?;
        let copied = polled(round, fs.copy(&from, &to, TransferOptions::default())).await;
        let there = found(&fs, &to).await?.unwrap_or_default();
        ensure(there == "old" || there == content, "a copy that was cancelled has published a part")?;
        ensure(found(&fs, &from).await?.is_some_and(|here| here == content), "the source has changed")?;
        settles(&fs, &["a", "b"]).await?;
        if let Some(copied) = copied {
            copied?;
            return ensure(there == content, "what was copied is not there");
        }
    }
    Err(Failure::new(format!("copy is polled {MOST_POLLS} times and does not end")))
}

use agentx_resource::{
    ErrorKind, FileSystemExt, MkdirOptions, RemoveOptions, TransferOptions, WriteMode, WriteOptions,
};
use bytes::Bytes;
use futures::TryStreamExt;

use super::support::{Subject, path};
use crate::{
    Failure, Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

pub(super) async fn pair_command_reads(pair: Subject) -> Outcome {
    pair.files.write_file(&path("/a")?, "by files").await?;
    pair.cats("a", "by files").await
}

pub(super) async fn pair_command_writes(pair: Subject) -> Outcome {
    pair.tee("a", b"by a command").await?;
    pair.holds("/a", "by a command").await?;
    let found = pair.files.metadata(&path("/a")?).await?;
    ensure_eq((found.is_file(), found.len), (true, 12), "what stat says")
}

pub(super) async fn pair_binary(pair: Subject) -> Outcome {
    let content: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    pair.files.write_file(&path("/a")?, content.clone()).await?;
    ensure(pair.done("cat", &["a"]).await? == content, "a command reads other bytes than were written")?;
    pair.tee("b", &content).await?;
    ensure(pair.files.read_file(&path("/b")?).await? == content, "other bytes than a command wrote")
}

pub(super) async fn pair_command_reads_replaced(pair: Subject) -> Outcome {
    for content in ["a long first content", "second", "", "fourth"] {
        pair.files.write_file(&path("/a")?, content).await?;
        pair.cats("a", content).await?;
    }
    Ok(())
}

pub(super) async fn pair_command_replaces(pair: Subject) -> Outcome {
    pair.files.write_file(&path("/a")?, "by files").await?;
    for content in ["a long second content", "third", "", "fifth"] {
        pair.tee("a", content.as_bytes()).await?;
        pair.holds("/a", content).await?;
    }
    Ok(())
}

pub(super) async fn pair_version_changes(pair: Subject) -> Outcome {
    let at = path("/a")?;
    let Some(version) = pair.files.write_file(&at, "one").await?.version else {
        return ensure(pair.files.capabilities().if_match.is_none(), "a file has no version");
    };
    // As long as the first, and as close in time as can be.
    pair.tee("a", b"two").await?;
    let seen = pair.files.metadata(&at).await?.version;
    ensure(seen.as_ref() != Some(&version), "what a command wrote has the version that was there before")?;
    if pair.files.capabilities().if_match.is_some() {
        let written =
            pair.files.write(&at, Bytes::from_static(b"x"), WriteMode::IfMatch(version).into()).await;
        ensure_kind(written, ErrorKind::ConditionFailed, "a write over what a command wrote")?;
        pair.holds("/a", "two").await?;
    }
    Ok(())
}

pub(super) async fn pair_append(pair: Subject) -> Outcome {
    pair.tee("a", b"one,").await?;
    let appended = pair.files.append(&path("/a")?, "two").await;
    if !pair.files.capabilities().append {
        ensure_kind(appended, ErrorKind::Unsupported, "an undeclared append")?;
        return pair.cats("a", "one,").await;
    }
    appended?;
    pair.cats("a", "one,two").await
}

pub(super) async fn pair_writer_unfinished(pair: Subject) -> Outcome {
    pair.files.write_file(&path("/old")?, "kept").await?;
    for (at, name) in [("/old", "old"), ("/new", "new")] {
        let mut writer = pair.files.writer(&path(at)?, WriteOptions::default()).await?;
        writer.write(Bytes::from_static(b"unfinished")).await?;
        match name {
            "old" => pair.cats(name, "kept").await?,
            _ => pair.cats_nothing(name).await?,
        }
        writer.close().await?;
        pair.cats(name, "unfinished").await?;
    }
    Ok(())
}

pub(super) async fn pair_directory_by_files(pair: Subject) -> Outcome {
    pair.files.mkdir(&path("/d/sub")?, MkdirOptions::recursive()).await?;
    pair.tee("d/sub/f", b"below").await?;
    pair.holds("/d/sub/f", "below").await
}

pub(super) async fn pair_directory_by_command(pair: Subject) -> Outcome {
    pair.done("mkdir", &["-p", "d/sub"]).await?;
    ensure(pair.files.metadata(&path("/d/sub")?).await?.is_dir(), "a command's directory is none")?;
    pair.files.write_file(&path("/d/sub/f")?, "below").await?;
    pair.cats("d/sub/f", "below").await
}

pub(super) async fn pair_removed_by_files(pair: Subject) -> Outcome {
    pair.tee("a", b"x").await?;
    pair.files.rm(&path("/a")?, RemoveOptions::default()).await?;
    pair.cats_nothing("a").await
}

pub(super) async fn pair_removed_by_command(pair: Subject) -> Outcome {
    pair.files.write_file(&path("/a")?, "x").await?;
    ensure(pair.files.exists(&path("/a")?).await?, "a file is not there")?;
    pair.done("rm", &["a"]).await?;
    ensure_kind(
        pair.files.metadata(&path("/a")?).await,
        ErrorKind::NotFound,
        "stat of what a command removed",
    )?;
    let read = pair.files.read_file(&path("/a")?).await;
    ensure_kind(read, ErrorKind::NotFound, "a read of what a command removed")
}

pub(super) async fn pair_tree_removed(pair: Subject) -> Outcome {
    for (at, by_command) in [("d", true), ("e", false)] {
        pair.done("mkdir", &["-p", &format!("{at}/sub")]).await?;
        pair.files.write_file(&path(&format!("/{at}/sub/f"))?, "x").await?;
        if by_command {
            pair.done("rm", &["-r", at]).await?;
        } else {
            pair.files.rm(&path(&format!("/{at}"))?, RemoveOptions::recursive()).await?;
        }
        ensure(!pair.files.exists(&path(&format!("/{at}/sub/f"))?).await?, "a file outlives its directory")?;
        pair.cats_nothing(&format!("{at}/sub/f")).await?;
    }
    let left: Vec<_> = pair.files.walk(&path("/")?).try_collect().await?;
    ensure_eq(left, vec![], "what is left")
}

pub(super) async fn pair_renamed_by_files(pair: Subject) -> Outcome {
    pair.tee("a", b"moved").await?;
    pair.files.rename(&path("/a")?, &path("/b")?, TransferOptions::default()).await?;
    pair.cats_nothing("a").await?;
    pair.cats("b", "moved").await
}

pub(super) async fn pair_renamed_by_command(pair: Subject) -> Outcome {
    pair.files.write_file(&path("/a")?, "moved").await?;
    pair.files.write_file(&path("/b")?, "replaced").await?;
    pair.done("mv", &["a", "b"]).await?;
    ensure_kind(
        pair.files.metadata(&path("/a")?).await,
        ErrorKind::NotFound,
        "stat of what a command moved",
    )?;
    pair.holds("/b", "moved").await
}

pub(super) async fn pair_directory_renamed(pair: Subject) -> Outcome {
    pair.files.mkdir(&path("/d")?, MkdirOptions::default()).await?;
    pair.files.write_file(&path("/d/f")?, "below").await?;
    pair.done("mv", &["d", "e"]).await?;
    pair.holds("/e/f", "below").await?;
    ensure(!pair.files.exists(&path("/d/f")?).await?, "a file stays where its directory was")?;
    pair.files.rename(&path("/e")?, &path("/g")?, TransferOptions::default()).await?;
    pair.cats("g/f", "below").await?;
    pair.cats_nothing("e/f").await
}

pub(super) async fn pair_copied(pair: Subject) -> Outcome {
    pair.tee("a", b"copied").await?;
    pair.files.copy(&path("/a")?, &path("/b")?, TransferOptions::default()).await?;
    pair.tee("a", b"changed").await?;
    pair.cats("b", "copied").await
}

pub(super) async fn pair_listed(pair: Subject) -> Outcome {
    pair.done("mkdir", &["-p", "d/by-command"]).await?;
    pair.tee("d/by-command/f", b"x").await?;
    pair.files.mkdir(&path("/d/by-files")?, MkdirOptions::default()).await?;
    pair.files.write_file(&path("/d/by-files/f")?, "x").await?;
    let mut listed: Vec<String> = pair
        .files
        .walk(&path("/d")?)
        .map_ok(|entry| entry.path.map_or(entry.name, |path| path.relative().to_owned()))
        .try_collect()
        .await?;
    listed.sort_unstable();
    let printed = pair.done("find", &["d"]).await?;
    let printed = String::from_utf8_lossy(&printed).into_owned();
    let mut found: Vec<&str> = printed.lines().filter(|line| *line != "d").collect();
    found.sort_unstable();
    ensure_eq(
        listed.clone(),
        ["d/by-command", "d/by-command/f", "d/by-files", "d/by-files/f"],
        "what is listed",
    )?;
    ensure_eq(listed, found, "what a command finds")
}

pub(super) async fn pair_names(pair: Subject) -> Outcome {
    for name in ["a b", " a ", "a\nb", "ünï", "日本語", "e\u{301}", "a*?", "'\"`$(x)", "a\\b", "%2F", "~"]
    {
        let at = path("/")?.join(name)?;
        pair.files.write_file(&at, name).await?;
        pair.cats(name, name).await?;
        pair.tee(name, b"by a command").await?;
        pair.holds(at.as_str(), "by a command").await?;
        pair.done("rm", &[name]).await?;
        ensure(!pair.files.exists(&at).await?, format!("{name:?} is there after its removal"))?;
    }
    let left = pair.files.readdir(&path("/")?).await?;
    ensure_eq(left, vec![], "what is left")
}

pub(super) async fn pair_turns(pair: Subject) -> Outcome {
    let at = path("/a")?;
    for round in 0..20 {
        let (first, second) = (format!("files {round}"), format!("command {round}"));
        pair.files.write_file(&at, first.clone()).await?;
        pair.cats("a", &first).await?;
        pair.tee("a", second.as_bytes()).await?;
        pair.holds("/a", &second).await?;
    }
    Ok(())
}

pub(super) async fn pair_at_once(pair: Subject) -> Outcome {
    let both = (0..8).map(|index| {
        let pair = pair.clone();
        async move {
            let (by_command, by_files) = (format!("c{index}"), format!("f{index}"));
            let at = path(&format!("/{by_files}"))?;
            let (told, written) = futures::join!(
                pair.tee(&by_command, by_command.as_bytes()),
                pair.files.write_file(&at, by_files.clone())
            );
            told?;
            written?;
            pair.holds(&format!("/{by_command}"), &by_command).await?;
            pair.cats(&by_files, &by_files).await
        }
    });
    futures::future::try_join_all(both).await?;
    let entries = pair.files.readdir(&path("/")?).await.map_err(Failure::from)?;
    ensure_eq(entries.len(), 16, "the files of both")
}

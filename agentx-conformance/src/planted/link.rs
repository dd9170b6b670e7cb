use agentx_resource::{
    ErrorKind, FileKind, FileSystemExt, MkdirOptions, RemoveOptions, StatOptions, TransferOptions, Version,
    WriteMode, WriteOptions,
};
use bytes::Bytes;

use super::support::{Garden, path};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

pub(super) async fn link_read(garden: Garden) -> Outcome {
    garden.put("/d/f", "content").await?;
    for (target, at) in [("d/f", "/beside"), ("f", "/d/here"), ("../d/./f", "/d/around")] {
        if !garden.link(target, at)? {
            return Ok(());
        }
        garden.holds(at, "content").await?;
        ensure_eq(garden.files.read_range(&path(at)?, 1..4).await?, "ont", "a part")?;
    }
    Ok(())
}

pub(super) async fn link_absolute(garden: Garden) -> Outcome {
    garden.put("/d/f", "content").await?;
    if !garden.link(&garden.plant.absolute(&path("/d/f")?), "/file")? {
        return Ok(());
    }
    garden.link(&garden.plant.absolute(&path("/")?), "/d/root")?;
    for at in ["/file", "/d/root/d/f", "/d/root/d/root/file"] {
        garden.holds(at, "content").await?;
    }
    Ok(())
}

pub(super) async fn link_chain(garden: Garden) -> Outcome {
    garden.put("/end", "content").await?;
    for number in 0..20 {
        let target = if number == 0 { "end".to_owned() } else { format!("l{}", number - 1) };
        if !garden.link(&target, &format!("/l{number}"))? {
            return Ok(());
        }
    }
    garden.holds("/l19", "content").await
}

pub(super) async fn link_stat(garden: Garden) -> Outcome {
    garden.put("/d/f", "content").await?;
    if !garden.link("d/f", "/l")? {
        return Ok(());
    }
    let (seen, own) =
        (garden.files.metadata(&path("/l")?).await?, garden.files.metadata(&path("/d/f")?).await?);
    ensure_eq((seen.kind, seen.len), (FileKind::File, 7), "what a link to a file is")?;
    ensure_eq(&seen.version, &own.version, "the version")?;
    garden.link("d", "/dl")?;
    ensure(garden.files.metadata(&path("/dl")?).await?.is_dir(), "a link to a directory is none")
}

pub(super) async fn link_stat_no_follow(garden: Garden) -> Outcome {
    garden.put("/d/f", "content").await?;
    let absolute = garden.plant.absolute(&path("/d")?);
    for (target, at) in [("d/f", "/l"), ("./d/../d//f", "/odd"), (&*absolute, "/dl")] {
        if !garden.link(target, at)? {
            return Ok(());
        }
        garden.leads(at, target).await?;
        let found = garden.files.stat(&path(at)?, StatOptions::no_follow()).await?;
        ensure_eq(found.len, 0, "a link's length")?;
    }
    // Links on the way are followed.
    let found = garden.files.stat(&path("/dl/f")?, StatOptions::no_follow()).await?;
    ensure_eq((found.kind, found.link_target), (FileKind::File, None), "a file behind a link")
}

pub(super) async fn link_exists(garden: Garden) -> Outcome {
    garden.put("/d/f", "x").await?;
    if !garden.link("d", "/l")? {
        return Ok(());
    }
    for (at, expected) in [("/l", true), ("/l/f", true), ("/l/g", false)] {
        ensure_eq(garden.files.exists(&path(at)?).await?, expected, format!("whether {at} exists"))?;
    }
    Ok(())
}

pub(super) async fn link_middle(garden: Garden) -> Outcome {
    garden.put("/d/f", "content").await?;
    if !garden.link("d", "/l")? {
        return Ok(());
    }
    garden.holds("/l/f", "content").await?;
    garden.put("/l/new/g", "new").await?;
    garden.dir("/l/made").await?;
    garden.copy("/l/f", "/l/copy").await?;
    garden.rename("/l/f", "/l/made/moved").await?;
    garden.files.rm(&path("/l/new")?, RemoveOptions::recursive()).await?;
    garden.tree_is(&["/d", "/d/copy", "/d/made", "/d/made/moved", "/l"]).await?;
    garden.leads("/l", "d").await
}

pub(super) async fn link_below_file(garden: Garden) -> Outcome {
    garden.put("/f", "kept").await?;
    if !garden.link("f", "/l")? {
        return Ok(());
    }
    let below = path("/l/x")?;
    ensure_kind(garden.files.read_file(&below).await, ErrorKind::NotFound, "read")?;
    ensure_kind(garden.files.write_file(&below, "x").await, ErrorKind::NotADirectory, "write")?;
    garden.holds("/f", "kept").await
}

pub(super) async fn link_write(garden: Garden) -> Outcome {
    garden.put("/d/f", "one, longer").await?;
    if !garden.link("d/f", "/l")? {
        return Ok(());
    }
    let written = garden.files.write_file(&path("/l")?, "two").await?;
    ensure_eq(written.len, 3, "the length")?;
    garden.leads("/l", "d/f").await?;
    garden.holds("/d/f", "two").await?;
    ensure_eq(garden.files.metadata(&path("/d/f")?).await?.version, written.version, "the version")?;
    garden.tree_is(&["/d", "/d/f", "/l"]).await
}

pub(super) async fn link_writer(garden: Garden) -> Outcome {
    garden.put("/d/f", "one").await?;
    if !garden.link("d/f", "/l")? {
        return Ok(());
    }
    for close in [false, true] {
        let mut writer = garden.files.writer(&path("/l")?, WriteOptions::default()).await?;
        writer.write(Bytes::from_static(b"two")).await?;
        garden.holds("/d/f", "one").await?;
        if close {
            writer.close().await?;
        }
    }
    garden.leads("/l", "d/f").await?;
    garden.holds("/d/f", "two").await?;
    garden.tree_is(&["/d", "/d/f", "/l"]).await
}

pub(super) async fn link_append(garden: Garden) -> Outcome {
    garden.put("/d/f", "one,").await?;
    if !garden.files.capabilities().append || !garden.link("d/f", "/l")? {
        return Ok(());
    }
    garden.files.append(&path("/l")?, "two").await?;
    garden.leads("/l", "d/f").await?;
    garden.holds("/d/f", "one,two").await
}

pub(super) async fn link_if_match(garden: Garden) -> Outcome {
    garden.put("/d/f", "one").await?;
    if garden.files.capabilities().if_match.is_none() || !garden.link("d/f", "/l")? {
        return Ok(());
    }
    let at = path("/l")?;
    let version = garden.files.metadata(&at).await?.version.unwrap_or_else(|| Version::new(""));
    let two = || Bytes::from_static(b"two");
    garden.files.write(&at, two(), WriteMode::IfMatch(version.clone()).into()).await?;
    let stale = garden.files.write(&at, Bytes::from_static(b"x"), WriteMode::IfMatch(version).into()).await;
    ensure_kind(stale, ErrorKind::ConditionFailed, "a write with the version that it had")?;
    garden.leads("/l", "d/f").await?;
    garden.holds("/d/f", "two").await
}

pub(super) async fn link_create_new(garden: Garden) -> Outcome {
    garden.put("/f", "kept").await?;
    if !garden.link("f", "/l")? {
        return Ok(());
    }
    ensure_kind(garden.files.create_new(&path("/l")?, "x").await, ErrorKind::AlreadyExists, "create new")?;
    let writer = garden.files.writer(&path("/l")?, WriteMode::CreateNew.into()).await;
    let closed = match writer {
        Ok(writer) => writer.close().await.map(drop),
        Err(error) => Err(error),
    };
    ensure_kind(closed, ErrorKind::AlreadyExists, "a writer")?;
    garden.leads("/l", "f").await?;
    garden.holds("/f", "kept").await
}

pub(super) async fn link_mkdir(garden: Garden) -> Outcome {
    garden.put("/d/f", "kept").await?;
    if !garden.link("d", "/dl")? {
        return Ok(());
    }
    garden.link("d/f", "/fl")?;
    for at in ["/dl", "/fl"] {
        let made = garden.files.mkdir(&path(at)?, MkdirOptions::default()).await;
        ensure_kind(made, ErrorKind::AlreadyExists, at)?;
    }
    let made = garden.files.mkdir(&path("/fl")?, MkdirOptions::recursive()).await;
    ensure_kind(made, ErrorKind::AlreadyExists, "a recursive mkdir of a link to a file")?;
    garden.dir("/dl").await?;
    garden.leads("/dl", "d").await?;
    garden.holds("/dl/f", "kept").await
}

pub(super) async fn link_rm(garden: Garden) -> Outcome {
    garden.put("/d/f", "kept").await?;
    if !garden.link("d/f", "/fl")? {
        return Ok(());
    }
    garden.link("d", "/dl")?;
    for at in ["/fl", "/dl"] {
        garden.files.rm(&path(at)?, RemoveOptions::default()).await?;
        garden.is_gone(at).await?;
    }
    garden.holds("/d/f", "kept").await
}

pub(super) async fn link_rename(garden: Garden) -> Outcome {
    garden.put("/d/f", "kept").await?;
    if !garden.link("d/f", "/fl")? {
        return Ok(());
    }
    garden.link("d", "/dl")?;
    garden.rename("/fl", "/moved").await?;
    // As it is stored: a relative one leads elsewhere from its new place.
    garden.rename("/dl", "/d/inside").await?;
    garden.leads("/moved", "d/f").await?;
    garden.leads("/d/inside", "d").await?;
    garden.holds("/moved", "kept").await?;
    garden.tree_is(&["/d", "/d/f", "/d/inside", "/moved"]).await
}

pub(super) async fn link_rename_onto(garden: Garden) -> Outcome {
    garden.put("/target", "kept").await?;
    garden.put("/f", "moved").await?;
    garden.dir("/d").await?;
    garden.dir("/e").await?;
    if !garden.link("target", "/l")? {
        return Ok(());
    }
    garden.link("e", "/el")?;
    let (f, l) = (path("/f")?, path("/l")?);
    let refused = garden.files.rename(&f, &l, TransferOptions::create_new()).await;
    ensure_kind(refused, ErrorKind::AlreadyExists, "with create-new")?;
    for at in ["/l", "/el"] {
        ensure_kind(garden.rename("/d", at).await, ErrorKind::NotADirectory, "a directory onto a link")?;
    }
    garden.rename("/f", "/l").await?;
    garden.holds("/l", "moved").await?;
    garden.holds("/target", "kept").await?;
    let found = garden.files.stat(&l, StatOptions::no_follow()).await?;
    ensure_eq(found.kind, FileKind::File, "what took the link's place")?;
    garden.tree_is(&["/d", "/e", "/el", "/l", "/target"]).await
}

pub(super) async fn link_copy(garden: Garden) -> Outcome {
    garden.put("/d/f", "content").await?;
    if !garden.link("d/f", "/fl")? {
        return Ok(());
    }
    garden.link("d", "/dl")?;
    garden.copy("/fl", "/file").await?;
    garden.copy("/dl", "/directory").await?;
    garden.put("/d/f", "changed").await?;
    for at in ["/file", "/directory/f"] {
        garden.holds(at, "content").await?;
    }
    for (at, kind) in [("/file", FileKind::File), ("/directory", FileKind::Directory)] {
        let found = garden.files.stat(&path(at)?, StatOptions::no_follow()).await?;
        ensure_eq(found.kind, kind, format!("the kind of {at} itself"))?;
    }
    Ok(())
}

pub(super) async fn link_copy_onto(garden: Garden) -> Outcome {
    garden.put("/target", "replaced").await?;
    garden.put("/f", "copied").await?;
    garden.dir("/d").await?;
    if !garden.link("target", "/l")? {
        return Ok(());
    }
    garden.link("d", "/dl")?;
    let (f, l) = (path("/f")?, path("/l")?);
    let refused = garden.files.copy(&f, &l, TransferOptions::create_new()).await;
    ensure_kind(refused, ErrorKind::AlreadyExists, "with create-new")?;
    ensure_kind(garden.copy("/d", "/l").await, ErrorKind::AlreadyExists, "a directory onto a link")?;
    ensure_kind(
        garden.copy("/f", "/dl").await,
        ErrorKind::IsADirectory,
        "a file onto a link to a directory",
    )?;
    garden.holds("/target", "replaced").await?;
    garden.copy("/f", "/l").await?;
    garden.leads("/l", "target").await?;
    garden.holds("/target", "copied").await
}

pub(super) async fn link_copy_itself(garden: Garden) -> Outcome {
    garden.put("/f", "kept").await?;
    if !garden.link("f", "/l")? {
        return Ok(());
    }
    garden.copy("/l", "/f").await?;
    garden.copy("/f", "/l").await?;
    garden.leads("/l", "f").await?;
    garden.holds("/f", "kept").await
}

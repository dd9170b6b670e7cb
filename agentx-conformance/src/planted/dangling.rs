use agentx_resource::{
    ErrorKind, FileSystemExt, MkdirOptions, RemoveOptions, TransferOptions, Version, WriteMode, WriteOptions,
};
use bytes::Bytes;

use super::support::{Garden, all_are, path};
use crate::{
    Outcome,
    failure::{ensure, ensure_kind},
};

pub(super) async fn dangling_read(garden: Garden) -> Outcome {
    if !garden.link("nowhere", "/l")? {
        return Ok(());
    }
    all_are(garden.reads("/l").await?, ErrorKind::NotFound, "of a link that leads nowhere")?;
    ensure(!garden.files.exists(&path("/l")?).await?, "a link that leads nowhere exists")
}

pub(super) async fn dangling_stat(garden: Garden) -> Outcome {
    for (target, at) in [("nowhere", "/l"), ("no/where", "/far"), ("../../../beyond", "/d/out")] {
        garden.dir("/d").await?;
        if !garden.link(target, at)? {
            return Ok(());
        }
        garden.leads(at, target).await?;
    }
    Ok(())
}

pub(super) async fn dangling_write(garden: Garden) -> Outcome {
    garden.dir("/d").await?;
    if !garden.link("d/new", "/l")? {
        return Ok(());
    }
    garden.files.write_file(&path("/l")?, "content").await?;
    garden.leads("/l", "d/new").await?;
    garden.holds("/d/new", "content").await?;
    garden.tree_is(&["/d", "/d/new", "/l"]).await
}

pub(super) async fn dangling_write_far(garden: Garden) -> Outcome {
    if !garden.link("no/new", "/l")? {
        return Ok(());
    }
    ensure_kind(garden.files.write_file(&path("/l")?, "x").await, ErrorKind::NotFound, "write")?;
    garden.tree_is(&["/l"]).await?;
    garden.put("/l", "content").await?;
    garden.leads("/l", "no/new").await?;
    garden.holds("/no/new", "content").await
}

pub(super) async fn dangling_create_new(garden: Garden) -> Outcome {
    if !garden.link("new", "/l")? {
        return Ok(());
    }
    ensure_kind(garden.files.create_new(&path("/l")?, "x").await, ErrorKind::AlreadyExists, "create new")?;
    garden.put("/f", "x").await?;
    let (f, l) = (path("/f")?, path("/l")?);
    let copied = garden.files.copy(&f, &l, TransferOptions::create_new()).await;
    ensure_kind(copied, ErrorKind::AlreadyExists, "a copy with create-new")?;
    garden.leads("/l", "new").await?;
    garden.tree_is(&["/f", "/l"]).await
}

pub(super) async fn dangling_if_match(garden: Garden) -> Outcome {
    if garden.files.capabilities().if_match.is_none() || !garden.link("new", "/l")? {
        return Ok(());
    }
    let options = WriteMode::IfMatch(Version::new("1")).into();
    let written = garden.files.write(&path("/l")?, Bytes::from_static(b"x"), options).await;
    ensure_kind(written, ErrorKind::ConditionFailed, "write")?;
    garden.tree_is(&["/l"]).await
}

pub(super) async fn dangling_mkdir(garden: Garden) -> Outcome {
    if !garden.link("new", "/l")? {
        return Ok(());
    }
    for options in [MkdirOptions::default(), MkdirOptions::recursive()] {
        ensure_kind(garden.files.mkdir(&path("/l")?, options).await, ErrorKind::AlreadyExists, "mkdir")?;
    }
    garden.leads("/l", "new").await?;
    garden.tree_is(&["/l"]).await
}

pub(super) async fn dangling_middle(garden: Garden) -> Outcome {
    if !garden.link("nowhere", "/l")? {
        return Ok(());
    }
    all_are(garden.reads("/l/f").await?, ErrorKind::NotFound, "behind a link that leads nowhere")?;
    let below = path("/l/f")?;
    let parents = WriteOptions::default().with_create_parents();
    for (what, options) in [("write", WriteOptions::default()), ("write with parents", parents)] {
        let written = garden.files.write(&below, Bytes::from_static(b"x"), options).await;
        ensure_kind(written, ErrorKind::NotFound, what)?;
    }
    for options in [MkdirOptions::default(), MkdirOptions::recursive()] {
        ensure_kind(garden.files.mkdir(&below, options).await, ErrorKind::NotFound, "mkdir")?;
    }
    ensure_kind(garden.files.rm(&below, RemoveOptions::recursive()).await, ErrorKind::NotFound, "rm")?;
    garden.files.rm_all(&below).await?;
    garden.tree_is(&["/l"]).await
}

pub(super) async fn dangling_rm(garden: Garden) -> Outcome {
    if !garden.link("nowhere", "/l")? {
        return Ok(());
    }
    garden.link("nowhere", "/m")?;
    garden.files.rm(&path("/l")?, RemoveOptions::default()).await?;
    garden.files.rm(&path("/m")?, RemoveOptions::recursive()).await?;
    garden.tree_is(&[]).await
}

pub(super) async fn dangling_rename(garden: Garden) -> Outcome {
    garden.put("/f", "moved").await?;
    if !garden.link("nowhere", "/l")? {
        return Ok(());
    }
    garden.rename("/l", "/m").await?;
    garden.leads("/m", "nowhere").await?;
    garden.rename("/f", "/m").await?;
    garden.holds("/m", "moved").await?;
    garden.tree_is(&["/m"]).await
}

pub(super) async fn dangling_copy(garden: Garden) -> Outcome {
    garden.put("/f", "copied").await?;
    if !garden.link("new", "/l")? {
        return Ok(());
    }
    ensure_kind(garden.copy("/l", "/to").await, ErrorKind::NotFound, "a copy of what a link leads to")?;
    garden.copy("/f", "/l").await?;
    garden.leads("/l", "new").await?;
    garden.holds("/new", "copied").await
}

pub(super) async fn loop_kind(garden: Garden) -> Outcome {
    for (target, at) in [("b", "/a"), ("a", "/b"), ("self/x", "/self")] {
        if !garden.link(target, at)? {
            return Ok(());
        }
    }
    for at in ["/a", "/b/c", "/self"] {
        all_are(garden.reads(at).await?, ErrorKind::InvalidPath, at)?;
        all_are(garden.writes(at).await?, ErrorKind::InvalidPath, at)?;
        ensure_kind(garden.files.create_new(&path(at)?, "x").await, ErrorKind::InvalidPath, at)?;
        ensure_kind(garden.files.exists(&path(at)?).await, ErrorKind::InvalidPath, at)?;
    }
    Ok(())
}

pub(super) async fn loop_rm(garden: Garden) -> Outcome {
    if !garden.link("self", "/self")? {
        return Ok(());
    }
    garden.leads("/self", "self").await?;
    garden.rename("/self", "/other").await?;
    garden.files.rm(&path("/other")?, RemoveOptions::default()).await?;
    garden.tree_is(&[]).await
}

use agentx_resource::{ErrorKind, FileKind, FileSystemExt, RemoveOptions};
use futures::TryStreamExt;

use super::support::{Garden, path};
use crate::{
    Outcome,
    failure::{ensure_eq, ensure_kind},
};

pub(super) async fn link_listed(garden: Garden) -> Outcome {
    garden.put("/d/f", "x").await?;
    garden.put("/elsewhere/g", "x").await?;
    if !garden.link("../elsewhere", "/d/dl")? {
        return Ok(());
    }
    garden.link("f", "/d/fl")?;
    garden.link("..", "/d/up")?;
    let kinds = [
        ("dl", FileKind::Symlink),
        ("f", FileKind::File),
        ("fl", FileKind::Symlink),
        ("up", FileKind::Symlink),
    ];
    let entries = garden.files.readdir(&path("/d")?).await?;
    let found: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.metadata.kind)).collect();
    ensure_eq(found, kinds, "the entries")?;
    let mut all: Vec<_> = garden.files.walk(&path("/d")?).try_collect().await?;
    all.sort_by(|a: &agentx_resource::DirEntry, b| a.name.cmp(&b.name));
    let found: Vec<_> = all.iter().map(|entry| (entry.name.as_str(), entry.metadata.kind)).collect();
    ensure_eq(found, kinds, "the tree, of which no link is entered")
}

pub(super) async fn link_list_of(garden: Garden) -> Outcome {
    garden.put("/d/sub/f", "x").await?;
    garden.put("/f", "x").await?;
    if !garden.link("d", "/l")? {
        return Ok(());
    }
    garden.link("f", "/fl")?;
    let entries = garden.files.readdir(&path("/l")?).await?;
    let found: Vec<_> = entries.iter().map(|entry| entry.path.clone()).collect();
    ensure_eq(found, [Some(path("/l/sub")?)], "the entries, at the path that was asked for")?;
    let all: Vec<_> = garden.files.walk(&path("/l")?).try_collect().await?;
    ensure_eq(all.len(), 2, "the tree behind a link")?;
    ensure_kind(garden.files.readdir(&path("/fl")?).await, ErrorKind::NotADirectory, "a link to a file")
}

pub(super) async fn link_rm_tree(garden: Garden) -> Outcome {
    garden.put("/kept/f", "kept").await?;
    garden.put("/d/sub/g", "x").await?;
    if !garden.link("../kept", "/d/dl")? {
        return Ok(());
    }
    garden.link("../../kept/f", "/d/sub/fl")?;
    garden.link("kept", "/top")?;
    for at in ["/d", "/top"] {
        garden.files.rm(&path(at)?, RemoveOptions::recursive()).await?;
    }
    garden.holds("/kept/f", "kept").await?;
    garden.tree_is(&["/kept", "/kept/f"]).await
}

pub(super) async fn link_copy_tree(garden: Garden) -> Outcome {
    garden.put("/d/f", "content").await?;
    let links = [("f", "fl"), ("..", "up"), ("nowhere", "dangling"), ("loop", "loop")];
    for (target, name) in links {
        if !garden.link(target, &format!("/d/{name}"))? {
            return Ok(());
        }
    }
    garden.copy("/d", "/e").await?;
    for (target, name) in links {
        garden.leads(&format!("/e/{name}"), target).await?;
    }
    garden.holds("/e/fl", "content").await?;
    let entries = garden.files.readdir(&path("/e")?).await?;
    ensure_eq(entries.len(), 5, "how many entries there are")
}

pub(super) async fn link_into_itself(garden: Garden) -> Outcome {
    garden.put("/d/f", "kept").await?;
    if !garden.link("d", "/l")? {
        return Ok(());
    }
    for to in ["/d/sub", "/l/sub"] {
        ensure_kind(garden.copy("/d", to).await, ErrorKind::InvalidInput, format!("a copy to {to}"))?;
        ensure_kind(garden.rename("/d", to).await, ErrorKind::InvalidInput, format!("a rename to {to}"))?;
    }
    garden.rename("/l/f", "/d/f").await?;
    garden.holds("/d/f", "kept").await?;
    garden.tree_is(&["/d", "/d/f", "/l"]).await
}

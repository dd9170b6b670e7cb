use agentx_resource::{ErrorKind, FileKind, FileSystemExt, ListOptions, RemoveOptions};
use futures::TryStreamExt;

use super::support::{Garden, all_are, grown, path};
use crate::{
    Outcome,
    failure::{ensure, ensure_eq, ensure_kind},
};

/// Two names, `/a` and `/b`, of one file.
async fn two_names(garden: &Garden) -> Result<bool, crate::Failure> {
    garden.put("/a", "one").await?;
    grown(garden.plant.hard_link(&path("/a")?, &path("/b")?))
}

pub(super) async fn hard_replaced(garden: Garden) -> Outcome {
    if !two_names(&garden).await? {
        return Ok(());
    }
    garden.holds("/b", "one").await?;
    garden.put("/b", "two").await?;
    garden.holds("/a", "one").await?;
    garden.holds("/b", "two").await
}

pub(super) async fn hard_removed(garden: Garden) -> Outcome {
    if !two_names(&garden).await? {
        return Ok(());
    }
    garden.files.rm(&path("/a")?, RemoveOptions::default()).await?;
    garden.holds("/b", "one").await?;
    garden.tree_is(&["/b"]).await
}

pub(super) async fn hard_renamed_onto(garden: Garden) -> Outcome {
    if !two_names(&garden).await? {
        return Ok(());
    }
    garden.rename("/a", "/b").await?;
    garden.holds("/b", "one").await?;
    garden.tree_is(&["/b"]).await
}

pub(super) async fn special_refused(garden: Garden) -> Outcome {
    let at = path("/fifo")?;
    if !grown(garden.plant.special(&at))? {
        return Ok(());
    }
    ensure_eq(garden.files.metadata(&at).await?.kind, FileKind::Other, "the kind")?;
    ensure(garden.files.exists(&at).await?, "it does not exist")?;
    ensure_kind(garden.files.read_file(&at).await, ErrorKind::InvalidInput, "read")?;
    ensure_kind(garden.files.readdir(&at).await, ErrorKind::NotADirectory, "list")?;
    ensure_kind(garden.copy("/fifo", "/to").await, ErrorKind::InvalidInput, "copy")?;
    all_are(garden.writes("/fifo").await?, ErrorKind::InvalidInput, "something that is no file")?;
    ensure_kind(garden.files.create_new(&at, "x").await, ErrorKind::AlreadyExists, "create new")?;
    garden.tree_is(&["/fifo", "/own"]).await
}

pub(super) async fn special_moved(garden: Garden) -> Outcome {
    garden.dir("/d").await?;
    if !grown(garden.plant.special(&path("/d/fifo")?))? {
        return Ok(());
    }
    garden.rename("/d/fifo", "/d/moved").await?;
    let entries = garden.files.readdir(&path("/d")?).await?;
    let kinds: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.metadata.kind)).collect();
    ensure_eq(kinds, [("moved", FileKind::Other)], "the entries")?;
    garden.files.rm(&path("/d/moved")?, RemoveOptions::default()).await?;
    garden.tree_is(&["/d"]).await
}

pub(super) async fn odd_listed(garden: Garden) -> Outcome {
    garden.put("/d/f", "x").await?;
    if !grown(garden.plant.unaddressable(&path("/d")?, "odd"))? {
        return Ok(());
    }
    for options in [ListOptions::default(), ListOptions::recursive()] {
        let entries: Vec<_> = garden.files.list(&path("/d")?, options).try_collect().await?;
        ensure_eq(entries.len(), 2, "how many entries there are")?;
        let odd: Vec<_> = entries.iter().filter(|entry| entry.path.is_none()).collect();
        let [odd] = *odd else { return ensure(false, "a name that is no path is not listed as such") };
        ensure(odd.name.contains('\u{fffd}'), format!("the name is shown as {:?}", odd.name))?;
        ensure_eq((odd.metadata.kind, odd.metadata.len), (FileKind::File, 3), "what is known of it")?;
    }
    Ok(())
}

pub(super) async fn odd_copied(garden: Garden) -> Outcome {
    garden.dir("/d").await?;
    if !grown(garden.plant.unaddressable(&path("/d")?, "odd"))? {
        return Ok(());
    }
    garden.copy("/d", "/e").await?;
    garden.rename("/d", "/moved").await?;
    for at in ["/e", "/moved"] {
        let entries = garden.files.readdir(&path(at)?).await?;
        let found: Vec<_> = entries.iter().map(|entry| (&entry.path, entry.metadata.len)).collect();
        ensure_eq(found, [(&None, 3)], format!("what is in {at}"))?;
    }
    Ok(())
}

pub(super) async fn odd_removed(garden: Garden) -> Outcome {
    garden.dir("/d").await?;
    if !grown(garden.plant.unaddressable(&path("/d")?, "odd"))? {
        return Ok(());
    }
    let refused = garden.files.rm(&path("/d")?, RemoveOptions::default()).await;
    ensure_kind(refused, ErrorKind::DirectoryNotEmpty, "rm")?;
    garden.files.rm(&path("/d")?, RemoveOptions::recursive()).await?;
    garden.tree_is(&[]).await
}

use std::sync::Arc;

use futures::TryStreamExt;

use super::{
    fs::{list, read, remove},
    tree::{Place, Tree, fail, not_reserved, retold, through_link},
};
use crate::{
    ErrorKind, FileKind, ListOptions, Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath,
    Result, StatOptions, TransferOptions, WriteMode,
};

pub(super) async fn rename(
    tree: &Arc<Tree>,
    from: &ResourcePath,
    to: &ResourcePath,
    options: &TransferOptions,
) -> Result<()> {
    let Some((source, target)) = check(tree, "rename", from, to, options).await? else { return Ok(()) };
    if source.is_dir() {
        match target {
            Some(target) if !target.is_dir() => return Err(fail(ErrorKind::NotADirectory, "rename", to)),
            Some(_) if !tree.is_empty(to).await.map_err(|error| retold(error, "rename", to))? => {
                return Err(fail(ErrorKind::DirectoryNotEmpty, "rename", to));
            }
            _ => {}
        }
    }
    move_to(tree, source, from, to).await.map_err(|error| retold(error, "rename", from))
}

/// Moves within the upper where the base has nothing to do with it; otherwise copies, and then removes.
async fn move_to(tree: &Arc<Tree>, source: Metadata, from: &ResourcePath, to: &ResourcePath) -> Result<()> {
    if tree.entry_in_base(from).await?.is_some() {
        copy_to(tree, &source, from, to).await?;
        return remove(tree, from).await;
    }
    tree.make_parents(to).await?;
    tree.upper.rename(from, to, TransferOptions::default()).await
}

pub(super) async fn copy(
    tree: &Arc<Tree>,
    from: &ResourcePath,
    to: &ResourcePath,
    options: &TransferOptions,
) -> Result<()> {
    let Some((source, target)) = check(tree, "copy", from, to, options).await? else { return Ok(()) };
    if source.is_dir() && target.is_some() {
        return Err(fail(ErrorKind::AlreadyExists, "copy", to));
    }
    copy_to(tree, &source, from, to).await.map_err(|error| retold(error, "copy", from))
}

/// What rename and copy ask alike: what is at the source and at the destination; `None` where nothing is to be done.
async fn check(
    tree: &Tree,
    operation: &'static str,
    from: &ResourcePath,
    to: &ResourcePath,
    options: &TransferOptions,
) -> Result<Option<(Metadata, Option<Metadata>)>> {
    if from.is_root() || to.is_root() {
        let error = fail(ErrorKind::InvalidInput, operation, from);
        return Err(error.with_message("the root stays as it is"));
    }
    not_reserved(to, operation)?;
    // A copy is one of what a symlink leads to, a rename is one of the symlink.
    let look = if operation == "rename" { StatOptions::no_follow() } else { StatOptions::default() };
    let found = tree.look(from, &look).await.map_err(|error| retold(error, operation, from))?;
    if matches!(&found, Some(Place::Base(source)) if source.kind == FileKind::Symlink) {
        let error = fail(ErrorKind::Unsupported, operation, from);
        return Err(error.with_message("a symbolic link of the base can't be made in the upper file system"));
    }
    let Some(Place::Upper(source) | Place::Base(source)) = found else {
        return Err(fail(ErrorKind::NotFound, operation, from));
    };
    if from == to && !options.create_new {
        return Ok(None);
    }
    if source.is_dir() && from != to && to.starts_with(from) {
        let error = fail(ErrorKind::InvalidInput, operation, to);
        return Err(error.with_message("a directory can't hold itself"));
    }
    let told = |error| retold(error, operation, from);
    if operation == "rename"
        && let Some(link) = tree.base_link_above(from).await.map_err(told)?
    {
        return Err(through_link(operation, from, &link));
    }
    let kind = match tree.place(to).await.map_err(|error| retold(error, operation, to))? {
        Place::BelowFile => ErrorKind::NotADirectory,
        Place::NoParent => ErrorKind::NotFound,
        Place::Upper(_) | Place::Base(_) if options.create_new => ErrorKind::AlreadyExists,
        Place::Upper(target) | Place::Base(target) if target.is_dir() && !source.is_dir() => {
            ErrorKind::IsADirectory
        }
        place => match tree.base_link(to).await.map_err(told)? {
            Some(link) if link == *to && options.create_new => ErrorKind::AlreadyExists,
            Some(link) => return Err(through_link(operation, to, &link)),
            None => {
                let target = match place {
                    Place::Upper(target) | Place::Base(target) => Some(target),
                    _ => None,
                };
                return Ok(Some((source, target)));
            }
        },
    };
    Err(fail(kind, operation, to))
}

/// Copies what shows at `from` into the upper, whole or not at all.
async fn copy_to(tree: &Arc<Tree>, source: &Metadata, from: &ResourcePath, to: &ResourcePath) -> Result<()> {
    if !source.is_dir() {
        tree.make_parents(to).await?;
        return copy_up(tree, from, to).await;
    }
    let stage = tree.stage().await?;
    let copied = async {
        copy_directory(tree, from, &stage).await?;
        tree.make_parents(to).await?;
        tree.upper.rename(&stage, to, TransferOptions::default()).await
    };
    let copied = copied.await;
    if copied.is_err() {
        tree.upper.rm(&stage, RemoveOptions::recursive().with_force()).await?;
    }
    copied
}

async fn copy_directory(tree: &Arc<Tree>, from: &ResourcePath, stage: &ResourcePath) -> Result<()> {
    tree.upper.mkdir(stage, MkdirOptions::default()).await?;
    let mut entries = list(tree, from, &ListOptions::recursive());
    while let Some(entry) = entries.try_next().await? {
        let below = entry.path.as_ref().and_then(|path| Some((path, path.strip_prefix(from)?)));
        let (Some((path, relative)), FileKind::File | FileKind::Directory) = (below, entry.metadata.kind)
        else {
            return Err(fail(ErrorKind::Unsupported, "copy", from)
                .with_message(format!("{:?} can't be copied to the upper file system", entry.name)));
        };
        let target = stage.join(relative)?;
        if entry.metadata.is_dir() {
            tree.upper.mkdir(&target, MkdirOptions::recursive()).await?;
            continue;
        }
        tree.make_parents(&target).await?;
        copy_up(tree, path, &target).await?;
    }
    Ok(())
}

/// Copies the file that shows at `from` to `to` in the upper, whose directory is there.
pub(super) async fn copy_up(tree: &Tree, from: &ResourcePath, to: &ResourcePath) -> Result<()> {
    let mut read = read(tree, from, ReadOptions::default()).await?;
    let mut writer = tree.upper.writer(to, WriteMode::Overwrite.into()).await?;
    let mut copied = 0_u64;
    while let Some(piece) = read.body.try_next().await? {
        copied = copied.saturating_add(piece.len() as u64);
        writer.write(piece).await?;
    }
    if copied != read.metadata.len {
        return Err(fail(ErrorKind::Truncated, "read", from).with_message("the file ended early"));
    }
    writer.close().await?;
    Ok(())
}

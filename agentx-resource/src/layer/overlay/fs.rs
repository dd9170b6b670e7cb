use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Overlay,
    transfer::{copy, copy_up, rename},
    tree::{Place, Tree, fail, is_reserved, not_reserved, retold, tagged, through_link, untagged},
    writer::OverlayWriter,
};
use crate::{
    DirEntry, EntryStream, ErrorKind, FileRead, FileSystem, FileWriter, FsCapabilities, ListOptions,
    Metadata, MkdirOptions, ReadOptions, RemoveOptions, ResourcePath, Result, StatOptions, TransferOptions,
    WriteMode, WriteOptions,
};

#[async_trait]
impl FileSystem for Overlay {
    fn capabilities(&self) -> FsCapabilities {
        self.tree.capabilities()
    }

    async fn read(&self, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
        read(&self.tree, path, options).await
    }

    async fn write(&self, path: &ResourcePath, data: Bytes, options: WriteOptions) -> Result<Metadata> {
        let _place = self.tree.locks.lock(vec![path.clone()]).await;
        let mode = prepare(&self.tree, path, &options).await?;
        Ok(tagged(self.tree.upper.write(path, data, mode.into()).await?, 'u'))
    }

    async fn writer(&self, path: &ResourcePath, options: WriteOptions) -> Result<Box<dyn FileWriter>> {
        let _place = self.tree.locks.lock(vec![path.clone()]).await;
        let mode = prepare(&self.tree, path, &options).await?;
        let inner = self.tree.upper.writer(path, mode.into()).await?;
        Ok(Box::new(OverlayWriter::new(inner, Arc::clone(&self.tree), path.clone(), options)))
    }

    async fn stat(&self, path: &ResourcePath, options: StatOptions) -> Result<Metadata> {
        match self.tree.look(path, &options).await? {
            Some(Place::Upper(metadata) | Place::Base(metadata)) => Ok(metadata),
            _ => Err(fail(ErrorKind::NotFound, "stat", path)),
        }
    }

    fn list(&self, path: &ResourcePath, options: ListOptions) -> EntryStream {
        list(&self.tree, path, &options)
    }

    async fn mkdir(&self, path: &ResourcePath, options: MkdirOptions) -> Result<()> {
        not_reserved(path, "mkdir")?;
        let _place = self.tree.locks.lock(vec![path.clone()]).await;
        let kind = match self.tree.place(path).await.map_err(|error| retold(error, "mkdir", path))? {
            Place::Upper(metadata) | Place::Base(metadata) if metadata.is_dir() && options.recursive => {
                return Ok(());
            }
            Place::Upper(_) | Place::Base(_) => ErrorKind::AlreadyExists,
            Place::BelowFile => ErrorKind::NotADirectory,
            Place::NoParent if !options.recursive => ErrorKind::NotFound,
            Place::Vacant | Place::NoParent => {
                match self.tree.base_link(path).await.map_err(|error| retold(error, "mkdir", path))? {
                    None => return self.tree.upper.mkdir(path, MkdirOptions::recursive()).await,
                    Some(link) if link == *path => ErrorKind::AlreadyExists,
                    Some(link) => return Err(through_link("mkdir", path, &link)),
                }
            }
        };
        Err(fail(kind, "mkdir", path))
    }

    async fn rm(&self, path: &ResourcePath, options: RemoveOptions) -> Result<()> {
        if path.is_root() {
            let error = fail(ErrorKind::InvalidInput, "rm", path);
            return Err(error.with_message("the root can't be removed"));
        }
        let _place = self.tree.locks.lock(vec![path.clone()]).await;
        let told = |error| retold(error, "rm", path);
        match self.tree.look(path, &StatOptions::no_follow()).await.map_err(told)? {
            Some(Place::Upper(metadata) | Place::Base(metadata)) => {
                if metadata.is_dir() && !options.recursive && !self.tree.is_empty(path).await.map_err(told)? {
                    return Err(fail(ErrorKind::DirectoryNotEmpty, "rm", path));
                }
                if let Some(link) = self.tree.base_link_above(path).await.map_err(told)? {
                    return Err(through_link("rm", path, &link));
                }
                remove(&self.tree, path).await.map_err(told)
            }
            _ if options.force => Ok(()),
            _ => Err(fail(ErrorKind::NotFound, "rm", path)),
        }
    }

    async fn rename(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let _places = self.tree.locks.lock(vec![from.clone(), to.clone()]).await;
        rename(&self.tree, from, to, &options).await
    }

    async fn copy(&self, from: &ResourcePath, to: &ResourcePath, options: TransferOptions) -> Result<()> {
        let _places = self.tree.locks.lock(vec![from.clone(), to.clone()]).await;
        copy(&self.tree, from, to, &options).await
    }
}

pub(super) async fn read(tree: &Tree, path: &ResourcePath, options: ReadOptions) -> Result<FileRead> {
    let told = |error| retold(error, "read", path);
    let place = tree.find(path).await.map_err(told)?;
    if let Some(Place::Upper(_)) = place {
        let read = read_side(&tree.upper, 'u', path, options.clone()).await;
        match read {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            read => return read,
        }
    }
    // A commit may just have taken it from the upper.
    match tree.in_base(path).await.map_err(told)? {
        Some(_) => read_side(&tree.base, 'b', path, options).await,
        None => Err(fail(ErrorKind::NotFound, "read", path)),
    }
}

async fn read_side(
    fs: &Arc<dyn FileSystem>,
    side: char,
    path: &ResourcePath,
    mut options: ReadOptions,
) -> Result<FileRead> {
    if let Some(version) = &options.if_match {
        let Some(version) = untagged(version, side) else {
            return Err(fail(ErrorKind::ConditionFailed, "read", path));
        };
        options.if_match = Some(version);
    }
    let mut read = fs.read(path, options).await?;
    read.metadata = tagged(read.metadata, side);
    Ok(read)
}

/// Checks a write, and makes the upper ready for it: says in which mode it is to be written there.
async fn prepare(tree: &Arc<Tree>, path: &ResourcePath, options: &WriteOptions) -> Result<WriteMode> {
    let place = tree.check_write(path, options).await?;
    tree.make_parents(path).await.map_err(|error| retold(error, "write", path))?;
    match (&options.mode, place) {
        (WriteMode::Append, Place::Base(_)) => {
            copy_up(tree, path, path).await.map_err(|error| retold(error, "write", path))?;
            Ok(WriteMode::Append)
        }
        (WriteMode::Append, _) => Ok(WriteMode::Append),
        _ => Ok(WriteMode::Overwrite),
    }
}

/// Removes what shows at `path`. The base is hidden first, so that it never shows through.
pub(super) async fn remove(tree: &Tree, path: &ResourcePath) -> Result<()> {
    if tree.entry_in_base(path).await?.is_some() {
        tree.removed.add(path).await?;
    }
    tree.upper.rm(path, RemoveOptions::recursive().with_force()).await
}

/// The entries of the upper, then those of the base that are neither hidden nor in the upper. The paths of the former
/// are held in memory.
pub(super) fn list(tree: &Arc<Tree>, path: &ResourcePath, options: &ListOptions) -> EntryStream {
    let (tree, path, options) = (Arc::clone(tree), path.clone(), options.clone());
    let start = async move {
        let (upper, base) = match open(&tree, &path).await {
            Ok(sides) => sides,
            Err(error) => return stream::iter([Err(error)]).boxed(),
        };
        let upper: Vec<DirEntry> = if upper {
            let entries = tree.upper.list(&path, options.clone());
            let shown = |entry: &DirEntry| std::future::ready(!entry.path.as_ref().is_some_and(is_reserved));
            match entries.try_filter(shown).map_ok(|entry| side(entry, 'u')).try_collect().await {
                Ok(entries) => entries,
                Err(error) => return stream::iter([Err(error)]).boxed(),
            }
        } else {
            Vec::new()
        };
        if !base {
            return stream::iter(upper.into_iter().map(Ok)).boxed();
        }
        let names: BTreeSet<ResourcePath> = upper.iter().filter_map(|entry| entry.path.clone()).collect();
        let base = tree.base.list(&path, options).try_filter_map(move |entry| {
            let hidden = entry
                .path
                .as_ref()
                .is_some_and(|path| names.contains(path) || tree.removed.covers(path) || is_reserved(path));
            std::future::ready(Ok((!hidden).then(|| side(entry, 'b'))))
        });
        stream::iter(upper.into_iter().map(Ok)).chain(base).boxed()
    };
    stream::once(start).flatten().boxed()
}

/// Which sides have the directory `path`.
async fn open(tree: &Tree, path: &ResourcePath) -> Result<(bool, bool)> {
    let told = |error| retold(error, "list", path);
    let upper = match tree.find(path).await.map_err(told)? {
        Some(Place::Upper(metadata)) if metadata.is_dir() => true,
        Some(Place::Base(metadata)) if metadata.is_dir() => false,
        Some(_) => return Err(fail(ErrorKind::NotADirectory, "list", path)),
        None => return Err(fail(ErrorKind::NotFound, "list", path)),
    };
    let base = tree.in_base(path).await.map_err(told)?;
    Ok((upper, base.is_some_and(|metadata| metadata.is_dir())))
}

fn side(mut entry: DirEntry, side: char) -> DirEntry {
    entry.metadata = tagged(entry.metadata, side);
    entry
}

use std::collections::HashSet;

use agentx_resource::{DirEntry, EntryStream, ErrorKind, ListOptions, Metadata, ResourcePath, Result};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, path::Path};

use super::{
    R2FileSystem, error,
    error::fail,
    key,
    place::{Place, metadata},
};

impl R2FileSystem {
    pub(super) fn entries(&self, path: &ResourcePath, options: &ListOptions) -> EntryStream {
        let (fs, path) = (self.clone(), path.clone());
        if options.recursive {
            stream::once(fs.tree(path)).try_flatten().boxed()
        } else {
            stream::once(fs.children(path))
                .map_ok(|entries| stream::iter(entries).map(Ok))
                .try_flatten()
                .boxed()
        }
    }

    /// The entries of one directory.
    async fn children(self, path: ResourcePath) -> Result<Vec<DirEntry>> {
        let prefix = key::object(&path, "list")?;
        let found = self.store.list_with_delimiter((!path.is_root()).then_some(&prefix)).await;
        let (common_prefixes, objects) = match found {
            Ok(found) => (found.common_prefixes, found.objects),
            Err(error) if error::is_absent(&error) => (Vec::new(), Vec::new()),
            Err(error) => return Err(error::store(error, "list", &path)),
        };
        if common_prefixes.is_empty() && objects.is_empty() {
            self.check_directory(&path).await?;
        }
        // A file hides the directory of the same name.
        let files: HashSet<_> = objects.iter().map(|object| &object.location).collect();
        let directories = common_prefixes.iter().filter(|directory| !files.contains(directory));
        let directories = directories.map(|directory| (directory, Metadata::directory()));
        let files = objects.iter().map(|object| (&object.location, metadata(object)));
        let entry = |(location, metadata): (&Path, Metadata)| match location.filename() {
            None | Some(key::MARKER) => None,
            Some(part) => Some(entry(Some(&path), part, metadata)),
        };
        Ok(directories.chain(files).filter_map(entry).collect())
    }

    /// The entries of a whole tree, page by page.
    async fn tree(self, path: ResourcePath) -> Result<EntryStream> {
        let prefix = key::object(&path, "list")?;
        let mut objects = self.objects_below(&path, "list")?;
        let Some(first) = objects.try_next().await? else {
            self.check_directory(&path).await?;
            return Ok(stream::empty().boxed());
        };
        let mut walk = Walk { depth: prefix.parts().count(), root: path, open: Vec::new() };
        Ok(stream::iter([Ok(first)])
            .chain(objects)
            .map_ok(move |object| stream::iter(walk.enter(&object)).map(Ok))
            .try_flatten()
            .boxed())
    }

    /// Where nothing is below `path`: whether that is an empty directory.
    async fn check_directory(&self, path: &ResourcePath) -> Result<()> {
        match self.place(path, "list").await? {
            Place::Directory => Ok(()),
            Place::File(_) => Err(fail(ErrorKind::NotADirectory, "list", path)),
            Place::Vacant | Place::NoParent | Place::BelowFile => {
                Err(fail(ErrorKind::NotFound, "list", path))
            }
        }
    }
}

/// Finds the directories on the way to the objects. What is below one directory comes in a row from every store, so
/// the way to the object before is all there is to remember.
struct Walk {
    root: ResourcePath,
    /// The number of parts of the root's key.
    depth: usize,
    /// The directories that hold the object before: the parts of its key, and what path each stands for.
    open: Vec<(String, Option<ResourcePath>)>,
}

impl Walk {
    /// The entries that `object` adds: new directories, and itself.
    fn enter(&mut self, object: &ObjectMeta) -> Vec<DirEntry> {
        let parts: Vec<_> = object.location.parts().skip(self.depth).collect();
        let Some((file, directories)) = parts.split_last() else { return Vec::new() };
        let common = self.open.iter().zip(directories).take_while(|(open, part)| open.0 == part.as_ref());
        let common = common.count();
        self.open.truncate(common);
        let mut entries = Vec::new();
        for part in directories.iter().skip(common) {
            let directory = entry(self.parent(), part.as_ref(), Metadata::directory());
            self.open.push((part.as_ref().to_owned(), directory.path.clone()));
            entries.push(directory);
        }
        if file.as_ref() != key::MARKER {
            entries.push(entry(self.parent(), file.as_ref(), metadata(object)));
        }
        entries
    }

    fn parent(&self) -> Option<&ResourcePath> {
        self.open.last().map_or(Some(&self.root), |(_, path)| path.as_ref())
    }
}

/// What `part` of a key is in the directory `parent`; that may itself have no path.
fn entry(parent: Option<&ResourcePath>, part: &str, metadata: Metadata) -> DirEntry {
    let name = key::decode(part);
    let path = parent.zip(name.as_ref()).and_then(|(parent, name)| parent.join(name).ok());
    match path {
        Some(path) => DirEntry::new(path, metadata),
        None => DirEntry::unaddressable(name.unwrap_or_else(|| part.to_owned()), metadata),
    }
}

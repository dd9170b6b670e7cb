use std::time::{Duration, SystemTime};

use agentx_resource::{ErrorKind, Metadata, ResourcePath, Result, Version};
use futures::{StreamExt, TryStreamExt, try_join};
use object_store::{ObjectMeta, ObjectStoreExt, PutPayload};

use super::{R2FileSystem, error, error::fail, key};

/// What a path leads to.
pub(super) enum Place {
    File(ObjectMeta),
    Directory,
    /// Nothing is there, in a directory that is.
    Vacant,
    /// The directory is missing too.
    NoParent,
    /// On the way is something that is no directory.
    BelowFile,
}

impl R2FileSystem {
    pub(super) async fn place(&self, path: &ResourcePath, operation: &'static str) -> Result<Place> {
        if path.is_root() {
            return Ok(Place::Directory);
        }
        if let Some(object) = self.head(path, operation).await? {
            return Ok(Place::File(object));
        }
        let Some(mut ancestor) = path.parent() else { return Ok(Place::Vacant) };
        let (holds, in_directory) =
            try_join!(self.holds_anything(path, operation), self.is_directory(&ancestor, operation))?;
        if holds {
            return Ok(Place::Directory);
        }
        if in_directory {
            return Ok(Place::Vacant);
        }
        while let Some(above) = ancestor.parent() {
            if self.head(&ancestor, operation).await?.is_some() {
                return Ok(Place::BelowFile);
            }
            if self.is_directory(&above, operation).await? {
                break;
            }
            ancestor = above;
        }
        Ok(Place::NoParent)
    }

    /// `stat`: what is at `path`.
    pub(super) async fn look(&self, path: &ResourcePath) -> Result<Metadata> {
        if path.is_root() {
            return Ok(Metadata::directory());
        }
        match self.head(path, "stat").await? {
            Some(object) => Ok(metadata(&object)),
            None if self.holds_anything(path, "stat").await? => Ok(Metadata::directory()),
            None => Err(fail(ErrorKind::NotFound, "stat", path)),
        }
    }

    /// Whether a directory is at `path`, where no file is.
    pub(super) async fn is_directory(&self, path: &ResourcePath, operation: &'static str) -> Result<bool> {
        if path.is_root() {
            return Ok(true);
        }
        // A marker is the usual case, and a look at one object costs less than a listing.
        match self.store.head(&key::marker(path, operation)?).await {
            Ok(_) => Ok(true),
            Err(error) if error::is_absent(&error) => self.holds_anything(path, operation).await,
            Err(error) => Err(error::store(error, operation, path)),
        }
    }

    /// Whether the directory `path` has an entry.
    pub(super) async fn has_entries(&self, path: &ResourcePath, operation: &'static str) -> Result<bool> {
        let marker = key::marker(path, operation)?;
        let mut objects = self.objects_below(path, operation)?;
        while let Some(object) = objects.try_next().await? {
            if object.location != marker {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Creates the directories above `path` that are missing, the highest first.
    pub(super) async fn make_parents(&self, path: &ResourcePath, operation: &'static str) -> Result<()> {
        let mut missing = Vec::new();
        let mut ancestor = path.parent();
        while let Some(directory) = ancestor {
            if self.is_directory(&directory, operation).await? {
                break;
            }
            ancestor = directory.parent();
            missing.push(directory);
        }
        for directory in missing.iter().rev() {
            self.store
                .put(&key::marker(directory, operation)?, PutPayload::new())
                .await
                .map_err(|error| error::store(error, operation, directory))?;
        }
        Ok(())
    }

    /// The objects below `path`, the marker of the directory itself included.
    pub(super) fn objects_below(
        &self,
        path: &ResourcePath,
        operation: &'static str,
    ) -> Result<impl futures::Stream<Item = Result<ObjectMeta>> + Send + Unpin + 'static> {
        let prefix = key::object(path, operation)?;
        let path = path.clone();
        let objects = self.store.list((!path.is_root()).then_some(&prefix));
        Ok(objects.filter_map(move |object| {
            futures::future::ready(match object {
                Ok(object) => Some(Ok(object)),
                Err(error) if error::is_absent(&error) => None,
                Err(error) => Some(Err(error::store(error, operation, &path))),
            })
        }))
    }

    async fn head(&self, path: &ResourcePath, operation: &'static str) -> Result<Option<ObjectMeta>> {
        match self.store.head(&key::object(path, operation)?).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error::is_absent(&error) => Ok(None),
            Err(error) => Err(error::store(error, operation, path)),
        }
    }

    pub(super) async fn holds_anything(&self, path: &ResourcePath, operation: &'static str) -> Result<bool> {
        Ok(self.objects_below(path, operation)?.try_next().await?.is_some())
    }
}

pub(super) fn metadata(object: &ObjectMeta) -> Metadata {
    // A look at one object tells whole seconds, a list also their parts: a file has one time.
    let since = Duration::from_secs(u64::try_from(object.last_modified.timestamp()).unwrap_or(0));
    let metadata = Metadata::file(object.size).with_modified(SystemTime::UNIX_EPOCH + since);
    match &object.e_tag {
        Some(e_tag) => metadata.with_version(Version::new(e_tag.as_str())),
        None => metadata,
    }
}

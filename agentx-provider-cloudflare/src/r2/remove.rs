use agentx_resource::{ErrorKind, RemoveOptions, ResourcePath, Result};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStoreExt, path::Path};

use super::{R2FileSystem, error, error::fail, key, place::Place};

impl R2FileSystem {
    pub(super) async fn remove(&self, path: &ResourcePath, options: &RemoveOptions) -> Result<()> {
        if path.is_root() {
            let error = fail(ErrorKind::InvalidInput, "rm", path);
            return Err(error.with_message("the root can't be removed"));
        }
        match self.place(path, "rm").await? {
            Place::File(_) => self.delete(&key::object(path, "rm")?, path, "rm").await,
            Place::Directory if !options.recursive && self.has_entries(path, "rm").await? => {
                Err(fail(ErrorKind::DirectoryNotEmpty, "rm", path))
            }
            Place::Directory => self.delete_below(path, "rm").await,
            _ if options.force => Ok(()),
            _ => Err(fail(ErrorKind::NotFound, "rm", path)),
        }
    }

    /// Deletes what is below `path`, and its marker last: a directory that could not be emptied is still there.
    pub(super) async fn delete_below(&self, path: &ResourcePath, operation: &'static str) -> Result<()> {
        let marker = key::marker(path, operation)?;
        let below = self.store.list(Some(&key::object(path, operation)?));
        let locations = below.map_ok(|object| object.location).try_filter({
            let marker = marker.clone();
            move |location| futures::future::ready(*location != marker)
        });
        let mut deleted = self.store.delete_stream(locations.boxed());
        while let Some(result) = deleted.next().await {
            tolerate_absence(result, path, operation)?;
        }
        self.delete(&marker, path, operation).await
    }

    /// Deletes one object, if it is there.
    pub(super) async fn delete(
        &self,
        key: &Path,
        path: &ResourcePath,
        operation: &'static str,
    ) -> Result<()> {
        tolerate_absence(self.store.delete(key).await, path, operation)
    }
}

/// Most stores do not say whether there was something to delete; those that do need not.
fn tolerate_absence<T>(
    result: object_store::Result<T>,
    path: &ResourcePath,
    operation: &'static str,
) -> Result<()> {
    match result {
        Err(error) if !error::is_absent(&error) => Err(error::store(error, operation, path)),
        _ => Ok(()),
    }
}

use std::{fmt, sync::Arc};

use agentx_core::Result;
use agentx_resource::{FileSystem, FileSystemExt, ResourcePath};
use async_trait::async_trait;

/// Where an issuer's keys are: a JSON Web Key Set.
#[async_trait]
pub trait JwksSource: fmt::Debug + Send + Sync + 'static {
    /// The set, as JSON text.
    ///
    /// # Errors
    /// Whatever keeps it from having it.
    async fn fetch(&self) -> Result<Vec<u8>>;
}

#[async_trait]
impl<T: JwksSource + ?Sized> JwksSource for Arc<T> {
    async fn fetch(&self) -> Result<Vec<u8>> {
        (**self).fetch().await
    }
}

/// A set in a file, which may be replaced while a server runs.
#[derive(Clone, Debug)]
pub struct JwksFile {
    files: Arc<dyn FileSystem>,
    path: ResourcePath,
}

impl JwksFile {
    /// The set in this file.
    pub fn new(files: Arc<dyn FileSystem>, path: ResourcePath) -> Self {
        Self { files, path }
    }
}

#[async_trait]
impl JwksSource for JwksFile {
    async fn fetch(&self) -> Result<Vec<u8>> {
        Ok(self.files.read_range(&self.path, 0..super::url::LARGEST).await?.to_vec())
    }
}

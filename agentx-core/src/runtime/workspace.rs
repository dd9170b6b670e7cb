use std::{fmt, sync::Arc};

use async_trait::async_trait;

use crate::{ContainerId, ImageId, Result, Tool};

/// Gives each image its place to work: the tools through which its agent reaches files and commands there.
///
/// What belongs to one container is never reachable from another.
#[async_trait]
pub trait WorkspaceProvider: fmt::Debug + Send + Sync + 'static {
    /// The tools of an image's workspace, which is created where there is none.
    ///
    /// # Errors
    /// Whatever the platform reports.
    async fn open(&self, container: &ContainerId, image: &ImageId) -> Result<Vec<Arc<dyn Tool>>>;

    /// Makes the workspace of an image, where there is none yet, a copy of another's in the same container. From then on, each
    /// changes alone. Of a workspace that was never opened, the copy is empty. What fails or is dropped on the way may leave
    /// a part, which [`WorkspaceProvider::delete`] removes.
    ///
    /// # Errors
    /// `Unsupported` where workspaces can't be copied; whatever the platform reports.
    async fn fork(&self, container: &ContainerId, from: &ImageId, to: &ImageId) -> Result<()>;

    /// Removes an image's workspace. Removing what is not there does nothing.
    ///
    /// # Errors
    /// Whatever the platform reports.
    async fn delete(&self, container: &ContainerId, image: &ImageId) -> Result<()>;
}

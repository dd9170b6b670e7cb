use std::{fmt, sync::Arc};

use agentx_core::{ContainerId, ImageId, Result, Tool, WorkspaceProvider};
use agentx_resource::BoxFuture;
use async_trait::async_trait;

use crate::{NodeRuntime, Workspace, tools};

/// Where the agent of one image works: a runtime, and perhaps a workspace for its results.
#[derive(Clone, Debug)]
pub struct Sandbox {
    runtime: NodeRuntime,
    workspace: Option<Workspace>,
}

impl Sandbox {
    /// A sandbox of this runtime alone.
    pub fn new(runtime: NodeRuntime) -> Self {
        Self { runtime, workspace: None }
    }

    /// With a workspace. Large results go to its `temp`, unless the runtime has a place for them.
    pub fn with_workspace(mut self, workspace: Workspace) -> Self {
        if let (None, Some(offload)) = (self.runtime.offload(), workspace.offload()) {
            self.runtime = self.runtime.with_offload(offload);
        }
        self.workspace = Some(workspace);
        self
    }

    /// The runtime.
    pub fn runtime(&self) -> &NodeRuntime {
        &self.runtime
    }

    /// The workspace, where there is one.
    pub fn workspace(&self) -> Option<&Workspace> {
        self.workspace.as_ref()
    }

    /// The tools of the runtime, and those of the workspace.
    pub fn tools(&self) -> Vec<Arc<dyn Tool>> {
        let mut offered = tools(&self.runtime);
        offered.extend(self.workspace.iter().flat_map(|workspace| workspace.tools(&self.runtime)));
        offered
    }
}

type Open = Arc<dyn Fn(ContainerId, ImageId) -> BoxFuture<'static, Result<Sandbox>> + Send + Sync>;
type Delete = Arc<dyn Fn(ContainerId, ImageId) -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Gives each image of an `agentx_core::Runtime` its sandbox.
///
/// ```
/// use agentx_core::{ContainerId, ImageId, WorkspaceProvider};
/// use agentx_resource::{Layer, ResourcePath, layer::Chroot};
/// use agentx_resource::memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess};
/// use agentx_sandbox::{NodeRuntime, Sandbox, SandboxProvider};
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// // Each image has a file system of its own.
/// let provider = SandboxProvider::new(async |container, image| {
///     let fs = Arc::new(MemoryFileSystem::new());
///     let process = MemoryProcess::new(Arc::new(ManualClock::default())).with_file_system(fs.clone());
///     Ok(Sandbox::new(NodeRuntime::new(fs, Arc::new(MemoryEnv::default()), Arc::new(process))))
/// });
/// let tools = provider.open(&ContainerId::new("alice")?, &ImageId::new("img_1")?).await?;
/// assert_eq!(tools.len(), 6);
/// # Ok::<(), agentx_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct SandboxProvider {
    open: Open,
    delete: Option<Delete>,
}

impl SandboxProvider {
    /// Opens a sandbox for an image whenever its agent starts; `open` must give the same place each time, and places
    /// of different containers that can't reach each other.
    pub fn new<F, R>(open: F) -> Self
    where
        F: Fn(ContainerId, ImageId) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Sandbox>> + Send + 'static,
    {
        Self { open: Arc::new(move |container, image| Box::pin(open(container, image))), delete: None }
    }

    /// One sandbox for all images: a single user's own directory. Deleting an image leaves its files alone.
    ///
    /// Nothing separates containers here; use [`SandboxProvider::new`] where there is more than one user.
    pub fn shared(sandbox: Sandbox) -> Self {
        Self::new(move |_, _| std::future::ready(Ok(sandbox.clone())))
    }

    /// Removes what an image leaves behind with `delete`; without it, nothing is removed. It is also called for what
    /// is not there, which must do nothing.
    pub fn with_delete<F, R>(mut self, delete: F) -> Self
    where
        F: Fn(ContainerId, ImageId) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.delete = Some(Arc::new(move |container, image| Box::pin(delete(container, image))));
        self
    }
}

impl fmt::Debug for SandboxProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxProvider").field("deletes", &self.delete.is_some()).finish_non_exhaustive()
    }
}

#[async_trait]
impl WorkspaceProvider for SandboxProvider {
    async fn open(&self, container: &ContainerId, image: &ImageId) -> Result<Vec<Arc<dyn Tool>>> {
        Ok((self.open)(container.clone(), image.clone()).await?.tools())
    }

    async fn delete(&self, container: &ContainerId, image: &ImageId) -> Result<()> {
        match &self.delete {
            Some(delete) => delete(container.clone(), image.clone()).await,
            None => Ok(()),
        }
    }
}

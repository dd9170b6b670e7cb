use std::{fmt, sync::Arc};

use agentx_core::{ContainerId, Error, ErrorKind, ImageId, Result, Tool, WorkspaceProvider};
use agentx_resource::BoxFuture;
use async_trait::async_trait;

use crate::{NodeRuntime, ToolOptions, UndoLog, Workspace, tools_with};

/// Where the agent of one image works: a runtime, and perhaps a workspace for its results.
#[derive(Clone, Debug)]
pub struct Sandbox {
    runtime: NodeRuntime,
    workspace: Option<Workspace>,
    options: ToolOptions,
    undo: Option<UndoLog>,
    #[cfg(feature = "mcp")]
    mcp: Vec<crate::mcp::McpConnection>,
}

impl Sandbox {
    /// A sandbox of this runtime alone.
    pub fn new(runtime: NodeRuntime) -> Self {
        Self {
            runtime,
            workspace: None,
            options: ToolOptions::new(),
            undo: None,
            #[cfg(feature = "mcp")]
            mcp: Vec::new(),
        }
    }

    /// With a workspace. Large results go to its `temp`, unless the runtime has a place for them.
    pub fn with_workspace(mut self, workspace: Workspace) -> Self {
        if let (None, Some(offload)) = (self.runtime.offload(), workspace.offload()) {
            self.runtime = self.runtime.with_offload(offload);
        }
        self.workspace = Some(workspace);
        self
    }

    /// With these options of the tools.
    pub fn with_tool_options(mut self, options: ToolOptions) -> Self {
        self.options = options;
        self
    }

    /// What calls of the runtime's tools do to the files is remembered in `log`, which is of the same runtime, and can be
    /// taken back.
    pub fn with_undo(mut self, log: UndoLog) -> Self {
        self.undo = Some(log);
        self
    }

    /// With the tools of this MCP server, behind those that were given before. The connection ends with the sandbox and
    /// its tools.
    #[cfg(feature = "mcp")]
    pub fn with_mcp(mut self, connection: crate::mcp::McpConnection) -> Self {
        self.mcp.push(connection);
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

    /// The tools of the runtime, those of the workspace, and those of the MCP servers.
    pub fn tools(&self) -> Vec<Arc<dyn Tool>> {
        let mut offered = tools_with(&self.runtime, &self.options);
        if let Some(log) = &self.undo {
            offered = log.record(offered);
        }
        offered.extend(self.workspace.iter().flat_map(|workspace| workspace.tools(&self.runtime)));
        #[cfg(feature = "mcp")]
        offered.extend(self.mcp.iter().flat_map(crate::mcp::McpConnection::tools));
        offered
    }
}

type Open = Arc<dyn Fn(ContainerId, ImageId) -> BoxFuture<'static, Result<Sandbox>> + Send + Sync>;
type Fork = Arc<dyn Fn(ContainerId, ImageId, ImageId) -> BoxFuture<'static, Result<()>> + Send + Sync>;
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
    fork: Option<Fork>,
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
        Self {
            open: Arc::new(move |container, image| Box::pin(open(container, image))),
            fork: None,
            delete: None,
        }
    }

    /// One sandbox for all images: a single user's own directory. A fork works in the same files, and deleting an image
    /// leaves them alone.
    ///
    /// Nothing separates containers here; use [`SandboxProvider::new`] where there is more than one user.
    pub fn shared(sandbox: Sandbox) -> Self {
        Self::new(move |_, _| std::future::ready(Ok(sandbox.clone())))
            .with_fork(|_, _, _| std::future::ready(Ok(())))
    }

    /// Copies what an image has to a new one with `fork`, which is given the container, the image and the new image, and
    /// does what [`WorkspaceProvider::fork`] says; without it, forks are `Unsupported`. Where forks are to begin with nothing,
    /// let it do nothing.
    pub fn with_fork<F, R>(mut self, fork: F) -> Self
    where
        F: Fn(ContainerId, ImageId, ImageId) -> R + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        self.fork = Some(Arc::new(move |container, from, to| Box::pin(fork(container, from, to))));
        self
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
        f.debug_struct("SandboxProvider")
            .field("forks", &self.fork.is_some())
            .field("deletes", &self.delete.is_some())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl WorkspaceProvider for SandboxProvider {
    async fn open(&self, container: &ContainerId, image: &ImageId) -> Result<Vec<Arc<dyn Tool>>> {
        Ok((self.open)(container.clone(), image.clone()).await?.tools())
    }

    async fn fork(&self, container: &ContainerId, from: &ImageId, to: &ImageId) -> Result<()> {
        match &self.fork {
            Some(fork) => fork(container.clone(), from.clone(), to.clone()).await,
            None => Err(Error::new(ErrorKind::Unsupported, "fork workspace")
                .with_path(from)
                .with_message("its provider has no fork: give it one with `SandboxProvider::with_fork`")),
        }
    }

    async fn delete(&self, container: &ContainerId, image: &ImageId) -> Result<()> {
        match &self.delete {
            Some(delete) => delete(container.clone(), image.clone()).await,
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use agentx_core::{ErrorKind, ToolContext};
    use agentx_resource::{
        FileSystem, FileSystemExt, Layer, Process, ResourcePath, TransferOptions,
        layer::Chroot,
        memory::{ManualClock, MemoryEnv, MemoryFileSystem, MemoryProcess},
    };
    use futures::executor::block_on;
    use serde_json::json;

    use super::*;

    /// Each image works in its own directory of one file system.
    fn provider(fs: &Arc<dyn FileSystem>) -> SandboxProvider {
        let home = |container: &ContainerId, image: &ImageId| {
            ResourcePath::root().join(format!("{container}/{image}"))
        };
        let (files, copied, removed) = (Arc::clone(fs), Arc::clone(fs), Arc::clone(fs));
        SandboxProvider::new(move |container, image| {
            let fs = Arc::clone(&files);
            async move {
                let home = home(&container, &image)?;
                fs.mkdir(&home, agentx_resource::MkdirOptions::recursive()).await?;
                let process = MemoryProcess::new(Arc::new(ManualClock::default())).with_root("/home");
                let process: Arc<dyn Process> = Arc::new(process.with_file_system(Arc::clone(&fs)));
                let home = Chroot::new(home);
                let (fs, process) = (home.layer(fs), home.layer(process));
                Ok(Sandbox::new(NodeRuntime::new(fs, Arc::new(MemoryEnv::default()), process)))
            }
        })
        .with_fork(move |container, from, to| {
            let fs = Arc::clone(&copied);
            async move {
                fs.copy(&home(&container, &from)?, &home(&container, &to)?, TransferOptions::create_new())
                    .await
            }
        })
        .with_delete(move |container, image| {
            let fs = Arc::clone(&removed);
            async move { fs.rm_all(&home(&container, &image)?).await }
        })
    }

    #[test]
    fn without_a_fork_there_is_none_and_a_shared_sandbox_needs_none() {
        let process = Arc::new(MemoryProcess::new(Arc::new(ManualClock::default())));
        let runtime =
            NodeRuntime::new(Arc::new(MemoryFileSystem::new()), Arc::new(MemoryEnv::default()), process);
        let sandbox = Sandbox::new(runtime);
        let shared = SandboxProvider::shared(sandbox.clone());
        let apart = SandboxProvider::new(move |_, _| std::future::ready(Ok(sandbox.clone())));
        let (alice, one) = (ContainerId::new("alice").unwrap(), ImageId::new("img_1").unwrap());
        let two = ImageId::new("img_2").unwrap();
        let error = block_on(apart.fork(&alice, &one, &two)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        block_on(shared.fork(&alice, &one, &two)).unwrap();
    }

    #[test]
    fn containers_are_apart_and_a_deleted_image_leaves_nothing() {
        let fs: Arc<dyn FileSystem> = Arc::new(MemoryFileSystem::new());
        let provider = provider(&fs);
        let (alice, bob) = (ContainerId::new("alice").unwrap(), ContainerId::new("bob").unwrap());
        let image = ImageId::new("img_1").unwrap();
        let call = async |container, tool: &str, input| {
            let tools = provider.open(container, &image).await.unwrap();
            let tool = tools.into_iter().find(|offered| offered.definition().name == tool).unwrap();
            tool.call(input, ToolContext::new("1", Arc::new(ManualClock::default()))).await
        };
        block_on(async {
            let written = call(&alice, "write", json!({"file_path": "a.txt", "content": "x"})).await.unwrap();
            assert_eq!(written.to_text(), "Wrote 1 bytes to /home/alice/img_1/a.txt.");
            let read = json!({"file_path": "/home/alice/img_1/a.txt"});
            assert!(call(&alice, "read", read.clone()).await.is_ok());
            assert_eq!(call(&bob, "read", read).await.unwrap_err().kind(), ErrorKind::Escapes);
            let read = json!({"file_path": "a.txt"});
            assert_eq!(call(&bob, "read", read).await.unwrap_err().kind(), ErrorKind::NotFound);

            let fork = ImageId::new("img_2").unwrap();
            provider.fork(&alice, &image, &fork).await.unwrap();
            call(&alice, "write", json!({"file_path": "a.txt", "content": "y"})).await.unwrap();
            let copy = ResourcePath::new("/alice/img_2/a.txt").unwrap();
            assert_eq!(fs.read_to_string(&copy).await.unwrap(), "x");
            provider.delete(&alice, &fork).await.unwrap();

            provider.delete(&alice, &image).await.unwrap();
            provider.delete(&alice, &image).await.unwrap();
            let left = fs.readdir(&ResourcePath::new("/alice").unwrap()).await.unwrap();
            assert!(left.is_empty());
        });
    }
}

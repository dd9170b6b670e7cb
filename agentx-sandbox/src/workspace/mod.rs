//! Files of an agent, apart from the directory that it works in.

mod write_output;

use std::sync::Arc;

use agentx_core::{Result, Tool};
use agentx_resource::{FileSystem, Layer, MkdirOptions, RemoveOptions, ResourcePath, layer::Chroot};
use futures::TryStreamExt;

use crate::{NodeRuntime, Offload, Snapshots, runtime::View, tools::offer};

/// A file system with three directories: `temp` for what may go at any time, `projects` for work, `output` for
/// results.
///
/// A [`Quota`](agentx_resource::layer::Quota) around the file system bounds what it holds, and
/// [`Workspace::snapshots`] keep its states.
///
/// An agent that works in a user's own directory leaves its results here, with the tool `write_output`.
///
/// ```
/// use agentx_resource::{FileSystemExt, ResourcePath, memory::MemoryFileSystem};
/// use agentx_sandbox::Workspace;
/// use std::sync::Arc;
///
/// # futures::executor::block_on(async {
/// let fs = Arc::new(MemoryFileSystem::new());
/// let workspace = Workspace::open(fs.clone()).await?.with_view("/home/alice/results");
/// workspace.output().write_file(&ResourcePath::new("/report.md")?, "# Done").await?;
/// assert_eq!(fs.read_to_string(&ResourcePath::new("/output/report.md")?).await?, "# Done");
/// # Ok::<(), agentx_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Workspace {
    fs: Arc<dyn FileSystem>,
    temp: Arc<dyn FileSystem>,
    projects: Arc<dyn FileSystem>,
    output: Arc<dyn FileSystem>,
    view: Option<View>,
}

impl Workspace {
    /// The workspace in `fs`; its directories are created where they are missing.
    ///
    /// # Errors
    /// Those of [`FileSystem::mkdir`].
    pub async fn open(fs: Arc<dyn FileSystem>) -> Result<Self> {
        Ok(Self {
            temp: directory(&fs, "temp").await?,
            projects: directory(&fs, "projects").await?,
            output: directory(&fs, "output").await?,
            fs,
            view: None,
        })
    }

    /// Says where the user and the agent see the workspace's root: an absolute path.
    pub fn with_view(mut self, root: impl AsRef<str>) -> Self {
        self.view = Some(View::new(root.as_ref()));
        self
    }

    /// All of it.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.fs
    }

    /// What may go at any time.
    pub fn temp(&self) -> &Arc<dyn FileSystem> {
        &self.temp
    }

    /// Work.
    pub fn projects(&self) -> &Arc<dyn FileSystem> {
        &self.projects
    }

    /// Results.
    pub fn output(&self) -> &Arc<dyn FileSystem> {
        &self.output
    }

    /// Removes all that is in `temp`.
    ///
    /// # Errors
    /// Those of [`FileSystem::list`] and [`FileSystem::rm`].
    pub async fn clear_temp(&self) -> Result<()> {
        let mut listing = self.temp.list(&ResourcePath::root(), agentx_resource::ListOptions::default());
        while let Some(entry) = listing.try_next().await? {
            if let Some(path) = entry.path {
                self.temp.rm(&path, RemoveOptions::recursive().with_force()).await?;
            }
        }
        Ok(())
    }

    /// Snapshots of all of it, kept in `store`: to compare, restore and fork it.
    ///
    /// # Errors
    /// Those of [`Snapshots::open`].
    pub async fn snapshots(&self, store: Arc<dyn FileSystem>) -> Result<Snapshots> {
        Snapshots::open(Arc::clone(&self.fs), store).await
    }

    /// The tools that it offers an agent that works in `runtime`: `write_output`.
    pub fn tools(&self, runtime: &NodeRuntime) -> Vec<Arc<dyn Tool>> {
        vec![offer(runtime, write_output::WriteOutput { workspace: self.clone(), runtime: runtime.clone() })]
    }

    /// A place for large results in `temp`; none without a [view](Self::with_view), since an agent could not be told
    /// where they are.
    pub fn offload(&self) -> Option<Offload> {
        let view = self.view.as_ref()?;
        let temp = ResourcePath::root().join("temp").ok()?;
        Some(Offload::new(Arc::clone(&self.temp), view.display(&temp)))
    }

    /// How the user sees a file of `output`.
    fn shown(&self, path: &ResourcePath) -> String {
        let below = format!("/output{path}");
        match (&self.view, ResourcePath::new(&below)) {
            (Some(view), Ok(path)) => view.display(&path),
            _ => format!("output{path} in the workspace"),
        }
    }
}

async fn directory(fs: &Arc<dyn FileSystem>, name: &str) -> Result<Arc<dyn FileSystem>> {
    let path = ResourcePath::root().join(name)?;
    fs.mkdir(&path, MkdirOptions::recursive()).await?;
    Ok(Chroot::new(path).layer(Arc::clone(fs)))
}

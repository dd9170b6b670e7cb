//! A container that is there only while commands run.

mod files;
mod links;
mod options;
mod process;
mod state;

use std::{future::Future, sync::Arc, time::Duration};

use agentx_resource::{ErrorKind, FileSystem, Process, Result, mirror::SyncReport};

pub use self::options::{ContainerEvent, LazyOptions};
use self::{files::LazyFiles, process::LazyProcess, state::Shared};
use super::{ContainerEngine, http::fail};

/// Files in a store and commands in a container: one tree, wherever it is.
///
/// **Cold**, file verbs go to the store, and there is no container. **The first command** asks the engine for one, and the
/// whole tree is handed over to it. **Warm**, file verbs go where the commands run, so that the two see one tree at any
/// moment. [`release`](Self::release), or [`release_when_idle`](Self::release_when_idle), brings the tree back to the store
/// and ends the container.
///
/// **What is saved.** A file verb that is answered while it is cold is in the store. What is written while it is warm, by
/// verbs or commands, is in the container alone until the next [`sync`](Self::sync) or `release` that is answered with
/// `Ok`: then all that was there when it began is in the store. When the container is lost, everything since then is lost
/// with it, and nothing else: who is under way gets [`Lost`](ErrorKind::Lost), [`ContainerEvent::Lost`] is told, files are
/// those of the store again, and the next command starts a new container.
///
/// **How trees are brought together** is [`MirrorDisk`](agentx_resource::mirror::MirrorDisk)'s: by versions, in both
/// directions, with conflicts told and both contents kept, when somebody else writes to the store meanwhile. Its own notes,
/// `/.agentx-mirror…`, are not listed, and commands at the root see them.
///
/// **Symbolic links and execute bits** have no place in a store. A sync notes them there, and the next container has them
/// again: a link where nothing else is by then, an execute bit where the file still is. Where the container has no `find`,
/// `readlink` and `xargs`, [`ContainerEvent::LinksLost`] says so. Other permission bits and special files stay behind.
///
/// **Capabilities** are those that hold in both places. A version that was told while cold is another one when warm: a
/// condition on it fails, and the file is to be read again.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use agentx_provider_cloudflare::{ContainerAddress, FixedContainer, LazyContainer, LazyOptions};
/// use agentx_resource::{ExecRequest, FileSystem, FileSystemExt, ProcessExt, ResourcePath};
///
/// # async fn example(store: Arc<dyn FileSystem>) -> agentx_resource::Result<()> {
/// let address = ContainerAddress::new("http://127.0.0.1:3000").with_token("a-long-random-token");
/// let engine = Arc::new(FixedContainer::new(address));
/// let container = LazyContainer::new(store, engine, LazyOptions::new("/workspace"));
/// let (files, process) = (container.files(), container.process());
///
/// files.write_file(&ResourcePath::new("/in.txt")?, "3\n1\n2\n").await?; // In the store.
/// process.exec(ExecRequest::shell("sort in.txt > out.txt")).await?; // In the container, with the tree.
/// assert_eq!(files.read_to_string(&ResourcePath::new("/out.txt")?).await?, "1\n2\n3\n");
/// container.release().await?; // The tree is in the store again.
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LazyContainer {
    shared: Arc<Shared>,
}

impl LazyContainer {
    /// The tree of `store`, and commands in a container of `engine`. Nothing is asked for before the first command.
    pub fn new(store: Arc<dyn FileSystem>, engine: Arc<dyn ContainerEngine>, options: LazyOptions) -> Self {
        Self { shared: Arc::new(Shared::new(store, engine, options)) }
    }

    /// The tree, as files.
    pub fn files(&self) -> Arc<dyn FileSystem> {
        Arc::new(LazyFiles::new(Arc::clone(&self.shared)))
    }

    /// The tree, as commands see it.
    pub fn process(&self) -> Arc<dyn Process> {
        Arc::new(LazyProcess::new(Arc::clone(&self.shared)))
    }

    /// Whether there is a container with the tree in it.
    pub fn is_warm(&self) -> bool {
        self.shared.warm().is_some()
    }

    /// Brings what is new in the container to the store; commands may go on meanwhile. `None` where there is no container,
    /// so that everything is saved as it is.
    ///
    /// # Errors
    /// `Lost` for a container that is gone; those of [`MirrorDisk::sync`](agentx_resource::mirror::MirrorDisk::sync) and
    /// of [`SyncReport::complete`]: then something is not saved.
    pub async fn sync(&self) -> Result<Option<SyncReport>> {
        match self.shared.warm() {
            Some(warm) => self.shared.sync(&warm).await.map(Some),
            None => Ok(None),
        }
    }

    /// Brings the tree back to the store and ends the container. File verbs wait meanwhile.
    ///
    /// # Errors
    /// `Busy` while commands run, or files stay open for longer than the options allow; those of [`sync`](Self::sync): the
    /// container is still there then, with all that is in it. An engine that can't end it is told as an event, and is no
    /// error: the tree is saved.
    pub async fn release(&self) -> Result<()> {
        let _alone = self.shared.alone("release").await?;
        let Some(warm) = self.shared.warm() else { return Ok(()) };
        let running = self.shared.running();
        if running > 0 {
            return Err(
                fail(ErrorKind::Busy, "release").with_message(format!("{running} commands still run"))
            );
        }
        self.shared.sync(&warm).await?;
        self.shared.cool(&warm);
        let stopped = self.shared.engine.stop().await;
        self.shared.tell(&ContainerEvent::Released { stopped: stopped.err() });
        Ok(())
    }

    /// Releases the container whenever nothing has used it for so long; goes on until it is dropped. A release that fails is
    /// told as an event, and tried again after as long. To be run as a task of the host.
    pub fn release_when_idle(&self, idle: Duration) -> impl Future<Output = ()> + Send + use<> {
        let container = self.clone();
        async move {
            loop {
                let left = match container.shared.warm() {
                    Some(_) => idle.saturating_sub(container.shared.unused_for()),
                    None => idle,
                };
                if !left.is_zero() {
                    tokio::time::sleep(left).await;
                } else if let Err(error) = container.release().await {
                    container.shared.tell(&ContainerEvent::NotReleased { error });
                    tokio::time::sleep(idle).await;
                }
            }
        }
    }
}

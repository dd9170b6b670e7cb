//! How much of the disk an owner's workspaces take, whoever writes there: clients and agents file by file, and commands.

mod account;
mod files;
mod measure;
mod watch;

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use agentx::{
    ContainerId, Result,
    resource::{Child, FileSystem},
};
use agentx_server::Owner;
use tokio::sync::Semaphore;

pub(crate) use self::watch::Watched;
use self::{
    account::{Account, AtWork},
    files::CountedFiles,
    measure::Usage,
};

/// How many trees are measured at once.
const WALKS: usize = 2;

/// The unit in which disks give room, in bytes. What is new takes one more, for its name.
const PAGE: u64 = 4_096;

/// The workspaces of all owners, each of whom may take as much.
#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Owners>);

#[derive(Debug)]
struct Owners {
    root: PathBuf,
    limit: u64,
    walks: Arc<Semaphore>,
    /// They are as many as have a key.
    accounts: Mutex<HashMap<String, Arc<Account>>>,
}

/// One workspace.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    account: Arc<Account>,
    path: PathBuf,
}

/// A command that is about to begin.
#[derive(Debug)]
pub(crate) struct Beginning {
    account: Arc<Account>,
    work: AtWork,
    /// How large a file it may write, in bytes, or why it may write to none.
    pub(crate) file_size: std::result::Result<u64, String>,
}

impl Disk {
    /// At most `limit` bytes for each owner, below `root`.
    pub(crate) fn new(root: PathBuf, limit: u64) -> Self {
        let walks = Arc::new(Semaphore::new(WALKS));
        Self(Arc::new(Owners { root, limit, walks, accounts: Mutex::default() }))
    }

    /// The workspace at a path, which belongs to a container.
    pub(crate) fn place(&self, container: &ContainerId, path: PathBuf) -> Place {
        let Owners { root, limit, walks, accounts } = &*self.0;
        let prefix = prefix(container);
        let mut accounts = accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry(prefix.to_owned()).or_insert_with(|| {
            Arc::new(Account::new(root.clone(), prefix.to_owned(), *limit, Arc::clone(walks)))
        });
        Place { account: Arc::clone(account), path }
    }
}

/// What all workspaces of an owner take, for a person.
///
/// # Errors
/// What the system says of the disk.
pub(crate) async fn used(root: PathBuf, owner: &Owner) -> io::Result<String> {
    let prefix = format!("{owner}:");
    let found = tokio::task::spawn_blocking(move || account::find(&root, &prefix)).await;
    let (mut usage, mut obstacle) = (Usage::default(), None);
    for path in found.map_err(io::Error::other).flatten()? {
        let measured = measure::walk(path).await?;
        usage = usage.plus(measured.usage);
        obstacle = obstacle.or(measured.obstacle);
    }
    let Usage { bytes, entries } = usage;
    let told = format!("{bytes} bytes, {entries} files and directories");
    Ok(obstacle.map_or_else(|| told.clone(), |obstacle| format!("{told}, and more: {}", obstacle.told())))
}

/// What the names of all containers of an owner begin with.
pub(crate) fn prefix(container: &ContainerId) -> &str {
    let id = container.as_str();
    id.split_inclusive(':').next().unwrap_or(id)
}

impl Place {
    /// The files of the workspace, which are counted.
    pub(crate) fn files(&self, inner: Arc<dyn FileSystem>) -> Arc<dyn FileSystem> {
        Arc::new(CountedFiles::new(inner, self.clone()))
    }

    /// Begins a command.
    ///
    /// # Errors
    /// `Unavailable` where the disk can't be read.
    pub(crate) async fn begin(&self) -> Result<Beginning> {
        let (work, file_size) = self.account.begin(&self.path).await?;
        Ok(Beginning { account: Arc::clone(&self.account), work, file_size })
    }

    /// Copies another workspace to this one, which is new.
    ///
    /// # Errors
    /// `LimitExceeded` where there is no room for it; those of `copy`.
    pub(crate) async fn copied(&self, from: &Self, copy: impl Future<Output = Result<()>>) -> Result<()> {
        let size = from.account.look(&from.path).await?;
        // What the copy takes is seen when it is measured: one that shares what is alike takes less.
        let _held = self.account.admit("fork workspace", &self.path, size).await?;
        copy.await
    }

    /// The workspace is gone.
    pub(crate) fn forget(&self) {
        self.account.forget(&self.path);
    }
}

impl Beginning {
    /// It runs: what it writes is watched until this is dropped.
    pub(crate) fn watch(self, child: Box<dyn Child>) -> Arc<Watched> {
        watch::watched(&self.account, self.work, child)
    }
}

/// What something new of so many bytes takes at most, with the directories that are made on its way.
fn size(bytes: u64, names: usize) -> Usage {
    let names = names as u64;
    Usage { bytes: bytes.next_multiple_of(PAGE).saturating_add(names.saturating_mul(PAGE)), entries: names }
}

#[cfg(test)]
mod tests;

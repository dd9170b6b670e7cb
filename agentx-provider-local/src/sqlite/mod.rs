//! SQLite as an executor of statements.

mod connection;
mod error;
mod statement;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use agentx_resource::{Error, ErrorKind, Result};
use agentx_sql::{Executor, Rows, Statement};
use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use self::{
    error::error,
    writer::{Job, Writer},
};

/// So many batches wait at most; whoever has one more waits for room.
const QUEUE: usize = 256;

/// How long dropping an executor waits for its thread: longer than the thread waits for a lock.
const PATIENCE: Duration = Duration::from_secs(10);

/// A SQLite database.
///
/// One thread owns the connection. Batches that arrive while it commits (at most 256 wait) are committed together, at
/// most 128 or about 4 MiB in one transaction: each for itself whole or not at all, each answered when it is on disk
/// (write-ahead log, `synchronous = FULL`). A batch whose future is dropped before its turn never runs.
///
/// Several executors may use one file, also from several processes; each waits up to five seconds for another's lock
/// and then answers `Busy`. Foreign keys are enforced. Dropping the executor ends the thread and waits for that, at
/// most ten seconds. It needs no async runtime.
///
/// ```
/// use std::sync::Arc;
///
/// use agentx_core::Repositories;
/// use agentx_provider_local::SqliteExecutor;
/// use agentx_sql::SqlRepositories;
///
/// # futures::executor::block_on(async {
/// let directory = tempfile::tempdir().unwrap();
/// let database = SqliteExecutor::open(directory.path().join("agentx.db")).await?;
/// let repositories = Repositories::new(SqlRepositories::open(Arc::new(database)).await?);
/// assert_eq!(repositories.containers.list_containers().await?, []);
/// # Ok::<(), agentx_core::Error>(()) }).unwrap();
/// ```
pub struct SqliteExecutor {
    database: Arc<str>,
    // Before the thread, which ends when this is gone.
    queue: mpsc::Sender<Job>,
    _thread: Thread,
}

impl SqliteExecutor {
    /// Opens the database in this file, or a new one where there is no file. A file that can't be used is not
    /// touched, and one that is only read stays as it is.
    ///
    /// # Errors
    /// `NotFound` or `NotADirectory` where the file's directory is not there; `IsADirectory`; `InvalidInput` for an
    /// empty path and for what is no regular file; `PermissionDenied` for a file or directory that this process may
    /// not write; `Corrupt` for a file that is no database; `Busy`; `Unavailable` for a device that fails.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        Self::start(path.display().to_string(), move || connection::open(&path)).await
    }

    /// A new database in memory, gone with the executor.
    ///
    /// # Errors
    /// `Unavailable` where no thread can be had.
    pub async fn open_in_memory() -> Result<Self> {
        Self::start(connection::MEMORY.to_owned(), connection::memory).await
    }

    async fn start(
        database: String,
        open: impl FnOnce() -> Result<Connection> + Send + 'static,
    ) -> Result<Self> {
        let database: Arc<str> = database.into();
        let (queue, mut jobs) = mpsc::channel(QUEUE);
        let (ready, opened) = oneshot::channel();
        let name = database.clone();
        let work = move || match open() {
            Ok(connection) => {
                // Where nobody waits for the database any more, the queue is closed as well.
                drop(ready.send(Ok(())));
                Writer::new(connection, name).run(&mut jobs);
            }
            Err(error) => drop(ready.send(Err(error))),
        };
        let thread = Thread::start(work).map_err(|source| {
            error(ErrorKind::Unavailable, "open database", &database, "no thread").with_source(source)
        })?;
        let executor = Self { database, queue, _thread: thread };
        opened.await.unwrap_or_else(|_| Err(executor.ended(ErrorKind::Internal, "open database")))?;
        Ok(executor)
    }

    fn ended(&self, kind: ErrorKind, operation: &'static str) -> Error {
        error(kind, operation, &self.database, "the thread of the database has ended")
    }
}

#[async_trait]
impl Executor for SqliteExecutor {
    async fn execute(&self, batch: Vec<Statement>) -> Result<Vec<Rows>> {
        let (reply, answer) = oneshot::channel();
        let sent = self.queue.send(Job { batch, reply }).await;
        sent.map_err(|_| self.ended(ErrorKind::Unavailable, "execute"))?;
        answer.await.unwrap_or_else(|_| Err(self.ended(ErrorKind::Lost, "execute")))
    }
}

impl fmt::Debug for SqliteExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteExecutor").field("database", &self.database).finish_non_exhaustive()
    }
}

/// A thread whose end is awaited, but not for ever.
struct Thread {
    handle: Option<JoinHandle<()>>,
    /// Disconnected when the thread ends, however it ends.
    ended: Mutex<Receiver<()>>,
}

impl Thread {
    fn start(work: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let (end, ended) = channel::<()>();
        let work = move || {
            let _end = end;
            work();
        };
        let handle = std::thread::Builder::new().name("agentx-sqlite".to_owned()).spawn(work)?;
        Ok(Self { handle: Some(handle), ended: Mutex::new(ended) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Disconnected)
            && let Some(handle) = self.handle.take()
        {
            // A panic of the thread was told to whoever waited for an answer.
            drop(handle.join());
        }
    }
}

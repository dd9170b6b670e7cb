//! Commands that go on by themselves.

mod entry;
mod follower;
mod ring;
#[cfg(test)]
mod tests;
mod types;

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};

pub use self::types::{
    BackgroundId, BackgroundLimits, BackgroundState, BackgroundStatus, LogCursor, LogPage, LogPiece,
};
use self::{
    entry::{Entry, Reader, lock, shown},
    follower::Follower,
};
use crate::{
    Clock, Error, ErrorKind, ExecRequest, ExitStatus, OnExceed, OutputLimit, Process, Result, Signal, Spawn,
    TerminalSize,
};

/// How much of a log one page of [`follow`](BackgroundProcesses::follow) holds.
const PAGE: usize = 64 << 10;

/// Commands in the background of a [`Process`]: servers, watchers, long builds.
///
/// Each gets an id and a log. The log keeps the last of what the command wrote, bounded by bytes and by pieces; a
/// reader comes with a cursor, as often as it likes and along with any number of others, and is told how much it has
/// missed. A task of the host reads the output all the while, so that no command waits for a reader.
///
/// Dropping this ends all commands, and everything that they started, before it returns. So does the end of the tasks
/// that the host was given, for the commands that they read.
///
/// ```
/// use agentx_resource::{
///     BackgroundProcesses, BoxFuture, ExecRequest, ExitStatus, LogCursor, OutputStream, Spawn,
///     memory::{ManualClock, MemoryProcess},
/// };
/// use std::sync::Arc;
///
/// /// A thread for each task; a host with a runtime spawns them there.
/// #[derive(Debug)]
/// struct Threads;
///
/// impl Spawn for Threads {
///     fn spawn(&self, task: BoxFuture<'static, ()>) {
///         std::thread::spawn(move || futures::executor::block_on(task));
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let clock = Arc::new(ManualClock::default());
/// let process = MemoryProcess::new(clock.clone()).program("serve", |context| async move {
///     context.stdout.write("listening\n").await;
///     0
/// });
/// let background = BackgroundProcesses::new(Arc::new(process), clock, Arc::new(Threads));
/// let id = background.start(ExecRequest::program("serve", [""; 0])).await?;
/// assert_eq!(background.wait(&id).await?, ExitStatus::Code(0));
/// let page = background.read(&id, LogCursor::START, 1000)?;
/// assert_eq!(page.of(OutputStream::Stdout), b"listening\n");
/// assert_eq!(page.status, Some(ExitStatus::Code(0)));
/// # Ok::<(), agentx_resource::Error>(()) }).unwrap();
/// ```
pub struct BackgroundProcesses {
    process: Arc<dyn Process>,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    limits: BackgroundLimits,
    key: RandomState,
    state: Mutex<State>,
}

/// The commands in the order of their starts.
#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<u64, Arc<Entry>>,
    started: u64,
    /// How many are about to be started.
    starting: usize,
}

impl BackgroundProcesses {
    /// No commands yet. They are run by `process`, dated by `clock`, and read by tasks of `spawn`.
    pub fn new(process: Arc<dyn Process>, clock: Arc<dyn Clock>, spawn: Arc<dyn Spawn>) -> Self {
        Self {
            process,
            clock,
            spawn,
            limits: BackgroundLimits::default(),
            key: RandomState::new(),
            state: Mutex::default(),
        }
    }

    /// With these limits.
    pub fn with_limits(mut self, limits: BackgroundLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Starts a command. The request's output limit counts only where it kills: what is kept is the log.
    ///
    /// # Errors
    /// `LimitExceeded` when as many run as may; those of [`Process::spawn`]. Nothing was started then.
    pub async fn start(&self, mut request: ExecRequest) -> Result<BackgroundId> {
        let place = self.place()?;
        if request.output_limit.on_exceed == OnExceed::Truncate {
            request.output_limit = OutputLimit::none();
        }
        let command = shown(&request);
        let child = self.process.spawn(request).await?;
        let entry = {
            let mut state = lock(&self.state);
            let number = state.started;
            state.started += 1;
            // Ids of another value of this type are others, so that a stale one finds nothing.
            let id = BackgroundId::new(format!("{:x}-{number}", self.tag()));
            let entry = Entry::new(id, command, child, Arc::clone(&self.clock), self.limits);
            state.entries.insert(number, Arc::clone(&entry));
            entry
        };
        drop(place);
        self.spawn.spawn(Box::pin(Reader::new(Arc::clone(&entry))));
        Ok(entry.id().clone())
    }

    /// All commands that run, and those that have ended and are kept, in the order of their starts.
    pub fn list(&self) -> Vec<BackgroundStatus> {
        let mut state = lock(&self.state);
        state.forget(self.limits.ended);
        state.entries.values().map(|entry| entry.status()).collect()
    }

    /// One command.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn status(&self, id: &BackgroundId) -> Result<BackgroundStatus> {
        Ok(self.entry("status", id)?.status())
    }

    /// What a command has written from `from` on, as far as it is kept and up to `most` bytes. Does not wait.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn read(&self, id: &BackgroundId, from: LogCursor, most: usize) -> Result<LogPage> {
        Ok(self.entry("read", id)?.page(from, most))
    }

    /// What a command has written from `from` on, and what it writes, page by page as it comes, up to its end: the last
    /// page has the status. A reader that is too slow is told what it has missed; the
    /// [limits](BackgroundLimits::patience) say how long the command waits for it. Any number may follow; the stream holds
    /// the log, not the command.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn follow(&self, id: &BackgroundId, from: LogCursor) -> Result<BoxStream<'static, LogPage>> {
        let entry = self.entry("follow", id)?;
        let pages = stream::unfold(Some(Follower::new(entry, from)), |follower| async move {
            let mut follower = follower?;
            let page = follower.next(PAGE).await;
            let rest = page.status.is_none().then_some(follower);
            Some((page, rest))
        });
        Ok(pages.boxed())
    }

    /// Waits until the command has ended and its log is complete.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn wait(&self, id: &BackgroundId) -> Result<ExitStatus> {
        Ok(self.entry("wait", id)?.end().await)
    }

    /// Writes to a command's live input; completes when all of `data` was handed over.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` for a command that has ended; those of
    /// [`Child::write_stdin`](crate::Child::write_stdin).
    pub async fn write_stdin(&self, id: &BackgroundId, data: Bytes) -> Result<()> {
        match self.entry("write stdin", id)?.child() {
            Some(child) => child.write_stdin(data).await,
            None => {
                Err(fail(ErrorKind::Unavailable, "write stdin", id).with_message("the command has ended"))
            }
        }
    }

    /// Closes a command's input. Closing that of a command that has ended does nothing.
    ///
    /// # Errors
    /// `NotFound`; those of [`Child::close_stdin`](crate::Child::close_stdin).
    pub async fn close_stdin(&self, id: &BackgroundId) -> Result<()> {
        match self.entry("close stdin", id)?.child() {
            Some(child) => child.close_stdin().await,
            None => Ok(()),
        }
    }

    /// Sends a command a signal. Signalling one that has ended does nothing.
    ///
    /// # Errors
    /// `NotFound`; those of [`Child::signal`](crate::Child::signal).
    pub async fn signal(&self, id: &BackgroundId, signal: Signal) -> Result<()> {
        match self.entry("signal", id)?.child() {
            Some(child) => child.signal(signal).await,
            None => Ok(()),
        }
    }

    /// Changes the size of a command's terminal. Nothing happens for one that has ended.
    ///
    /// # Errors
    /// `NotFound`; those of [`Child::resize`](crate::Child::resize).
    pub async fn resize(&self, id: &BackgroundId, size: TerminalSize) -> Result<()> {
        match self.entry("resize", id)?.child() {
            Some(child) => child.resize(size).await,
            None => Ok(()),
        }
    }

    /// Ends a command and everything that it started: asked first, forced after a grace period. The end is told by
    /// [`wait`](Self::wait) and by the log. Killing what has ended does nothing.
    ///
    /// # Errors
    /// `NotFound`; those of [`Child::kill`](crate::Child::kill).
    pub async fn kill(&self, id: &BackgroundId) -> Result<()> {
        match self.entry("kill", id)?.child() {
            Some(child) => child.kill().await,
            None => Ok(()),
        }
    }

    /// Forgets a command that has ended, and its log.
    ///
    /// # Errors
    /// `NotFound`; `Busy` for one that runs.
    pub fn remove(&self, id: &BackgroundId) -> Result<()> {
        let entry = self.entry("remove", id)?;
        if entry.is_running() {
            return Err(fail(ErrorKind::Busy, "remove", id).with_message("the command runs"));
        }
        lock(&self.state).entries.retain(|_, kept| !Arc::ptr_eq(kept, &entry));
        Ok(())
    }

    fn entry(&self, operation: &'static str, id: &BackgroundId) -> Result<Arc<Entry>> {
        let state = lock(&self.state);
        let entry = state.entries.values().find(|entry| entry.id() == id);
        entry.map(Arc::clone).ok_or_else(|| fail(ErrorKind::NotFound, operation, id))
    }

    /// What tells the ids of this value from those of others.
    fn tag(&self) -> u64 {
        self.key.hash_one(0) >> 48
    }

    /// Reserves a place among the running.
    fn place(&self) -> Result<Place<'_>> {
        let mut state = lock(&self.state);
        state.forget(self.limits.ended);
        let running = state.entries.values().filter(|entry| entry.is_running()).count();
        if running + state.starting >= self.limits.running {
            let limit = self.limits.running;
            return Err(Error::new(ErrorKind::LimitExceeded, "start")
                .with_message(format!("{limit} commands may run in the background")));
        }
        state.starting += 1;
        Ok(Place(&self.state))
    }
}

impl State {
    /// Forgets those that were started first, until no more than `kept` have ended.
    fn forget(&mut self, kept: usize) {
        let ended: Vec<u64> =
            self.entries.iter().filter(|(_, entry)| !entry.is_running()).map(|(number, _)| *number).collect();
        for number in ended.iter().take(ended.len().saturating_sub(kept)) {
            self.entries.remove(number);
        }
    }
}

impl Drop for BackgroundProcesses {
    fn drop(&mut self) {
        let entries = std::mem::take(&mut lock(&self.state).entries);
        for entry in entries.into_values() {
            entry.stop(ExitStatus::Killed);
        }
    }
}

/// Shows the limits and the commands, without their output.
impl fmt::Debug for BackgroundProcesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundProcesses")
            .field("process", &self.process)
            .field("limits", &self.limits)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A place among the running, for a command that is not there yet.
struct Place<'a>(&'a Mutex<State>);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(self.0).starting -= 1;
    }
}

fn fail(kind: ErrorKind, operation: &'static str, id: &BackgroundId) -> Error {
    Error::new(kind, operation).with_path(id)
}

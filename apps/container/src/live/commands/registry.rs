use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use agentx::resource::{Error, ErrorKind, ExecRequest, Process, Result, Retry};

use tokio::runtime::Handle;

use super::entry::{Entry, gone, lock};
use crate::settings::Limits;

/// How many ends of commands are remembered that were not started yet: a request to start may come after the one to end.
const ENDS_REMEMBERED: usize = 1024;

/// The longest id, in bytes.
const ID_BYTES: usize = 64;

/// All commands that were not given back.
pub(crate) struct Commands {
    process: Arc<dyn Process>,
    limits: Limits,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<String, Place>,
    ends: VecDeque<String>,
    /// The server stops: nothing is started any more.
    closed: bool,
}

enum Place {
    /// It is being started by another request.
    Starting,
    Started(Arc<Entry>),
}

/// A listener to a command's events from one place on. When it is dropped, another one has a while to come.
pub(super) struct Attached {
    pub(super) entry: Arc<Entry>,
    pub(super) after: u64,
    /// Which listener it is.
    pub(super) number: u64,
    unattended: Duration,
    table: Arc<Mutex<Table>>,
}

impl Commands {
    pub(crate) fn new(process: Arc<dyn Process>, limits: Limits) -> Self {
        Self { process, limits, table: Arc::default() }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Starts a command, unless it was started before by this id.
    pub(super) async fn start(&self, id: &str, request: ExecRequest, after: u64) -> Result<Attached> {
        let Some(starting) = self.reserve(id)? else { return self.attach(id, after) };
        let child = self.process.spawn(request).await?;
        let entry = Entry::start(id, child, self.limits.log_bytes);
        // From here on it ends when nobody comes for it.
        let attached = match self.listen(&entry, after) {
            Ok(attached) => attached,
            Err(error) => {
                entry.end().await;
                return Err(error);
            }
        };
        if !starting.finish(&entry) {
            entry.end().await;
            return Err(cancelled());
        }
        Ok(attached)
    }

    /// Takes a place for a new command; `None` where it is there already.
    fn reserve(&self, id: &str) -> Result<Option<Starting>> {
        if id.is_empty()
            || id.len() > ID_BYTES
            || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return Err(Error::new(ErrorKind::InvalidInput, "spawn").with_message("the id is none"));
        }
        let mut table = self.table();
        if table.closed {
            return Err(Error::new(ErrorKind::Unavailable, "spawn").with_message("the server stops"));
        }
        if table.ends.iter().any(|end| end == id) {
            return Err(cancelled());
        }
        match table.entries.get(id) {
            Some(Place::Started(_)) => return Ok(None),
            Some(Place::Starting) => {
                return Err(Error::new(ErrorKind::Unavailable, "spawn")
                    .with_message("another request is starting this command")
                    .with_retry(Retry::After(None)));
            }
            None => {}
        }
        if table.entries.len() >= self.limits.commands {
            let message = format!("{} commands are there, and no more are allowed", table.entries.len());
            return Err(Error::new(ErrorKind::LimitExceeded, "spawn").with_message(message));
        }
        table.entries.insert(id.to_owned(), Place::Starting);
        Ok(Some(Starting { table: Arc::clone(&self.table), id: id.to_owned() }))
    }

    /// A command that was started.
    pub(super) fn find(&self, operation: &'static str, id: &str) -> Result<Arc<Entry>> {
        match self.table().entries.get(id) {
            Some(Place::Started(entry)) => Ok(Arc::clone(entry)),
            _ => Err(gone(operation, id)),
        }
    }

    /// Listens to a command behind event `after`, in place of whoever did before.
    pub(super) fn attach(&self, id: &str, after: u64) -> Result<Attached> {
        self.listen(&self.find("next_event", id)?, after)
    }

    fn listen(&self, entry: &Arc<Entry>, after: u64) -> Result<Attached> {
        entry.log().forget(after)?;
        let number = {
            let mut listeners = lock(&entry.listeners);
            listeners.came += 1;
            listeners.there = true;
            listeners.came
        };
        entry.news.notify_waiters();
        Ok(Attached {
            entry: Arc::clone(entry),
            after,
            number,
            unattended: self.limits.unattended,
            table: Arc::clone(&self.table),
        })
    }

    /// Ends a command and forgets it. One that was not started yet will not be.
    pub(super) async fn end(&self, id: &str) {
        let entry = {
            let mut table = self.table();
            if !matches!(table.entries.get(id), Some(Place::Started(_))) {
                table.ends.push_back(id.to_owned());
                if table.ends.len() > ENDS_REMEMBERED {
                    table.ends.pop_front();
                }
            }
            table.take(id)
        };
        if let Some(entry) = entry {
            entry.end().await;
        }
    }

    /// Ends all commands, and starts no more. Completes when nothing of them is alive.
    pub(crate) async fn end_all(&self) {
        let entries = self.close();
        futures::future::join_all(entries.iter().map(|entry| entry.end())).await;
    }

    /// The same without waiting, for when all is dropped.
    pub(crate) fn end_all_now(&self) {
        for entry in self.close() {
            entry.end_now();
        }
    }

    fn close(&self) -> Vec<Arc<Entry>> {
        let mut table = self.table();
        table.closed = true;
        let started = std::mem::take(&mut table.entries).into_values();
        started
            .filter_map(|place| match place {
                Place::Started(entry) => Some(entry),
                Place::Starting => None,
            })
            .collect()
    }
}

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commands").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Table {
    /// Takes a started command out.
    fn take(&mut self, id: &str) -> Option<Arc<Entry>> {
        match self.entries.remove(id) {
            Some(Place::Started(entry)) => Some(entry),
            Some(Place::Starting) | None => None,
        }
    }
}

/// The place of a command that is being started. Dropped before that is done, it is free again.
struct Starting {
    table: Arc<Mutex<Table>>,
    id: String,
}

impl Starting {
    /// Puts the command into its place; false where it was ended meanwhile.
    fn finish(&self, entry: &Arc<Entry>) -> bool {
        let mut table = lock(&self.table);
        let wanted = matches!(table.entries.get(&self.id), Some(Place::Starting));
        if wanted {
            table.entries.insert(self.id.clone(), Place::Started(Arc::clone(entry)));
        }
        wanted
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut table = lock(&self.table);
        if matches!(table.entries.get(&self.id), Some(Place::Starting)) {
            table.entries.remove(&self.id);
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let mut listeners = lock(&self.entry.listeners);
        if listeners.came != self.number {
            return;
        }
        listeners.there = false;
        drop(listeners);
        let (entry, table) = (Arc::clone(&self.entry), Arc::clone(&self.table));
        let (number, unattended) = (self.number, self.unattended);
        // Without a runtime all commands have ended with it.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            tokio::select! {
                () = entry.ended() => return,
                () = tokio::time::sleep(unattended) => {}
            }
            if lock(&entry.listeners).came == number {
                drop(lock(&table).take(&entry.id));
                entry.end().await;
            }
        });
    }
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "spawn").with_message("the command was given up before it was started")
}

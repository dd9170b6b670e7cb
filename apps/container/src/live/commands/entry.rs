use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentx::resource::{Child, Error, ErrorKind, Result};
use agentx_provider_cloudflare::container_wire::{Event, Fault};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use super::{log::Log, stdin::Pieces};

/// A command, from its start until it is given back.
pub(super) struct Entry {
    pub(super) id: String,
    child: Mutex<Option<Arc<dyn Child>>>,
    log: Mutex<Log>,
    /// Told when there is something new: an event, room, another listener, the end of the entry.
    pub(super) news: Notify,
    pub(super) pieces: Mutex<Pieces>,
    pub(super) listeners: Mutex<Listeners>,
    /// True when the command is given back: whoever holds the child lets it go.
    ended: watch::Sender<bool>,
    reader: Mutex<Option<JoinHandle<()>>>,
}

/// Who listens: one at a time, and the last one who came.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// How many there were.
    pub(super) came: u64,
    /// Whether the last one is there.
    pub(super) there: bool,
}

impl Entry {
    /// A command that runs. Its events are read from now on.
    pub(super) fn start(id: &str, child: Box<dyn Child>, log_bytes: usize) -> Arc<Self> {
        let child: Arc<dyn Child> = Arc::from(child);
        let entry = Arc::new(Self {
            id: id.to_owned(),
            child: Mutex::new(Some(Arc::clone(&child))),
            log: Mutex::new(Log::new(log_bytes)),
            news: Notify::new(),
            pieces: Mutex::default(),
            listeners: Mutex::default(),
            ended: watch::Sender::new(false),
            reader: Mutex::default(),
        });
        let reader = tokio::spawn(Arc::clone(&entry).read(child));
        *lock(&entry.reader) = Some(reader);
        entry
    }

    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// The command itself.
    pub(super) fn child(&self, operation: &'static str) -> Result<Arc<dyn Child>> {
        lock(&self.child).clone().ok_or_else(|| gone(operation, &self.id))
    }

    pub(super) fn is_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Completes when the command is given back.
    pub(super) async fn ended(&self) {
        // The sender lives as long as this does.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    /// Moves events to the log, while it has room, until the last one.
    async fn read(self: Arc<Self>, child: Arc<dyn Child>) {
        let mut failed = false;
        loop {
            tokio::select! {
                biased;
                () = self.ended() => return,
                () = self.room() => {}
            }
            let event = tokio::select! {
                biased;
                () = self.ended() => return,
                event = child.next_event() => event,
            };
            let over = match event {
                Ok(Some(event)) => {
                    let mut log = self.log();
                    for piece in Event::pieces(event) {
                        log.push(piece);
                    }
                    false
                }
                Ok(None) => true,
                Err(error) => {
                    self.log().push(Event::Failed(Box::new(Fault::from(&error))));
                    std::mem::replace(&mut failed, true)
                }
            };
            if over {
                self.log().push(Event::End);
            }
            self.news.notify_waiters();
            if over {
                return;
            }
        }
    }

    /// Completes when the log has room.
    async fn room(&self) {
        loop {
            let news = self.news.notified();
            if !self.log().is_full() {
                return;
            }
            news.await;
        }
    }

    /// Ends the command as dropping it does, and completes when nothing of it is alive.
    pub(super) async fn end(&self) {
        self.ended.send_replace(true);
        self.news.notify_waiters();
        let reader = lock(&self.reader).take();
        if let Some(reader) = reader {
            // A task that panicked holds nothing any more.
            let _ = reader.await;
        }
        let child = lock(&self.child).take();
        // It may take the kernel a moment, and other commands don't wait for that.
        let _ = tokio::task::spawn_blocking(move || drop(child)).await;
    }

    /// The same without waiting, for when all ends.
    pub(super) fn end_now(&self) {
        self.ended.send_replace(true);
        self.news.notify_waiters();
        drop(lock(&self.child).take());
    }
}

pub(super) fn gone(operation: &'static str, id: &str) -> Error {
    Error::new(ErrorKind::NotFound, operation).with_path(id).with_message("there is no such command any more")
}

/// What is behind a lock that is never held over a wait.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

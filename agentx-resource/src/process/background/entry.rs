use std::{
    collections::BTreeMap,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use super::{
    BackgroundId, BackgroundLimits, BackgroundState, BackgroundStatus, LogCursor, LogPage,
    follower::Followers, ring::Ring,
};
use crate::{
    BoxFuture, Child, Clock, Error, ExecEvent, ExecRequest, ExitStatus, Invocation, OutputStream, Result,
};

/// How many events are taken before others get their turn.
const BATCH: usize = 64;
/// How much of a command is shown.
const SHOWN: usize = 1000;

/// A command and its log.
pub(super) struct Entry {
    id: BackgroundId,
    command: String,
    started: SystemTime,
    clock: Arc<dyn Clock>,
    patience: Duration,
    run: Mutex<Run>,
    log: Mutex<Log>,
}

/// What is there while the command runs. Whoever takes it ends the command.
#[derive(Default)]
struct Run {
    child: Option<Arc<dyn Child>>,
    next: Option<BoxFuture<'static, Result<Option<ExecEvent>>>>,
    status: Option<ExitStatus>,
    /// The task that reads.
    reader: Option<Waker>,
    /// While the command waits for a reader of its log.
    waiting: Option<BoxFuture<'static, ()>>,
}

struct Log {
    ring: Ring,
    state: BackgroundState,
    dropped: u64,
    error: Option<Error>,
    waiting: BTreeMap<u64, Waker>,
    next_waiter: u64,
    followers: Followers,
}

/// The task that reads a command's output. When it is dropped, the command ends.
pub(super) struct Reader(Arc<Entry>);

impl Entry {
    pub(super) fn new(
        id: BackgroundId,
        command: String,
        child: Box<dyn Child>,
        clock: Arc<dyn Clock>,
        limits: BackgroundLimits,
    ) -> Arc<Self> {
        let run = Run { child: Some(Arc::from(child)), ..Run::default() };
        let log = Log {
            ring: Ring::new(limits),
            state: BackgroundState::Running,
            dropped: 0,
            error: None,
            waiting: BTreeMap::new(),
            next_waiter: 0,
            followers: Followers::default(),
        };
        let started = clock.now();
        let patience = limits.patience;
        Arc::new(Self { id, command, started, clock, patience, run: Mutex::new(run), log: Mutex::new(log) })
    }

    pub(super) fn id(&self) -> &BackgroundId {
        &self.id
    }

    /// The command, until it has ended.
    pub(super) fn child(&self) -> Option<Arc<dyn Child>> {
        lock(&self.run).child.clone()
    }

    pub(super) fn is_running(&self) -> bool {
        lock(&self.log).state == BackgroundState::Running
    }

    pub(super) fn status(&self) -> BackgroundStatus {
        let log = lock(&self.log);
        BackgroundStatus {
            id: self.id.clone(),
            command: self.command.clone(),
            started: self.started,
            state: log.state,
            log_start: LogCursor::new(log.ring.start()),
            log_end: LogCursor::new(log.ring.end()),
            dropped: log.dropped,
            error: log.error.clone(),
        }
    }

    pub(super) fn page(&self, from: LogCursor, most: usize) -> LogPage {
        lock(&self.log).page(from, most)
    }

    /// The next page that says anything.
    pub(super) async fn news(&self, from: LogCursor, most: usize) -> LogPage {
        self.when(|log| Some(log.page(from, most)).filter(|page| !page.is_idle())).await
    }

    pub(super) async fn end(&self) -> ExitStatus {
        self.when(|log| log.state.status()).await
    }

    #[cfg(test)]
    pub(super) fn waiters(&self) -> usize {
        lock(&self.log).waiting.len()
    }

    /// Ends the command, unless it has ended by itself.
    pub(super) fn stop(&self, status: ExitStatus) {
        self.finish(status, None);
    }

    /// Lets go of the command, and tells its end, once.
    fn finish(&self, status: ExitStatus, error: Option<Error>) {
        let mut run = std::mem::take(&mut *lock(&self.run));
        // Taken together with the command, so that no reader is left that waits for it.
        let reader = run.reader.take();
        let told = run.child.is_none();
        // Dropped without the lock, which may take a while, and before its end is told.
        drop(run);
        if !told {
            let at = self.clock.now();
            self.change(|log| {
                log.state = BackgroundState::Ended { status, at };
                log.error = error;
            });
        }
        reader.into_iter().for_each(Waker::wake);
    }

    fn change(&self, change: impl FnOnce(&mut Log)) {
        let waiting = {
            let mut log = lock(&self.log);
            change(&mut log);
            std::mem::take(&mut log.waiting)
        };
        // Woken without the lock: a waker may poll at once.
        waiting.into_values().for_each(Waker::wake);
    }

    async fn when<T>(&self, mut known: impl FnMut(&Log) -> Option<T>) -> T {
        let mut waiter = Waiter { log: &self.log, key: None };
        poll_fn(|cx| {
            let mut log = lock(&self.log);
            if let Some(value) = known(&log) {
                return Poll::Ready(value);
            }
            let key = *waiter.key.get_or_insert_with(|| {
                log.next_waiter += 1;
                log.next_waiter
            });
            log.waiting.insert(key, cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Changes who follows the log; the command goes on where it waited for that.
    pub(super) fn followers<T>(&self, change: impl FnOnce(&mut Followers) -> T) -> T {
        let changed = change(&mut lock(&self.log).followers);
        if !self.patience.is_zero() {
            let reader = lock(&self.run).reader.take();
            reader.into_iter().for_each(Waker::wake);
        }
        changed
    }

    /// Waits for readers of the log who are behind, up to the patience.
    fn poll_readers(&self, run: &mut Run, cx: &mut Context<'_>) -> Poll<()> {
        if self.patience.is_zero() || !lock(&self.log).are_followers_behind() {
            run.waiting = None;
            return Poll::Ready(());
        }
        let waiting = run.waiting.get_or_insert_with(|| self.clock.sleep(self.patience));
        if waiting.as_mut().poll(cx).is_ready() {
            run.waiting = None;
            lock(&self.log).give_followers_up();
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Takes one event, or says that there are no more.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let event = {
            let mut run = lock(&self.run);
            let Some(child) = run.child.clone() else { return Poll::Ready(None) };
            if self.poll_readers(&mut run, cx).is_pending() {
                run.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let next = run.next.get_or_insert_with(|| Box::pin(async move { child.next_event().await }));
            let Poll::Ready(event) = next.as_mut().poll(cx) else {
                run.reader = Some(cx.waker().clone());
                return Poll::Pending;
            };
            run.next = None;
            event
        };
        match event {
            Ok(Some(ExecEvent::Exited(status))) => lock(&self.run).status = Some(status),
            Ok(Some(ExecEvent::Stdout(bytes))) => self.write(OutputStream::Stdout, &bytes),
            Ok(Some(ExecEvent::Stderr(bytes))) => self.write(OutputStream::Stderr, &bytes),
            Ok(Some(ExecEvent::Truncated { dropped, .. })) => self.change(|log| log.dropped += dropped),
            Ok(None) => {
                let status = lock(&self.run).status.unwrap_or(ExitStatus::Lost);
                self.finish(status, None);
                return Poll::Ready(None);
            }
            Err(error) => {
                self.finish(ExitStatus::Lost, Some(error));
                return Poll::Ready(None);
            }
        }
        Poll::Ready(Some(()))
    }

    fn write(&self, stream: OutputStream, bytes: &[u8]) {
        self.change(|log| {
            // A log that was told to be complete stays so.
            if log.state == BackgroundState::Running {
                log.ring.push(stream, bytes);
            }
        });
    }
}

impl Log {
    fn are_followers_behind(&self) -> bool {
        self.followers.are_behind(&self.ring)
    }

    fn give_followers_up(&mut self) {
        self.followers.give_up(&self.ring);
    }

    fn page(&self, from: LogCursor, most: usize) -> LogPage {
        self.ring.page(from, most, self.state.status())
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("id", &self.id).field("command", &self.command).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        Self(entry)
    }
}

impl Future for Reader {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..BATCH {
            match self.0.poll(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.stop(ExitStatus::Killed);
    }
}

/// Somebody who waits for news, until it is dropped.
struct Waiter<'a> {
    log: &'a Mutex<Log>,
    key: Option<u64>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            lock(self.log).waiting.remove(&key);
        }
    }
}

/// The command as it is shown.
pub(super) fn shown(request: &ExecRequest) -> String {
    let text = match &request.invocation {
        Invocation::Program { program, args } => {
            std::iter::once(program).chain(args).map(String::as_str).collect::<Vec<_>>().join(" ")
        }
        Invocation::Shell { script } => script.clone(),
    };
    text.chars().take(SHOWN).collect()
}

/// Takes a lock. Nothing here leaves its state half changed when it panics, so a poisoned lock is usable.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use agentx_resource::{
    Error, ErrorKind, FileSystem, ProcessCapabilities, Result, Retry,
    mirror::{MirrorDisk, SyncReport},
};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    time::{Instant, sleep, timeout},
};

use super::{ContainerEvent, LazyOptions, links::Links};
use crate::container::{Container, ContainerEngine, http::fail};

/// How long it is waited between two tries to reach a server that does not answer yet, or not any more.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);

/// What files, commands and the container itself share.
pub(super) struct Shared {
    pub(super) store: Arc<dyn FileSystem>,
    pub(super) engine: Arc<dyn ContainerEngine>,
    pub(super) options: LazyOptions,
    /// Held by whoever uses a file, and alone by whoever moves the tree.
    gate: Arc<RwLock<()>>,
    warm: Mutex<Option<Arc<Warm>>>,
    running: AtomicUsize,
    used: Mutex<Instant>,
}

/// A container with the tree in it.
pub(super) struct Warm {
    pub(super) container: Container,
    pub(super) files: Arc<dyn FileSystem>,
    mirror: MirrorDisk,
    /// When all that was in it was in the store, too.
    saved: Mutex<Instant>,
    /// What the store's note names, once that is made here; it is not written over before. Held while it is compared
    /// and written.
    links: AsyncMutex<Option<Links>>,
}

/// The tree stays where it is while this is held.
pub(super) type Hold = OwnedRwLockReadGuard<()>;

impl Shared {
    pub(super) fn new(
        store: Arc<dyn FileSystem>,
        engine: Arc<dyn ContainerEngine>,
        options: LazyOptions,
    ) -> Self {
        Self {
            store,
            engine,
            options,
            gate: Arc::default(),
            warm: Mutex::default(),
            running: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn warm(&self) -> Option<Arc<Warm>> {
        lock(&self.warm).clone()
    }

    /// Where the tree is now, which it does not leave while the hold is held.
    pub(super) async fn hold(&self) -> (Option<Arc<Warm>>, Hold) {
        let hold = Arc::clone(&self.gate).read_owned().await;
        self.touch();
        (self.warm(), hold)
    }

    /// Waits until nobody uses a file.
    pub(super) async fn alone(&self, operation: &'static str) -> Result<OwnedRwLockWriteGuard<()>> {
        let waited = timeout(self.options.patience, Arc::clone(&self.gate).write_owned()).await;
        waited.map_err(|_| {
            fail(ErrorKind::Busy, operation)
                .with_message("files are open: they are read or written, and the tree can't be moved")
        })
    }

    /// The container, started where there is none, and the place of a command in it: it is not released under that.
    pub(super) async fn start(self: &Arc<Self>) -> Result<(Arc<Warm>, Running)> {
        if let (Some(warm), _hold) = self.hold().await {
            return Ok((warm, self.run()));
        }
        let _alone = self.alone("spawn").await?;
        if let Some(warm) = self.warm() {
            return Ok((warm, self.run()));
        }
        self.tell(&ContainerEvent::Starting);
        match self.start_now().await {
            Ok(warm) => {
                *lock(&self.warm) = Some(Arc::clone(&warm));
                Ok((warm, self.run()))
            }
            Err(error) => {
                self.tell(&ContainerEvent::NotStarted { error: error.clone() });
                Err(error)
            }
        }
    }

    async fn start_now(&self) -> Result<Arc<Warm>> {
        let begun = Instant::now();
        let mut last = None;
        let container = match timeout(self.options.start, self.reach(&mut last)).await {
            Ok(reached) => reached?,
            Err(_) => {
                let error = fail(ErrorKind::TimedOut, "start");
                let message = format!("the container did not start in {:?}", self.options.start);
                return Err(match last {
                    Some(last) => error.with_message(format!("{message}: {last}")).with_source(last),
                    None => error.with_message(message),
                });
            }
        };
        check(&self.options.process, &container.capabilities())?;
        let instance = container.instance().to_owned();
        self.tell(&ContainerEvent::Started { instance, took: begun.elapsed() });
        let files: Arc<dyn FileSystem> = Arc::new(container.files());
        let mirror =
            MirrorDisk::new(Arc::clone(&self.store), Arc::clone(&files), self.options.mirror.clone());
        let begun = Instant::now();
        let report = mirror.sync().await?.complete()?;
        // A tree without them is better than none.
        let links = self.make_links(&container).await;
        let links =
            links.inspect_err(|error| self.tell(&ContainerEvent::LinksLost { error: error.clone() })).ok();
        self.tell(&ContainerEvent::HandedOver { report, took: begun.elapsed() });
        let (saved, links) = (Mutex::new(begun), AsyncMutex::new(links));
        Ok(Arc::new(Warm { container, files, mirror, saved, links }))
    }

    /// Makes the links that the store has a note of, and tells which that names.
    async fn make_links(&self, container: &Container) -> Result<Links> {
        if !self.options.process.shell {
            return Ok(Links::default());
        }
        let links = Links::load(&*self.store).await?;
        links.make(&container.process()).await?;
        Ok(links)
    }

    /// Notes the links of the container in the store, where they have changed.
    async fn note_links(&self, warm: &Warm) -> Result<()> {
        if !self.options.process.shell {
            return Ok(());
        }
        let mut noted = warm.links.lock().await;
        if noted.is_none() {
            *noted = Some(self.make_links(&warm.container).await?);
        }
        let links = Links::find(&warm.container.process(), &self.options.mirror).await?;
        if noted.as_ref() != Some(&links) {
            links.save(&*self.store).await?;
            *noted = Some(links);
        }
        Ok(())
    }

    /// Asks for a container until its server answers. `last` is why it does not yet.
    async fn reach(&self, last: &mut Option<Error>) -> Result<Container> {
        let mut address = None;
        loop {
            let tried = match &address {
                Some(address) => Container::connect(address, self.options.container).await.map(Some),
                None => self.engine.start().await.map(|started| {
                    address = Some(started);
                    None
                }),
            };
            let error = match tried {
                Ok(Some(container)) => return Ok(container),
                Ok(None) => continue,
                Err(error) => error,
            };
            let passes = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::TimedOut);
            let wait = match error.retry() {
                Retry::After(wait) if passes => wait.unwrap_or_default().max(BETWEEN_TRIES),
                _ => return Err(error),
            };
            *last = Some(error);
            sleep(wait).await;
        }
    }

    pub(super) async fn sync(&self, warm: &Arc<Warm>) -> Result<SyncReport> {
        let begun = Instant::now();
        let synced = match warm.mirror.sync().await {
            Ok(report) => report.complete(),
            Err(error) => Err(error),
        };
        match synced {
            Ok(report) => {
                if let Err(error) = self.note_links(warm).await {
                    let error = self.judge(warm, error).await;
                    if !self.warm().is_some_and(|current| Arc::ptr_eq(&current, warm)) {
                        return Err(error);
                    }
                    self.tell(&ContainerEvent::LinksLost { error });
                }
                *lock(&warm.saved) = begun;
                self.tell(&ContainerEvent::Synced { report: report.clone(), took: begun.elapsed() });
                Ok(report)
            }
            Err(error) => Err(self.judge(warm, error).await),
        }
    }

    /// What an error of the container means: where it is gone, everybody is told so, and the tree is the store's again.
    pub(super) async fn judge(&self, warm: &Arc<Warm>, error: Error) -> Error {
        let suspicious = [ErrorKind::Lost, ErrorKind::Unavailable, ErrorKind::TimedOut, ErrorKind::Truncated];
        if !suspicious.contains(&error.kind()) || self.is_there(warm).await {
            return error;
        }
        if self.cool(warm) {
            let unsaved = lock(&warm.saved).elapsed();
            self.tell(&ContainerEvent::Lost { error: error.clone(), unsaved });
        }
        fail(ErrorKind::Lost, "container")
            .with_message(
                "the container is gone, with all that was not saved; the files are those of the last sync",
            )
            .with_source(error)
    }

    /// Whether the container answers, now or in a while.
    async fn is_there(&self, warm: &Warm) -> bool {
        let deadline = Instant::now() + self.options.loss;
        loop {
            match warm.container.ping().await {
                Ok(()) => return true,
                Err(error) if error.kind() == ErrorKind::Lost => return false,
                Err(_) if Instant::now() + BETWEEN_TRIES >= deadline => return false,
                Err(_) => sleep(BETWEEN_TRIES).await,
            }
        }
    }

    /// Lets this container go, if it is still the one.
    pub(super) fn cool(&self, warm: &Arc<Warm>) -> bool {
        let mut current = lock(&self.warm);
        let is_current = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, warm));
        if is_current {
            *current = None;
        }
        is_current
    }

    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Counts a command until it is dropped. The tree is held meanwhile, or else it may be about to go.
    fn run(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    /// How long nothing has used it; a command that runs uses it.
    pub(super) fn unused_for(&self) -> Duration {
        if self.running() > 0 { Duration::ZERO } else { lock(&self.used).elapsed() }
    }

    pub(super) fn tell(&self, event: &ContainerEvent) {
        if let Some(observer) = &self.options.observer {
            observer(event);
        }
    }
}

/// A command that runs.
pub(super) struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.touch();
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Fails where the container lacks something that was promised.
fn check(promised: &ProcessCapabilities, found: &ProcessCapabilities) -> Result<()> {
    let differs = |what: &str| {
        Err(fail(ErrorKind::Unsupported, "start").with_message(format!("the container differs in {what}")))
    };
    if promised.root != found.root {
        return differs(&format!("its root: {} was promised, and it is {}", promised.root, found.root));
    }
    for (promised, found, what) in [
        (promised.shell, found.shell, "the shell"),
        (promised.live_stdin, found.live_stdin, "live input"),
        (promised.signals, found.signals, "signals"),
        (promised.limits, found.limits, "limits"),
        (promised.terminal, found.terminal, "terminals"),
    ] {
        if promised && !found {
            return differs(what);
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Warm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Warm").field("container", &self.container).finish_non_exhaustive()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("store", &self.store)
            .field("engine", &self.engine)
            .field("warm", &self.warm().is_some())
            .finish_non_exhaustive()
    }
}
